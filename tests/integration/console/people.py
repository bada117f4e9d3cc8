"""The people at the console of the whole system, each signed in over HTTP once in a run."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from services.devstack.system import System
from tests.support import console_story
from tests.support.console import Person
from tests.support.console_story import Ask, Told


@dataclass
class People:
    """`at("compliance")` is signed in; `told` says what there is to look at."""

    system: System
    base: str
    told: Told
    _known: dict[str, Person] = field(default_factory=dict)

    async def at(self, name: str) -> Person:
        if name not in self._known:
            person = self.stranger()
            await person.enter(name, self.system.described()["console_accounts"][name])
            self._known[name] = person
        return self._known[name]

    def stranger(self) -> Person:
        return Person(httpx.AsyncClient(base_url=self.base, timeout=30))

    async def newcomer(self, role: str = "compliance") -> tuple[str, str]:
        """Let the privacy officer make an account; return its name and one-time password."""
        cpo, name = await self.at("cpo"), f"n{uuid.uuid4().hex[:8]}"
        page = await cpo.submit(await cpo.get("/accounts"), "/accounts", name=name, role=role)
        return name, told_password(page)

    async def leaving(self) -> tuple[str, str]:
        """Return (request, member) of a request to delete everything that waits for its decision."""
        async with asking(self.system) as ask:
            return await console_story.leaving(ask)

    async def close(self) -> None:
        for person in self._known.values():
            await person.http.aclose()


def told_password(page: httpx.Response) -> str:
    """Return the one-time password that a page tells."""
    return page.text.split("일회용 비밀번호:")[1].split("<code>")[1].split("<")[0]


@contextlib.asynccontextmanager
async def asking(system: System) -> AsyncIterator[Ask]:
    """Ask the consent service as the service that may call every member endpoint."""
    described = system.described()
    async with httpx.AsyncClient(base_url=described["consent_url"], timeout=30) as http:

        async def ask(method: str, path: str, body: Any = None, seq: int | None = None) -> Any:
            headers = {"Authorization": f"Bearer {described['tokens']['service']}"}
            headers |= {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
            headers |= {"If-Match": f'"{seq}"'} if seq else {}
            answer = await http.request(method, path, json=body, headers=headers)
            assert answer.is_success, (path, answer.text)
            return answer.json()

        yield ask


async def arrive(system: System) -> People:
    """Make what there is to look at."""
    async with asking(system) as ask:
        told = await console_story.tell(ask)
    return People(system, system.described()["console_url"].rstrip("/"), told)
