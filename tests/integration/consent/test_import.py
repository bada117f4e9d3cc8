"""The member import: good rows come in with their evidence, bad ones are told, again creates nothing."""

import asyncio
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import orjson
import pytest
from argon2 import PasswordHasher

from schemas.events import Fact, Projection
from schemas.topics import FACTS
from tests.integration.consent.harness import Service, a_sign_up, a_token, bearer
from tests.integration.consent.test_process import environment

HASH = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("someone's old password")


def a_row(number: int, **changes: Any) -> dict[str, Any]:
    row = a_sign_up(email=f"row{number}@example.com", password=None) | {
        "password_hash": HASH,
        "consented_at": "2023-05-01T09:00:00+09:00",
        "channel": "written",
        "source_id": f"A-{number}",
    }
    return {k: v for k, v in (row | changes).items() if v is not None}


async def take(service: Service, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await service.post("/v1/members/import", {"rows": list(rows)})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["rows"])


async def test_an_imported_member_is_a_member_with_the_evidence_it_came_with(service: Service) -> None:
    (made,) = await take(service, a_row(1, consents={"collection": True, "sharing": {"tmax-os": True}}))
    assert made["outcome"] == "created"
    shown = (await service.http.get(f"/v1/members/{made['member_ref']}")).json()
    assert (shown["seq"], shown["status"], shown["email"]) == (1, "active", "row1@example.com")
    assert {g["given_at"] for g in shown["grants"]} == {"2023-05-01T00:00:00+00:00"}
    evidence = await service.pool.fetch("SELECT DISTINCT collected_via, notice_version FROM consent")
    assert [tuple(row) for row in evidence] == [("written", "2021-02-22")]
    (fact,) = await service.shapes(FACTS)
    assert isinstance(fact, Fact)
    assert (fact.change, fact.channel, fact.actor) == ("signed_up", "import", "service")
    (sent,) = await service.sent_to("tmax-os")
    assert isinstance(sent, Projection)
    assert sent.member is not None
    assert sent.member.password_hash == HASH
    assert sent.member.signed_up_at.isoformat() == "2023-05-01T00:00:00+00:00"
    assert await service.sent_to("tmax-anc") == []


async def test_the_same_rows_again_create_nothing(silent: Service) -> None:
    rows = [a_row(n) for n in range(5)]
    first = await take(silent, *rows)
    again = await take(silent, *rows)
    assert [a["outcome"] for a in first] == ["created"] * 5
    assert [a["outcome"] for a in again] == ["exists"] * 5
    assert [a["member_ref"] for a in first] == [a["member_ref"] for a in again]
    assert await silent.pool.fetchval("SELECT count(*) FROM member") == 5
    assert await silent.pool.fetchval("SELECT count(*) FROM change") == 5


async def test_an_origin_is_remembered_by_content_and_by_source(silent: Service) -> None:
    (made,) = await take(silent, a_row(1))
    await silent.patch(made["member_ref"], 1, {"email": "moved@example.com"})
    outcomes = await take(
        silent,
        a_row(1),
        a_row(1, email="moved@example.com", name="같은 출처"),
        a_row(1, email="third@example.com"),
        a_row(2, email="moved@example.com"),
    )
    assert [o["outcome"] for o in outcomes] == ["exists", "exists", "error", "error"]
    assert [o["errors"][0]["code"] for o in outcomes[2:]] == ["source_id_taken", "email_taken"]


async def test_of_two_rows_with_one_email_the_first_is_taken(silent: Service) -> None:
    await silent.sign_up(email="member@example.com")
    rows = [a_row(1), a_row(2, email="ROW1@example.com"), a_row(1), a_row(3, email="member@example.com")]
    assert [a["outcome"] for a in await take(silent, *rows)] == ["created", "error", "exists", "error"]


BAD = [
    ({"password_hash": "$2b$12$abcdefghijklmnopqrstuv"}, "/password_hash", "string_pattern_mismatch"),
    ({"password_hash": None}, "", "password_or_hash"),
    ({"password": "both are given"}, "", "password_or_hash"),
    ({"consented_at": "2999-01-01T00:00:00Z"}, "/consented_at", "consented_at_in_future"),
    ({"consented_at": "2023-05-01T09:00:00"}, "/consented_at", "timezone_aware"),
    ({"consented_at": "2001-01-01T00:00:00Z"}, "/notice_version", "unknown_notice_version"),
    ({"channel": "pigeon"}, "/channel", "literal_error"),
    ({"consents": {"collection": False}}, "/consents/collection", "collection_consent_required"),
    ({"email": "nobody"}, "/email", "email_invalid"),
    ({"profiles": [{"service": "wapl", "role": "member", "age": "3"}]}, "/profiles/0/age", "unknown_item"),
    ({"nickname": "별명"}, "/nickname", "extra_forbidden"),
]


