"""The audit API over real tables, with tokens of a real issuer."""

import base64
import contextlib
import hashlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from services.audit import api, tree, verify
from services.audit.checkpoint import open_checkpoint
from services.runtime import postgres
from services.runtime.auth import Authenticator
from services.runtime.clock import utc_now
from services.runtime.rates import Rates
from tests.integration.audit import records
from tests.integration.audit.logs import Log, leaf_of

ISSUER_KEY = OKPKey.generate_key("Ed25519", {"kid": "test"})
KEYS = KeySet([ISSUER_KEY])


def token(*roles: str) -> dict[str, str]:
    claims = {
        "iss": "i",
        "aud": "a",
        "sub": "someone",
        "roles": list(roles),
        "exp": int(time.time()) + 60,
    }
    made = jwt.encode({"alg": "Ed25519", "kid": "test"}, claims, ISSUER_KEY, algorithms=["Ed25519"])
    return {"Authorization": f"Bearer {made}"}


@pytest.fixture
async def client(log: Log) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(log) as made:
        yield made


@contextlib.asynccontextmanager
async def asking(log: Log, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    async def ready() -> dict[str, bool]:
        return {"postgres": True, "log": False}

    authenticator = Authenticator("i", "a", keys=KEYS)
    vkey = log.notary.verifier.vkey()
    rates = Rates(50, 5000)
    app = api.create(log.pool, authenticator, rates, vkey=vkey, clock=utc_now, ready=ready, **options)
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://audit", headers=token("compliance")) as made:
        yield made


@pytest.fixture
async def members(log: Log) -> list[str]:
    """Two members with three facts each and one answer, sealed."""
    made = [records.a_member(), records.a_member()]
    facts = [records.a_fact(member, seq, recipients=("tmax-os",)) for member in made for seq in (1, 2, 3)]
    await log.append([leaf_of(shape, n) for n, shape in enumerate([*facts, records.an_answer(facts[-1], "tmax-os")])])
    await log.seal()
    return made


async def test_entries_are_found_by_member_type_actor_and_time(client: httpx.AsyncClient, members: list[str]) -> None:
    async def asked(**params: str) -> list[dict[str, object]]:
        answer = await client.get("/v1/audit/entries", params=params)
        assert answer.status_code == 200
        return list(answer.json()["entries"])

    assert len(await asked()) == 7
    assert [e["seq"] for e in await asked(member_ref=members[0])] == [1, 2, 3]
    assert [e["stage"] for e in await asked(type="kr.dongui.receipt.v1")] == ["applied"]
    assert len(await asked(actor="tmax-os")) == 1
    assert len(await asked(actor="member", member_ref=members[1])) == 3
    assert len(await asked(**{"from": "2026-11-24T12:00:00+09:00"})) == 7
    assert await asked(to="2026-11-24T12:00:00+09:00") == []


async def test_pages_follow_each_other_without_a_gap(client: httpx.AsyncClient, members: list[str]) -> None:
    seen: list[int] = []
    params = {"limit": "3"}
    while True:
        page = (await client.get("/v1/audit/entries", params=params)).json()
        seen += [entry["index"] for entry in page["entries"]]
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert seen == [0, 1, 2, 3, 4, 5, 6]


async def test_behind_the_last_index_there_can_be_the_page_is_empty(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/audit/entries", params={"cursor": "9223372036854775807"})
    assert (answer.status_code, answer.json()) == (200, {"entries": [], "next": None})


async def test_a_proof_holds_with_nothing_but_hashing(client: httpx.AsyncClient, members: list[str], log: Log) -> None:
    for index in range(7):
        proof = (await client.get(f"/v1/audit/entries/{index}/proof")).json()
        body = base64.b64decode(proof["body_base64"])
        leaf = hashlib.sha256(b"\x00" + body).digest()
        assert base64.b64decode(proof["leaf_hash"]) == leaf
        assert json.loads(body) == proof["body"]
        head = open_checkpoint(proof["checkpoint"], log.notary.verifier)
        path = [base64.b64decode(value) for value in proof["path"]]
        assert head.size == proof["tree_size"] == 7
        assert tree.verify_inclusion(leaf, index, 7, path, head.root)


async def test_proofs_to_one_tree_size_share_its_checkpoint(client: httpx.AsyncClient, members: list[str]) -> None:
    assert members
    notes = set()
    for index in range(3):
        found = (await client.get(f"/v1/audit/entries/{index}/proof", params={"tree_size": 7})).json()
        notes.add((found["tree_size"], found["checkpoint"]))
    assert len(notes) == 1
    for size, status, code in ((8, 404, "checkpoint_unknown"), (0, 422, "invalid_field")):
        refused = await client.get("/v1/audit/entries/1/proof", params={"tree_size": size})
        assert (refused.status_code, refused.json()["code"]) == (status, code)


async def test_a_proof_from_the_api_is_a_file_the_verifier_accepts(
    client: httpx.AsyncClient, members: list[str], log: Log, tmp_path: Path
) -> None:
    found = (await client.get("/v1/audit/entries/4/proof")).json()
    body = base64.b64decode(found["body_base64"])
    path = [base64.b64decode(value) for value in found["path"]]
    file = tmp_path / "p.tlog-proof"
    file.write_text(verify.format_proof(4, body, path, found["checkpoint"]))
    outside = (log.data_dir / "checkpoints/latest.txt").read_text()
    assert verify.verify_file(file, log.notary.verifier, [outside]).ok


async def test_the_checkpoint_comes_as_json_or_as_the_note(client: httpx.AsyncClient, members: list[str]) -> None:
    found = (await client.get("/v1/audit/checkpoint")).json()
    note = await client.get("/v1/audit/checkpoint", headers={"Accept": "text/plain"})
    assert found["size"] == 7
    assert note.text == found["note"]
    assert note.headers["content-type"].startswith("text/plain")


async def test_consistency_of_two_sizes_is_proved(client: httpx.AsyncClient, members: list[str], log: Log) -> None:
    found = (await client.get("/v1/audit/consistency", params={"from": 4, "to": 7})).json()
    bodies = [r["body"] for r in await log.pool.fetch("SELECT body FROM entry ORDER BY index")]
    small, large = tree.Frontier(), tree.Frontier()
    for n, body in enumerate(bodies):
        large.push(tree.leaf_hash(body))
        if n < 4:
            small.push(tree.leaf_hash(body))
    path = [base64.b64decode(value) for value in found["path"]]
    assert tree.verify_consistency((4, 7), small.root(), large.root(), path)


async def test_what_is_overdue_is_listed(client: httpx.AsyncClient, members: list[str]) -> None:
    found = (await client.get("/v1/audit/overdue")).json()["overdue"]
    assert len(found) == 5
    assert {one["recipient"] for one in found} == {"tmax-os"}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/audit/entries/99", 404, "entry_unknown"),
        ("/v1/audit/entries/-1/proof", 404, "entry_unknown"),
        ("/v1/audit/entries/99999999999999999999/proof", 404, "entry_unknown"),
        ("/v1/audit/entries?member_ref=hong@example.kr", 422, "invalid_field"),
        ("/v1/audit/entries?from=yesterday", 422, "invalid_field"),
        ("/v1/audit/entries?limit=1001", 422, "invalid_field"),
        ("/v1/audit/consistency?from=5&to=4", 422, "invalid_range"),
        ("/v1/audit/consistency?from=1&to=8", 422, "invalid_range"),
        ("/docs", 404, "http_404"),
    ],
)
async def test_wrong_requests_are_problems_without_the_value(
    client: httpx.AsyncClient, members: list[str], path: str, status: int, code: str
) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "hong" not in answer.text


