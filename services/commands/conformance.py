"""`dongui affiliate conformance`: run an affiliate's own backend against the adversarial cases and judge what it holds.

It gets a topic of its own on the real broker and a key service on loopback; nothing of a member is in it.
"""

import asyncio
import contextlib
import secrets
import shlex
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web

from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.events import Projection, Stop, event_type
from schemas.topics import DAY_MS, Topic, affiliate_topic
from services.devstack import topics
from services.devstack.environment import inherited
from services.keyring import derive
from services.propagator.conformance import cases
from services.propagator.conformance.cases import Case
from services.runtime import kafka
from services.runtime.settings import Settings

AFFILIATE: Final = "conformance"
TOPIC: Final = affiliate_topic(AFFILIATE)
REFERENCE: Final = Path(__file__).resolve().parents[2] / "docs" / "examples" / "affiliate_consumer.py"
OPTIONS: Final = (
    "--bootstrap {bootstrap} --topic {topic} --prefix {prefix} --keys-url {keys_url} --token-env DONGUI_TOKEN"
    " --store {store} --idle 2"
)
LOGIN: Final = " --username {username} --password-file {password_file} --ca-file {ca_file}"
"""What the reference backend is told besides on a broker that is closed."""
EVENTS: Final = {"sharing_revoked": "consent_changed", "marketing_revoked": "consent_changed"}
TRIES: Final = 3
RUN_S: Final = 120.0


class BackendError(Exception):
    """The command did not run to its end or said nothing that can be judged; the message says what."""


@dataclass
class Keys:
    """The key service the backend asks. `down`: it answers 503, which must cost nothing."""

    data_key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    destroyed: set[str] = field(default_factory=set)
    down: bool = False
    url: str = ""

    async def one(self, request: web.Request) -> web.Response:
        """GET /v1/keys/{kid}."""
        self._check(request)
        key = self._key(request.match_info["kid"])
        return web.json_response(key) if key else web.json_response({"code": "key_destroyed"}, status=404)

    async def many(self, request: web.Request) -> web.Response:
        """POST /v1/keys."""
        self._check(request)
        kids = orjson.loads(await request.read())["kids"]
        found = {kid: self._key(kid) for kid in kids}
        missing = [{"kid": kid, "code": "key_destroyed"} for kid, key in found.items() if key is None]
        return web.json_response({"keys": [key for key in found.values() if key], "missing": missing})

    def _check(self, request: web.Request) -> None:
        if self.down:
            raise web.HTTPServiceUnavailable
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            raise web.HTTPUnauthorized

    def _key(self, kid: str) -> dict[str, str] | None:
        gone = derive.parse_kid(kid)[1] in self.destroyed
        return None if gone else derive.jwk(derive.content_key(self.data_key, kid), kid)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve on a free port of loopback."""
        app = web.Application()
        app.router.add_get("/v1/keys/{kid}", self.one)
        app.router.add_post("/v1/keys", self.many)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/keys"
            yield
        finally:
            await runner.cleanup()


@dataclass(frozen=True)
class Verdict:
    """One case: its name and what was wrong, empty for a pass."""

    name: str
    faults: tuple[str, ...]


async def check(settings: Settings, command: str | None, seed: int) -> list[Verdict]:
    """Run all cases; return a verdict each. Raises BackendError, Kafka errors."""
    told, keys, prefix = cases.make(seed), Keys(), f"conformance-{secrets.token_hex(4)}-"
    security = {k: v for k, v in kafka.client_options(settings).items() if k != "bootstrap_servers"}
    assert settings.kafka
    if security and settings.kafka_password_file is None:
        raise BackendError("give the login's password as DONGUI_KAFKA_PASSWORD_FILE: the backend is told the file")
    await topics.create(settings.kafka, [Topic(TOPIC, 3, DAY_MS)], prefix=prefix, replicas=None, security=security)
    keys.destroyed = {c.member_ref for c in told if c.destroyed == "always"}
    try:
        with tempfile.TemporaryDirectory() as folder:
            async with keys.serving():
                backend = Backend(settings, command, prefix, keys, Path(folder) / "store")
                await _send(settings, prefix, keys, [(s, c) for c in told for s in c.first])
                keys.down = True
                await backend.run()
                keys.down = False
                await backend.until_done()
                keys.destroyed |= {c.member_ref for c in told if c.destroyed == "later"}
                await _send(settings, prefix, keys, [(s, c) for c in told for s in c.second])
                said = await backend.until_done()
    finally:
        await topics.delete(settings.kafka, prefix, security=security)
    return [_judged(case, said) for case in told]


@dataclass(frozen=True)
class Backend:
    """The affiliate's command: it reads the topic to its end, prints its state as JSON, and ends."""

    settings: Settings
    command: str | None
    prefix: str
    keys: Keys
    store: Path

    async def run(self) -> tuple[int, bytes, bytes]:
        """Run it once; return its exit status, what it printed and what it complained of. Raises BackendError."""
        process = await self._started()
        try:
            out, errors = await asyncio.wait_for(process.communicate(), RUN_S)
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise BackendError(
                f"the command did not end in {RUN_S:.0f} s; it must end when the topic is quiet"
            ) from error
        return process.returncode or 0, out, errors

    async def _started(self) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                *self._argv(),
                env={**inherited(), "DONGUI_TOKEN": self.keys.token},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except (OSError, ValueError) as error:  # no such program; quotation marks that do not close
            raise BackendError(f"the command cannot be started ({error}); see --command") from error

    async def until_done(self) -> dict[str, Any]:
        """Run it until it ends well, at most three times; return what it says it holds. Raises BackendError."""
        status, out, errors = 1, b"", b""
        for _ in range(TRIES):
            status, out, errors = await self.run()
            if status == 0:
                break
        else:
            lines = errors.decode(errors="replace").strip().splitlines()
            raise BackendError(f"the command ended with {status} {TRIES} times: {lines[-1] if lines else 'no message'}")
        return said_by(out)

    def _argv(self) -> list[str]:
        if self.command is None and not REFERENCE.is_file():
            raise BackendError("give --command; the reference backend (docs/examples) is not installed here")
        options = OPTIONS + (LOGIN if self.settings.kafka_security == "SASL_SSL" else "")
        template = self.command or f"{shlex.quote(sys.executable)} {shlex.quote(str(REFERENCE))} {options}"
        places = {
            "{bootstrap}": str(self.settings.kafka),
            "{topic}": TOPIC,
            "{prefix}": self.prefix,
            "{keys_url}": self.keys.url,
            "{store}": str(self.store),
            "{username}": str(self.settings.kafka_username),
            "{password_file}": str(self.settings.kafka_password_file),
            "{ca_file}": str(self.settings.kafka_ca_file),
        }
        words = shlex.split(template)
        if not words:
            raise BackendError("the command is empty; see --command")
        for name, value in places.items():
            words = [word.replace(name, value) for word in words]
        return words


