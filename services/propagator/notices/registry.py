"""The registered endpoints: rows of the notices database, each proved to be its third party's before it is told.

An entry of DONGUI_THIRD_PARTIES becomes a row at start, when it is new or names another URL; then the row rules.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import asyncpg
import structlog

from services.propagator.notices import egress, endpoints, urls
from services.propagator.notices.endpoints import Endpoint, EndpointError
from services.propagator.notices.sealing import SealedError, Sealer
from services.propagator.notices.store import SQL
from services.runtime.clock import Clock
from services.runtime.postgres import Connection

SECRET_BYTES: Final = 32
CHALLENGE_BYTES: Final = 24
Proof = Literal["challenge", "file", "loopback"]
Condition = Literal["active", "unverified", "paused", "gone"]
STRANGER: Final = "receiver-under-trial"
UNKNOWN: Final = "it is not registered; see: dongui third-party list"
SEALED: Final = (
    "its secret was sealed under another signing key; set DONGUI_WEBHOOK_SIGNING_KEY_OLD_FILE, "
    "or give it a new one: dongui third-party rotate-key NAME --overlap-hours 0"
)
log = structlog.get_logger("notices")


@dataclass(frozen=True, slots=True)
class Registered:
    """One row as staff see it; `challenge` is what the well-known file must hold, `gone_at` when it answered 410."""

    endpoint: Endpoint
    challenge: str
    added_at: datetime
    verified_at: datetime | None
    verified_by: Proof | None
    paused_at: datetime | None
    gone_at: datetime | None
    earlier_until: datetime | None

    @property
    def condition(self) -> Condition:
        """Say whether it is told, or what keeps us from it."""
        if self.verified_at is None:
            return "unverified"
        if self.paused_at is not None:
            return "paused"
        return "active" if self.gone_at is None else "gone"


@dataclass(frozen=True, slots=True)
class Registry:
    """The rows and what may be done to them. In the dev profile an endpoint on this machine needs no other proof."""

    pool: asyncpg.Pool
    sealer: Sealer
    clock: Clock
    production: bool
    said: set[str] = field(default_factory=set)
    """What the log was told of endpoints that cannot be used; it is told once, not at every look."""

    async def declare(self, third_parties: Mapping[str, Mapping[str, Any]]) -> None:
        """Make rows of the settings' entries. Raises EndpointError."""
        for name, found in endpoints.parse(third_parties, production=self.production).items():
            async with self.pool.acquire() as connection, connection.transaction():
                if not await self._insert(connection, name, found.url, found.secret, found.url):
                    await self._move(connection, "declare_endpoint", name, found.url, found.secret)

    async def add(self, name: str, url: str) -> bytes:
        """Register an endpoint and return its new secret, which is shown this once. Raises EndpointError."""
        self._check(name, url)
        secret = secrets.token_bytes(SECRET_BYTES)
        async with self.pool.acquire() as connection, connection.transaction():
            if not await self._insert(connection, name, url, secret):
                raise EndpointError(name, "it is registered; give --replace to move it to another URL")
        return secret

    async def move(self, name: str, url: str) -> bool:
        """Give an endpoint another URL, which must be proved anew; False when it is there already.

        The secret stays. Raises EndpointError.
        """
        self._check(name, url)
        await self.find(name)
        async with self.pool.acquire() as connection, connection.transaction():
            return await self._move(connection, "move_endpoint", name, url)

    def _check(self, name: str, url: str) -> None:
        if why := urls.refusal(url, production=self.production):
            raise EndpointError(name, why)

    async def _insert(self, tx: Connection, name: str, url: str, secret: bytes, declared: str | None = None) -> bool:
        sealed, token = self.sealer.seal(secret, name), secrets.token_urlsafe(CHALLENGE_BYTES)
        values = (name, url, sealed, token, self.clock(), self._own(url), declared)
        try:
            row = await tx.fetchrow(SQL["add_endpoint"], *values)
        except asyncpg.CheckViolationError:
            raise EndpointError(name, "a name is 2 to 63 of a-z, 0-9 and -, and begins with a letter") from None
        if row is not None:
            await self._note(tx, name, "added")
        return row is not None

    async def _move(self, tx: Connection, statement: str, name: str, url: str, *secret: bytes) -> bool:
        sealed = [self.sealer.seal(one, name) for one in secret]
        token = secrets.token_urlsafe(CHALLENGE_BYTES)
        row = await tx.fetchrow(SQL[statement], name, url, token, self.clock(), self._own(url), *sealed)
        if row is not None:
            await self._note(tx, name, "moved")
        return row is not None

    def _own(self, url: str) -> Proof | None:
        return "loopback" if not self.production and egress.is_loopback_url(url) else None

    async def _note(self, tx: Connection, name: str, event: str) -> None:
        await tx.execute(SQL["endpoint_event"], name, self.clock(), event)

    async def find(self, name: str) -> Registered:
        """Return one; raise EndpointError for a name that is not registered, or a secret we cannot open."""
        for row in await self.pool.fetch(SQL["registered_endpoints"], name):
            return self._registered(row)
        raise EndpointError(name, UNKNOWN)

    async def at(self, url: str) -> Endpoint:
        """Return the endpoint of a registered URL; raise EndpointError."""
        for one in await self.all():
            if one.endpoint.url == url:
                return one.endpoint
        raise EndpointError(url, "no endpoint is registered there; give the receiver's secret by --secret-file")

    def stranger(self, url: str, secret: bytes) -> Endpoint:
        """Return an endpoint that is not registered; raise EndpointError for a URL that may not be one."""
        self._check(STRANGER, url)
        return Endpoint(STRANGER, url, secret)

    async def all(self) -> list[Registered]:
        """Return every one, by name; raise EndpointError for a secret we cannot open."""
        return [self._registered(row) for row in await self.pool.fetch(SQL["registered_endpoints"], None)]

    async def active(self) -> dict[str, Endpoint]:
        """Return those that may be told now, by recipient: proved, not paused, and by the rules of this profile.

        One that answered 410 is among them: its notices wait as `disabled`.
        """
        rows = await self.pool.fetch(SQL["registered_endpoints"], None)
        usable = [one for one in map(self._usable, rows) if one is not None]
        return {one.endpoint.recipient: one.endpoint for one in usable if one.condition in {"active", "gone"}}

    def _usable(self, row: asyncpg.Record) -> Registered | None:
        """Hold a row against the rules again: it may be older than they are, or of a dev system."""
        try:
            found = self._registered(row)
            self._check(found.endpoint.recipient, found.endpoint.url)
        except EndpointError as error:
            if str(error) not in self.said:
                self.said.add(str(error))
                log.error("third_party_unusable", recipient=error.name, why=error.why)
            return None
        return found

    async def prove(self, found: Registered, by: Proof) -> None:
        """Keep that the URL that was asked is its third party's. Raises EndpointError when it was moved meanwhile."""
        name, url = found.endpoint.recipient, found.endpoint.url
        async with self.pool.acquire() as connection, connection.transaction():
            if await connection.fetchrow(SQL["prove_endpoint"], name, url, self.clock(), by) is None:
                raise EndpointError(name, "its URL was changed meanwhile; verify again")
            await connection.execute(SQL["open_endpoint"], name)
            await self._note(connection, name, f"verified_{by}")

    async def rotate(self, name: str, overlap: timedelta) -> bytes:
        """Return a new secret, shown this once. What signs now signs too until `overlap` has passed (zero: no more).

        Of several that sign, which one the third party has is not known: a new one may have been lost on its way.
        """
        secret, now = secrets.token_bytes(SECRET_BYTES), self.clock()
        until = now + overlap if overlap else None
        await self._change(name, "rotated", SQL["rotate_secret"], self.sealer.seal(secret, name), until, now)
        return secret

    async def pause(self, name: str) -> None:
        """Tell it nothing more until it is resumed; its notices wait. Harmless when repeated."""
        await self._change(name, "paused", SQL["pause_endpoint"], self.clock())

    async def resume(self, name: str) -> None:
        """Tell it again, also after a 410."""
        await self._change(name, "resumed", SQL["resume_endpoint"])

    async def _change(self, name: str, event: str, statement: str, *values: object) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            if await connection.fetchrow(statement, name, *values) is None:
                raise EndpointError(name, UNKNOWN)
            if event == "resumed":
                await connection.execute(SQL["open_endpoint"], name)
            await self._note(connection, name, event)

    async def reseal(self) -> None:
        """Seal every secret under the present signing key: what lets the earlier one be thrown away."""
        for row in await self.pool.fetch(SQL["registered_endpoints"], None):
            name, one = row["recipient"], self._registered(row)
            sealed, *others = [self.sealer.seal(secret, name) for secret in one.endpoint.secrets]
            earlier, older = (others[0], others[1:]) if others else (row["earlier"], row["older"])
            await self.pool.execute(SQL["reseal_endpoint"], name, row["secret"], sealed, earlier, older)

    def _registered(self, row: asyncpg.Record) -> Registered:
        name, until = row["recipient"], row["earlier_until"]
        live = until is not None and until > self.clock()
        try:
            secret = self.sealer.unseal(row["secret"], name)
            others = (row["earlier"], *row["older"]) if live else ()
            earlier = tuple(self.sealer.unseal(one, name) for one in others)
        except SealedError:
            raise EndpointError(name, SEALED) from None
        return Registered(
            Endpoint(name, row["url"], secret, earlier),
            row["challenge"],
            row["added_at"],
            row["verified_at"],
            row["verified_by"],
            row["paused_at"],
            row["gone_at"],
            until if live else None,
        )
