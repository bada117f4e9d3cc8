"""Many third parties on one machine: each a port, some dead in one of three ways; and notices sealed for them.

The sender under test cannot tell them from servers elsewhere. The key service answers as the consent service does,
from one data key for all members.
"""

import asyncio
import base64
import itertools
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from aiohttp import web

from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.events import FactName, Notice, Projection, event_type
from schemas.topics import NOTICES
from services.devstack.ports import free_ports
from services.keyring import derive
from services.propagator.notices import onboarding

HOST = "127.0.0.1"
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
CHALLENGE = onboarding.CHALLENGE_TYPE.encode()
DATA_KEY = bytes(range(32))
DEAD = ("refusing", "silent", "failing")
"""No listener; a connection that is never answered; 500 to everything. Beside them `flapping`: 500 to every other."""


@dataclass
class Crowd:
    """Third parties by name, how each behaves now, and every arrival: webhook-id to the clock's seconds, by name.

    `body_bytes`: of all bodies that arrived. A good one answers the challenge to its endpoint, which is no arrival.
    """

    ports: dict[str, int]
    behaviour: dict[str, str]
    clock: Callable[[], float] = time.time
    arrivals: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    body_bytes: int = 0
    _answered: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _runners: list[web.AppRunner] = field(default_factory=list)

    @classmethod
    def of(cls, living: int, dead: int) -> "Crowd":
        """Return `living` good ones and `dead` ones, of each kind in turn."""
        names = [f"party-{number:02}" for number in range(living + dead)]
        kinds = itertools.cycle(DEAD)
        behaviour = {name: "good" if i < living else next(kinds) for i, name in enumerate(names)}
        return cls(dict(zip(names, free_ports(len(names)), strict=True)), behaviour)

    def living(self) -> list[str]:
        return [name for name, how in self.behaviour.items() if how == "good"]

    def settings(self) -> dict[str, dict[str, str]]:
        """Return DONGUI_THIRD_PARTIES."""
        return {n: {"url": f"http://{HOST}:{port}/webhook", "secret": SECRET} for n, port in self.ports.items()}

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Crowd"]:
        """Listen for all but those that refuse connections."""
        try:
            for name, how in self.behaviour.items():
                if how != "refusing":
                    await self._listen(name)
            yield self
        finally:
            await asyncio.gather(*(runner.cleanup() for runner in self._runners))

    def forget(self) -> None:
        """Begin to count anew what arrives."""
        self.arrivals.clear()
        self.body_bytes = 0

    async def revive(self) -> None:
        """Make every dead one good."""
        refusing = [name for name, how in self.behaviour.items() if how == "refusing"]
        self.behaviour |= dict.fromkeys(self.behaviour, "good")
        for name in refusing:
            await self._listen(name)

    async def _listen(self, name: str) -> None:
        async def told(request: web.Request) -> web.Response:
            return await self._answer(name, request)

        app = web.Application()
        app.add_routes([web.post("/webhook", told)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, HOST, self.ports[name]).start()

    async def _answer(self, name: str, request: web.Request) -> web.Response:
        body = await request.read()
        if self.behaviour[name] == "good" and CHALLENGE in body:
            return web.json_response({"challenge": orjson.loads(body)["data"]["challenge"]})
        self.body_bytes += len(body)
        self.arrivals[name][request.headers["webhook-id"]].append(self.clock())
        if self.behaviour[name] == "silent":
            await asyncio.sleep(3600)
        self._answered[name] += 1
        flaps = self.behaviour[name] == "flapping" and self._answered[name] % 2 == 1
        if flaps or self.behaviour[name] == "failing":
            return web.Response(status=500)
        return web.json_response({"outcome": "corrected"})


@dataclass(frozen=True)
class Sealed:
    """A notice as it travels."""

    notice: Notice
    headers: list[tuple[str, bytes]]
    value: bytes


def sealed(recipients: Iterable[str], at: datetime) -> list[Sealed]:
    """Return one notice for each name, each about a member of its own, sealed as the consent service seals it."""
    return [_sealed(recipient, at) for recipient in recipients]


def _sealed(recipient: str, at: datetime) -> Sealed:
    notice = Notice(
        notice_id=str(uuid.uuid4()),
        change_id=str(uuid.uuid4()),
        member_ref=str(uuid.uuid4()),
        recipient=recipient,
        seq=2,
        corrected_at=at,
        items=("email",),
        values={"email": "haneul@example.kr"},
    )
    value, headers = travelling(notice, recipient, NOTICES, "notice", "corrected", previous=1, at=at)
    return Sealed(notice, headers, value)


def travelling(
    shape: Notice | Projection, recipient: str, topic: str, schema: str, name: FactName, *, previous: int, at: datetime
) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Return (value, headers) of a record as the consent service seals it, under the key that `key_service` gives."""
    kid = derive.format_kid(recipient, shape.member_ref, 1)
    envelope = Envelope(
        id=str(uuid.uuid4()),
        type=event_type(name),
        source="/dongui/consent",
        subject=shape.member_ref,
        sequence=shape.seq,
        previous=previous,
        time=at,
        dataschema=f"urn:dongui:{schema}:v1",
        content_type="application/jose",
        change_id=shape.change_id,
    )
    value = codec.seal(shape, key=derive.content_key(DATA_KEY, kid), kid=kid, topic=topic)
    return value, [(header, text.encode()) for header, text in to_headers(envelope).items()]


@asynccontextmanager
async def key_service() -> AsyncIterator[str]:
    """Serve POST /v1/keys; yield the base URL."""

    async def keys(request: web.Request) -> web.Response:
        kids: Sequence[str] = (await request.json())["kids"]
        found: list[Any] = [derive.jwk(derive.content_key(DATA_KEY, kid), kid) for kid in kids]
        return web.json_response({"keys": found, "missing": []})

    app = web.Application()
    app.add_routes([web.post("/v1/keys", keys)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        yield f"http://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
