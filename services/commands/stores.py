"""Affiliates' stores as an operator's commands see them: the live ones, and shadows built beside them."""

import contextlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg

from services.commands.context import fail
from services.commands.purge import admin_dsn
from services.devstack.provision import close_to_public, quoted
from services.propagator.handlers import Propagator
from services.propagator.keys import ContentKeys
from services.runtime import postgres
from services.runtime.clock import utc_now
from services.runtime.migrate import AFFILIATE_PACKAGE, migrate
from services.runtime.outbox import Record
from services.runtime.settings import Settings

POOL_SIZE = 3


def known(settings: Settings, affiliate: str) -> str:
    """Return an affiliate's id when its store is set here; end the command with the known ones otherwise."""
    settings.require("affiliate_dsns", "affiliate_tokens", "consent_url")
    if affiliate not in settings.affiliate_dsns or affiliate not in settings.affiliate_tokens:
        fail(f"no store or no token is set for {affiliate}; known: {', '.join(sorted(settings.affiliate_dsns))}")
    return affiliate


@dataclass
class Stores:
    """Opens each store once and closes all at the end. `leaves` says which answers may leave a store's outbox."""

    settings: Settings
    leaves: Callable[[Record], bool]
    dsns: dict[str, str]
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    _open: dict[str, Propagator] = field(default_factory=dict)

    async def __call__(self, affiliate: str) -> Propagator:
        """Return the applier of an affiliate's store."""
        if affiliate not in self._open:
            pool = await self._stack.enter_async_context(opened(self.dsns[affiliate]))
            keys = await self._stack.enter_async_context(content_keys(self.settings, affiliate))
            self._open[affiliate] = Propagator(affiliate, pool, keys, utc_now, leaves=self.leaves)
        return self._open[affiliate]

    async def close(self) -> None:
        """Close what was opened."""
        self._open.clear()
        await self._stack.aclose()


@contextlib.asynccontextmanager
async def live(settings: Settings, leaves: Callable[[Record], bool]) -> AsyncIterator[Stores]:
    """Yield the live stores."""
    stores = Stores(settings, leaves, {a: d.get_secret_value() for a, d in settings.affiliate_dsns.items()})
    try:
        yield stores
    finally:
        await stores.close()


@contextlib.asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """Yield a pool on one store."""
    pool = await postgres.open_pool(dsn, size=POOL_SIZE, application="dongui-operator")
    try:
        yield pool
    finally:
        await pool.close()


@contextlib.asynccontextmanager
async def content_keys(settings: Settings, affiliate: str) -> AsyncIterator[ContentKeys]:
    """Yield the affiliate's way to its content keys."""
    assert settings.consent_url
    token = settings.affiliate_tokens[affiliate].get_secret_value()
    async with aiohttp.ClientSession() as session:
        yield ContentKeys(session, settings.consent_url, token)


@contextlib.asynccontextmanager
async def shadows(settings: Settings, affiliates: tuple[str, ...], plan_id: str, keep: bool) -> AsyncIterator[Stores]:
    """Yield empty stores beside the live ones, dropped at the end unless `keep`. Needs the superuser."""
    settings.require("owner_dsns")
    names = {a: _shadow_name(a, plan_id) for a in affiliates}
    dsns = {a: _with_database(settings.affiliate_dsns[a].get_secret_value(), name) for a, name in names.items()}
    stores = Stores(settings, lambda _: False, dsns)
    try:
        for affiliate, name in names.items():
            await _create(settings, affiliate, name)
        yield stores
    finally:
        await stores.close()
        if not keep:
            for name in names.values():
                await _admin(settings, f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")


def _shadow_name(affiliate: str, plan_id: str) -> str:
    return f"{affiliate}_shadow_{re.sub('[^0-9a-f]', '', plan_id)[-8:]}"


async def _create(settings: Settings, affiliate: str, name: str) -> None:
    owner = settings.owner_dsns[affiliate].get_secret_value()
    live_dsn = settings.affiliate_dsns[affiliate].get_secret_value()
    role, owner_role = urlsplit(live_dsn).username or affiliate, urlsplit(owner).username or affiliate
    await _admin(settings, f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
    await _admin(settings, f"CREATE DATABASE {quoted(name)} OWNER {quoted(owner_role)}")
    connection = await asyncpg.connect(admin_dsn(settings))
    try:
        await close_to_public(connection, role, name)
    finally:
        await connection.close()
    await migrate(_with_database(owner, name), AFFILIATE_PACKAGE, role)


async def _admin(settings: Settings, statement: str) -> None:
    connection = await asyncpg.connect(admin_dsn(settings))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _with_database(dsn: str, database: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))