def said_by(out: bytes) -> dict[str, Any]:
    """Return what a backend says it holds. Raises BackendError for another shape than that of docs/affiliates.md."""
    try:
        said = orjson.loads(out)
        members = {ref: None if found is None else {**found} for ref, found in said["members"].items()}
        gaps = [(str(ref), int(after), int(upto)) for ref, after, upto in said["gaps"]]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        shape = '{"members": {REF: {…}}, "gaps": [[REF, after, upto]]}'
        raise BackendError(f"the command must print {shape} on stdout") from error
    return {"members": members, "gaps": gaps}


async def _send(settings: Settings, prefix: str, keys: Keys, shapes: Sequence[tuple[Projection | Stop, Case]]) -> None:
    producer = await kafka.producer(settings)
    try:
        for shape, _ in shapes:
            envelope, value = _record(shape, keys)
            headers = [(n, v.encode()) for n, v in to_headers(envelope).items()]
            await producer.send(prefix + TOPIC, key=shape.member_ref.encode(), value=value, headers=headers)
        await producer.flush()
    finally:
        await producer.stop()


def _record(shape: Projection | Stop, keys: Keys) -> tuple[Envelope, bytes]:
    name: Any = EVENTS.get(shape.stop, shape.stop) if isinstance(shape, Stop) else "corrected"
    sealed = isinstance(shape, Projection)
    envelope = Envelope(
        id=shape.change_id,
        type=event_type(name),
        source="/dongui/conformance",
        subject=shape.member_ref,
        sequence=shape.seq,
        previous=shape.prev,
        time=shape.at,
        dataschema=f"urn:dongui:{'projection' if sealed else 'stop'}:v1",
        content_type="application/jose" if sealed else "application/json",
        change_id=shape.change_id,
    )
    if isinstance(shape, Stop):
        return envelope, codec.encode_clear(shape, envelope)
    kid = derive.format_kid(AFFILIATE, shape.member_ref, 1)
    return envelope, codec.seal(shape, key=derive.content_key(keys.data_key, kid), kid=kid, topic=TOPIC)


def _judged(case: Case, said: dict[str, Any]) -> Verdict:
    wanted, found = case.expected(), said["members"].get(case.member_ref)
    faults = [f"gaps {_gaps(case, said)}, not {case.gaps()}"] if _gaps(case, said) != case.gaps() else []
    parts = ("member", "processed", "marketing")
    if wanted is None:
        held = [name for name in parts if found and found.get(name)]
        faults += [f"holds {name} of a member it must hold nothing of" for name in held]
    elif found is None:
        faults.append("knows nothing of the member")
    else:
        faults += [f"{name} is not what it must be" for name in parts if _part(found.get(name)) != _part(wanted[name])]
        if wanted["status"] is not None and found.get("status") != wanted["status"]:
            faults.append(f"status is {found.get('status')}, not {wanted['status']}")
    return Verdict(case.name, tuple(faults))


def _gaps(case: Case, said: dict[str, Any]) -> list[tuple[int, int]]:
    return sorted((after, upto) for ref, after, upto in said["gaps"] if ref == case.member_ref)


def _part(value: Any) -> Any:
    """A part may have more than the kit compares; what it compares must be the same."""
    for names in (("email", "name", "password_hash"), ("service", "role", "items")):
        if isinstance(value, dict) and names[0] in value and names[1] in value:
            return {name: value.get(name) for name in names}
    return value
