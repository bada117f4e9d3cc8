"""Nobody reaches another's object (F30): every operation that names one, asked by everybody it does not belong to.

The list of operations is the services' own OpenAPI documents, so that a new route is in it from its first day.
"""

import asyncio
import uuid
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tests.architecture.test_http_docs import rows
from tests.integration.consent.harness import a_sign_up, a_token, bearer
from tests.security.apis import ROLES, Apis
from tests.security.places import World
from tests.security.world import BODIES, QUERIES, filled, settle, with_left

pytestmark = pytest.mark.f(30)
NAMING = {"member_ref", "recipient", "affiliate", "members", "kids"}
"""Query parameters and members of bodies that name somebody's object."""
PUBLIC = {(method, path) for method, path, who in rows() if "anybody" in who}
DENIED = {401, 403, 404}
OWN_LISTS = {
    ("GET", "/v1/rights-requests"): "a list of one's own: the other's are not in it",
}
"""Operations that answer a stranger with 200, and why that shows nothing."""
REST_S, REST_TIMEOUT_S = 1.5, 40.0
MOVING = ("outbox", "delivery", "change", "consumer_offset")
"""Tables that the relay and the receipts' follower write while nobody asks anything."""


@pytest_asyncio.fixture(scope="module")
async def world(apis: Apis) -> World:
    return await settle(apis)


@pytest_asyncio.fixture(scope="module")
async def strangers(apis: Apis) -> dict[str, dict[str, str]]:
    """Everybody who owns none of it, by what they are."""
    other = str((await apis.service.sign_up())["member_ref"])
    return {
        "another member": bearer(a_token(other, "member")),
        "another affiliate": bearer(a_token("tmax-anc", "affiliate")),
        "people of another affiliate": bearer(a_token("tmax-anc", "affiliate_desk")),
        "another third party": bearer(a_token("other-partner", "third_party")),
        "a role there is not": bearer(a_token("admin", "admin")),
        "no role": bearer(a_token("nobody")),
        "no token": {"Authorization": ""},
    }


async def operations(apis: Apis) -> list[tuple[str, str, str]]:
    """Return (service, method, path) of every operation that names an object and is not open to anybody."""
    found = []
    for name, url in apis.urls.items():
        document = (await apis.http.get(f"{url}/openapi.json")).json()
        found += [
            (name, method.upper(), path)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if names_object(document, path, operation)
        ]
    asked = [one for one in found if one[1:] not in PUBLIC]
    return sorted(asked, key=lambda one: "/withdrawal" in one[2])  # last, for with it the member is gone


def names_object(document: dict[str, Any], path: str, operation: dict[str, Any]) -> bool:
    query = {p["name"] for p in operation.get("parameters", []) if p["in"] == "query"}
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    body = document["components"]["schemas"].get(name, {}).get("properties", {})
    return "{" in path or bool(NAMING & (query | set(body)))


async def send(apis: Apis, world: World, operation: tuple[str, str, str], headers: dict[str, str]) -> httpx.Response:
    name, method, template = operation
    about = with_left(world, template)
    body = filled(about, BODIES.get((method, template)))
    sent: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
    extra = {"Idempotency-Key": str(uuid.uuid4()), "If-Match": "*", "X-Reason": "case-7"}
    if isinstance(body, bytes):
        extra["Content-Type"] = "text/plain"
    url, params = apis.urls[name] + about.path(template), filled(about, QUERIES.get(template))
    return await apis.http.request(method, url, params=params, headers=extra | headers, **sent)


async def fingerprint(apis: Apis) -> dict[str, str]:
    """Return a hash of every table of the three databases, but those that move by themselves."""
    found = {}
    for database in ("consent", "retention", "keyring"):
        owner = await asyncpg.connect(apis.pair.databases.owner_dsn(database))
        try:
            for row in await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
                table = row["tablename"]
                if table not in MOVING:
                    hashed = f'SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM "{table}" t'
                    found[f"{database}.{table}"] = await owner.fetchval(hashed)
        finally:
            await owner.close()
    return found


async def at_rest(apis: Apis) -> dict[str, str]:
    """Return the fingerprint once what the world's own changes set in motion has come to rest."""
    found: dict[str, str] = {}
    async with asyncio.timeout(REST_TIMEOUT_S):
        while (now := await fingerprint(apis)) != found:
            found = now
            await asyncio.sleep(REST_S)
    return found


async def test_every_operation_on_an_object_refuses_who_does_not_own_it(
    apis: Apis, world: World, strangers: dict[str, dict[str, str]]
) -> None:
    before = await at_rest(apis)
    asked, let_in = 0, {}
    for operation in await operations(apis):
        for who, headers in strangers.items():
            answer = await send(apis, world, operation, headers)
            asked += 1
            shown = any(value in answer.text for value in personal(world))
            own_list = operation[1:] in OWN_LISTS and answer.status_code == 200
            if shown or not (answer.status_code in DENIED or own_list):
                let_in[(*operation[1:], who)] = (answer.status_code, answer.text[:200])
    assert let_in == {}
    assert asked >= 7 * 80, "operations have gone missing from the documents"
    assert await fingerprint(apis) == before


def personal(world: World) -> list[str]:
    """What no stranger's answer may hold."""
    return [world.ids[name] for name in ("member", "request_id", "notice_id", "inquiry", "erasure", "kid", "left")]


@pytest.mark.long
async def test_each_of_these_requests_is_good_in_the_right_hands(apis: Apis, world: World) -> None:
    """Otherwise the refusals above might be of the request, and not of who asks."""
    mine = {
        **{role: bearer(a_token(f"{role}-9", role)) for role in ROLES},
        "member": bearer(a_token(world.ids["member"], "member")),
        "affiliate": bearer(a_token("tmax-os", "affiliate")),
        "third_party": bearer(a_token("demo-partner", "third_party")),
    }
    barred = {}
    for operation in await operations(apis):
        answers = {who: await send(apis, world, operation, headers) for who, headers in mine.items()}
        if not any(answer.is_success or answer.status_code == 409 for answer in answers.values()):
            barred[operation[1:]] = {who: (a.status_code, a.text[:160]) for who, a in answers.items()}
    assert not barred, "\n".join(f"{k} {v}" for k, v in barred.items())


async def test_two_affiliates_know_one_member_by_two_keys(apis: Apis) -> None:
    """What one of them holds opens nothing of the other's (A and B share no content key)."""
    ref = (await apis.service.post("/v1/members", a_sign_up())).json()["member_ref"]
    keys = {}
    for affiliate in ("tmax-os", "tmax-anc"):
        mine = bearer(a_token(affiliate, "affiliate"))
        keys[affiliate] = (await apis.service.http.get(f"/v1/keys/{affiliate}.{ref}.1", headers=mine)).json()["k"]
    assert keys["tmax-os"] != keys["tmax-anc"]