async def test_each_bad_row_is_told_by_field_and_costs_nobody_else(silent: Service) -> None:
    rows = [a_row(n, **changes) for n, (changes, _, _) in enumerate(BAD)]
    answers = await take(silent, *rows, a_row(99))
    assert answers[-1]["outcome"] == "created"
    told = [(a["errors"][0]["pointer"], a["errors"][0]["code"]) for a in answers[:-1]]
    assert told == [(at, code) for _, at, code in BAD]
    assert await silent.pool.fetchval("SELECT count(*) FROM member") == 1
    for hidden in ("별명", "nobody", "pigeon", "both are given"):
        assert hidden not in str(answers)


async def test_only_the_service_imports_and_only_with_a_key(silent: Service) -> None:
    staff = bearer(a_token("kim", "compliance"))
    assert (await silent.post("/v1/members/import", {"rows": [a_row(1)]}, headers=staff)).status_code == 403
    keyless = await silent.http.post("/v1/members/import", json={"rows": [a_row(1)]})
    assert keyless.json()["code"] == "idempotency_key_required"
    assert (await silent.post("/v1/members/import", {"rows": []})).status_code == 422
    body, key = {"rows": [a_row(1)]}, str(uuid.uuid4())
    answers = [await silent.post("/v1/members/import", body, key=key) for _ in range(2)]
    assert answers[0].json() == answers[1].json(), "a lost answer is repeated: created, not exists"


async def test_two_imports_of_the_same_rows_at_once_create_each_member_once(silent: Service) -> None:
    rows = [a_row(n) for n in range(60)]
    both = await asyncio.gather(take(silent, *rows), take(silent, *reversed(rows)))
    assert sorted(a["outcome"] for answers in both for a in answers).count("created") == 60
    assert await silent.pool.fetchval("SELECT count(*) FROM member") == 60


async def test_a_full_batch_is_quick(silent: Service) -> None:
    start = time.perf_counter()
    await take(silent, *(a_row(n) for n in range(200)))
    assert time.perf_counter() - start < 10, "even on a busy machine: alone it is well under a second"


@pytest.mark.parametrize("kind", ["ndjson", "csv"])
async def test_the_command_takes_fifty_rows_in_tells_the_bad_ones_and_resumes(
    service: Service, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / f"members.{kind}"
    good = [a_row(n, name=f"회원{n}") for n in range(50)]
    bad = [a_row(50, email="broken"), a_row(51, consents={"collection": False})]
    file.write_bytes(b"".join(map(_line, good + bad)) + b"{broken\n" if kind == "ndjson" else _csv(good + bad))
    expected_bad = 3 if kind == "ndjson" else 2
    status, told = await _run(service, file)
    assert (status, told["created"], told["exists"], told["error"]) == (4, 50, 0, expected_bad)
    errors = [orjson.loads(line) for line in Path(told["errors_file"]).read_bytes().splitlines()]
    assert [(e["row"], e["pointer"], e["code"]) for e in errors][:2] == [
        (51, "/email", "email_invalid"),
        (52, "/consents/collection", "collection_consent_required"),
    ] or errors[0]["code"] == "bad_json"
    assert all(e["reason"]["ko"] and e["reason"]["en"] for e in errors)
    assert "broken" not in Path(told["errors_file"]).read_text()
    file.write_bytes(b"".join(map(_line, good)) if kind == "ndjson" else _csv(good))
    assert await _run(service, file) == (0, {"created": 0, "exists": 50, "error": 0, "errors_file": None})
    assert not (tmp_path / f"members.{kind}.errors.ndjson").exists()
    assert await service.pool.fetchval("SELECT count(*) FROM member") == 50
    assert len(await service.sent_to("tmax-os")) == 50


async def test_the_command_says_what_it_cannot_do(service: Service, tmp_path: Path) -> None:
    (tmp_path / "members.xlsx").write_bytes(b"x")
    assert (await _run(service, tmp_path / "members.xlsx"))[0] == 2
    assert (await _run(service, tmp_path / "absent.csv"))[0] == 2
    (tmp_path / "latin.csv").write_bytes("email,name\na@example.com,김철수".encode("euc-kr"))
    assert (await _run(service, tmp_path / "latin.csv"))[0] == 1


def _line(row: dict[str, Any]) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _csv(rows: list[dict[str, Any]]) -> bytes:
    columns = ["email", "name", "password_hash", "consented_at", "channel", "source_id", "notice_version"]
    lines = [",".join([*columns, "consents.collection", "consents.sharing"])]
    for row in rows:
        cells = [str(row[c]) for c in columns]
        yes = "true" if row["consents"]["collection"] else "false"
        lines.append(",".join(f'"{cell}"' for cell in [*cells, yes, "y"]))
    return b"\xef\xbb\xbf" + "\r\n".join(lines).encode()


async def _run(service: Service, file: Path) -> tuple[int | None, dict[str, Any]]:
    told = environment(service.settings) | {
        "DONGUI_CONSENT_URL": service.url,
        "DONGUI_SERVICE_TOKEN": a_token("importer", "service"),
    }
    command = ("-c", "from services.cli import main; main()", "member", "import", str(file), "--format", "json")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, env=told, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return process.returncode, orjson.loads(out) if out else {}