async def test_before_the_first_checkpoint_there_is_none(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/audit/checkpoint")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_sealed_yet")


@pytest.mark.parametrize("role", ["compliance", "cpo", "sre", "service", "auditor"])
async def test_staff_and_services_may_read(client: httpx.AsyncClient, role: str) -> None:
    answer = await client.get("/v1/audit/entries", headers=token(role))
    assert answer.status_code == 200


@pytest.mark.parametrize("role", ["member", "affiliate", "third_party", "notices", "unknown"])
async def test_others_may_not(client: httpx.AsyncClient, role: str) -> None:
    for path in ("entries", "entries/0", "entries/0/proof", "checkpoint", "export", "overdue", "verification"):
        answer = await client.get(f"/v1/audit/{path}", headers=token(role))
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_no_token_is_a_401_with_a_challenge(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/audit/entries", headers={"Authorization": ""})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_health_needs_no_token_and_names_what_failed(client: httpx.AsyncClient) -> None:
    bare = {"Authorization": ""}
    assert (await client.get("/livez", headers=bare)).status_code == 200
    ready = await client.get("/readyz", headers=bare)
    assert (ready.status_code, ready.json()) == (503, {"postgres": True, "log": False})
    metrics = await client.get("/metrics", headers=bare)
    assert "dongui_audit_size" in metrics.text


async def test_a_body_that_somebody_spoilt_does_not_hide_the_others(
    client: httpx.AsyncClient, members: list[str], databases: Any
) -> None:
    owner = await postgres.connect(databases.owner_dsn("audit"))
    await owner.execute("UPDATE entry SET body = '\\xff' WHERE index = 2")
    await owner.close()
    entries = (await client.get("/v1/audit/entries")).json()["entries"]
    assert [entry["index"] for entry in entries if entry["body"] is None] == [2]
    assert len(entries) == 7
