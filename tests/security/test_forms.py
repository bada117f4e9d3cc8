"""CSRF (F32): a form of the console that comes from elsewhere changes nothing; the list is the console's routes."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from fastapi.routing import APIRoute

from services.console import web
from services.console.cookies import form_token, origin_of
from tests.integration.console.harness import Console, running, settings_in
from tests.integration.console.test_sign_in import enter
from tests.support.console import Person
from tests.support.databases import Databases

pytestmark = pytest.mark.f(32)
ROUTES = sorted(
    route.path
    for module in web.MODULES
    for route in module.router.routes
    if isinstance(route, APIRoute) and "POST" in route.methods
)
VALUES = {"account_id": "0", "verb": "hold", "ref": "0", "request_id": "0", "step": "verify", "replay_id": "0"}


@dataclass(frozen=True)
class Two:
    """Two people at one console."""

    console: Console
    person: Person
    other: Person
    databases: Databases

    def token(self, person: Person) -> str:
        """Return the token of this person's forms."""
        return form_token(person.http.cookies["dongui-dev"])

    async def sent(self, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
        return await self.person.http.post(concrete(path), data=fields, headers=headers)

    async def rows(self) -> list[Any]:
        owner = await asyncpg.connect(self.databases.owner_dsn("console"))
        try:
            return [await owner.fetch(f"SELECT * FROM {t} ORDER BY 1") for t in ("account", "session", "outbox")]
        finally:
            await owner.close()


def concrete(path: str) -> str:
    """Return a route's path with something in each of its places."""
    return "/".join(VALUES[p[1:-1]] if p.startswith("{") else p for p in path.split("/"))


@pytest_asyncio.fixture
async def two(databases: Databases, tmp_path: Path) -> AsyncIterator[Two]:
    async with running(settings_in(tmp_path, databases)) as console:
        people = []
        for name in ("cpo", "kim"):
            people.append(await enter(console, name))
        yield Two(console, *people, databases)


async def test_no_form_of_the_console_is_taken_from_elsewhere(two: Two) -> None:
    before = await two.rows()
    asked = 0
    for path in ROUTES:
        mine, others = two.token(two.person), two.token(two.other)
        attacks: list[tuple[dict[str, str], dict[str, str]]] = [
            ({}, {}),
            ({"csrf": ""}, {}),
            ({"csrf": others}, {}),
            ({"csrf": mine[:-1]}, {}),
            ({"csrf": mine.swapcase()}, {}),
            ({"csrf": mine}, {"Origin": "https://evil.example"}),
            ({"csrf": mine}, {"Origin": "null"}),
            ({"csrf": mine}, {"Origin": two.console.url + ".evil.example"}),
            ({"csrf": mine}, {"Origin": two.console.url.replace("http:", "https:")}),
            ({"csrf": mine}, {"Sec-Fetch-Site": "cross-site"}),
            ({"csrf": mine}, {"Sec-Fetch-Site": "same-site"}),
        ]
        for fields, headers in attacks:
            answer = await two.sent(path, fields, **headers)
            assert answer.status_code == 403, (path, fields.keys(), headers, answer.status_code)
            asked += 1
        in_the_url = await two.person.http.post(f"{concrete(path)}?csrf={mine}")
        as_json = await two.person.http.post("/sign-out", json={"csrf": mine})
        assert (in_the_url.status_code, as_json.status_code) == (403, 403)
    assert asked == 11 * len(ROUTES)
    assert len(ROUTES) >= 12
    assert await two.rows() == before


async def test_nobody_is_signed_in_by_a_page_of_somebody_else(two: Two) -> None:
    """Login CSRF: before there is a session, a form is bound to the browser that asked for it."""
    victim, attacker = two.console.person(), two.console.person()
    for person in (victim, attacker):
        await person.get("/sign-in")
    fields = {"name": "kim", "password": "x", "code": ""}
    theirs = form_token(attacker.http.cookies["dongui-dev-browser"])
    for token in ("", theirs):
        answer = await victim.http.post("/sign-in", data=fields | {"csrf": token})
        assert (answer.status_code, "form_refused" in answer.text) == (403, True)
    own = form_token(victim.http.cookies["dongui-dev-browser"])
    wrong = await victim.http.post("/sign-in", data=fields | {"csrf": own})
    assert "form_refused" not in wrong.text


async def test_the_same_form_from_its_own_page_is_taken(two: Two) -> None:
    """Whatever then becomes of it: what it asks for may not exist, and the APIs are away here."""
    ours = {"Origin": two.console.url, "Sec-Fetch-Site": "same-origin"}
    for path in sorted(ROUTES, key=lambda route: route == "/sign-out"):
        answer = await two.sent(path, {"csrf": two.token(two.person)}, **ours)
        assert "form_refused" not in answer.text, path


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://console.example/", "https://console.example"),
        ("https://console.example:443", "https://console.example"),
        ("https://console.example:8443/x", "https://console.example:8443"),
        ("http://127.0.0.1:8800", "http://127.0.0.1:8800"),
        ("http://[::1]:8800", "http://[::1]:8800"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin
