"""Idempotency-Key (F32) over every operation that takes one; short: tests/integration/consent/test_idempotency.py."""

import asyncio
import hashlib
import uuid
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.integration.consent.harness import a_sign_up, a_token, bearer
from tests.security.apis import Apis
from tests.security.places import World
from tests.security.world import BODIES, OFFICER, QUERIES, SECOND, filled, settle

pytestmark = [pytest.mark.f(32), pytest.mark.long]
ILL_FORMED = {
    "empty": b"",
    "256 characters": b"k" * 256,
    "10,000 characters": b"k" * 10_000,
    "a space": b"a b",
    "a tab": b"a\tb",
    "Korean": "열쇠".encode(),
    "latin-1": b"cl\xe9",
    "DEL": b"a\x7fb",
}
SIGN_UP = ("POST", "/v1/members")
INQUIRY = ("POST", "/v1/inquiries")
BULK = ("POST", "/v1/members/import")


@pytest_asyncio.fixture(scope="module")
async def world(apis: Apis) -> World:
    return await settle(apis)


async def keyed(apis: Apis) -> list[tuple[str, str]]:
    """Return (method, path) of every operation of the document that takes a key."""
    document = (await apis.service.http.get("/openapi.json")).json()
    return [
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if any(p["name"] == "Idempotency-Key" for p in operation.get("parameters", []))
    ]


def body_of(world: World, operation: tuple[str, str], key: bytes | None) -> Any:
    """Return a good body, the same whenever the key is."""
    newcomer = a_sign_up(email=f"{hashlib.sha256(key or b'').hexdigest()[:40]}@example.com")
    if operation == SIGN_UP:
        return newcomer
    if operation == BULK:
        return {"rows": [newcomer | {"consented_at": "2026-01-01T00:00:00+09:00", "channel": "web"}]}
    return filled(world, BODIES.get(operation))


async def send(apis: Apis, world: World, operation: tuple[str, str], key: bytes | None, who: dict[str, str]) -> Any:
    method, template = operation
    body = body_of(world, operation, key)
    sent: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
    given: list[tuple[str, bytes]] = [(name, value.encode()) for name, value in {"If-Match": "*", **who}.items()]
    given += [("Idempotency-Key", key)] if key is not None else []
    given += [("Content-Type", b"text/plain")] if isinstance(body, bytes) else []
    url = world.path(template)
    return await apis.service.http.request(method, url, params=QUERIES.get(template), headers=given, **sent)


async def may(apis: Apis, world: World, operation: tuple[str, str]) -> dict[str, str]:
    """Return who may ask for an operation: the service, or one of the officers."""
    for who in ({}, OFFICER):
        if (await send(apis, world, operation, None, who)).status_code != 403:
            return who
    return SECOND


def code_of(answer: httpx.Response) -> str:
    """Return a refusal's code; what is no HTTP header at all is refused before there is one."""
    return str(answer.json()["code"]) if "json" in answer.headers["content-type"] else "no_http"


async def test_every_post_that_takes_a_key_wants_one_of_the_right_form(apis: Apis, world: World) -> None:
    operations = [one for one in await keyed(apis) if one[0] == "POST"]
    wrong = {}
    for operation in operations:
        who = await may(apis, world, operation)
        for name, key in {"none": None, **ILL_FORMED}.items():
            answer = await send(apis, world, operation, key, who)
            fits = {"idempotency_key_invalid", "no_http"} if key else {"idempotency_key_required"}
            if answer.status_code != 400 or code_of(answer) not in fits | {"idempotency_key_invalid"}:
                wrong[(*operation, name)] = (answer.status_code, answer.text)
    assert not wrong, list(wrong.items())[:6]
    assert len(operations) >= 30


async def test_one_key_is_one_request_wherever_it_is_used(apis: Apis, world: World) -> None:
    """Each operation that succeeds is sent again: the same answer and no second effect; another request is 422."""
    repeated = []
    for operation in await keyed(apis):
        key = str(uuid.uuid4()).encode()
        for who in ({}, OFFICER, SECOND):
            first = await send(apis, world, operation, key, who)
            if first.is_success:
                await repeat(apis, world, operation, key, who, first)
                repeated.append(operation)
                break
    assert len(repeated) >= 15, repeated


async def repeat(
    apis: Apis, world: World, operation: tuple[str, str], key: bytes, who: dict[str, str], first: httpx.Response
) -> None:
    before = await effects(apis)
    again = await send(apis, world, operation, key, who)
    assert (again.status_code, again.json()) == (first.status_code, first.json()), operation
    if operation[0] == "POST":
        other = INQUIRY if operation != INQUIRY else ("POST", "/v1/rights-requests")
        reused = await send(apis, world, other, key, who)
        assert (reused.status_code, code_of(reused)) == (422, "idempotency_key_reused"), operation
    assert await effects(apis) == before, operation


async def effects(apis: Apis) -> dict[str, int]:
    """Return how much there is of what a second effect would add to."""
    tables = ("change", "outbox", "message", "rights_request", "inquiry", "investigation", "disclosure", "member")
    query = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in tables)
    return dict(await apis.service.pool.fetchrow(query))


@pytest.mark.parametrize(
    "operation",
    [
        SIGN_UP,
        ("POST", "/v1/members/{ref}/disclosures"),
        ("POST", "/v1/rights-requests"),
        ("POST", "/v1/inquiries"),
        ("POST", "/v1/members/{ref}/records"),
        ("PUT", "/v1/members/{ref}/consents/{purpose}"),
    ],
)
async def test_of_many_at_once_under_one_key_one_has_an_effect(apis: Apis, operation: tuple[str, str]) -> None:
    world = await settle(apis)
    key = str(uuid.uuid4()).encode()
    answers: list[httpx.Response] = await asyncio.gather(*(send(apis, world, operation, key, {}) for _ in range(12)))
    assert {a.status_code for a in answers} <= {200, 201, 409}
    assert {a.json()["code"] for a in answers if a.status_code == 409} <= {"request_in_flight"}
    told = [a.json() for a in answers if a.is_success]
    assert told
    assert all(one == told[0] for one in told)
    stored = "SELECT count(*) FROM idempotency WHERE key = $1"
    assert await apis.service.pool.fetchval(stored, key.decode()) == 1


async def test_a_key_of_another_caller_opens_nothing(apis: Apis) -> None:
    """The same key and body from somebody else is a request of its own: the stored answer names the first's member."""
    body, key = a_sign_up(), str(uuid.uuid4())
    first = await apis.service.post("/v1/members", body, key=key)
    other = bearer(a_token("another-shop", "service"))
    second = await apis.service.post("/v1/members", body, key=key, headers=other)
    assert (first.status_code, second.status_code, second.json()["code"]) == (201, 409, "email_taken")
    assert first.json()["member_ref"] not in second.text
