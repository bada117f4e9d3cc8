"""Invented members in a consent database, by the importer: what a relay, a replay or a store has to work on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from argon2 import PasswordHasher

from benchmarks.servers import Servers
from services.consent import app, importer
from services.consent.handlers import Caller, Consent
from services.devstack import keyfiles
from services.runtime.settings import Settings

DATABASES: Final = ("consent", "keyring")
RECORDS_EACH: Final = 4
"""A member who shares with all: a fact, and a projection for each of three affiliates."""
PAGE: Final = 500
HASH: Final = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43
"""Nobody signs in, and real ones would cost more than all else."""


def settings(servers: Servers) -> Settings:
    """Return the consent process's settings on these servers."""
    keys = keyfiles.ensure(servers.folder / "secrets")
    return servers.settings(
        consent_dsn=servers.access.dsn("consent"),
        keyring_dsn=servers.access.dsn("keyring"),
        kek_file=keys.kek,
        email_index_key_file=keys.email_index_key,
        jwks_file=keys.jwks,
    )


@asynccontextmanager
async def consent(servers: Servers, *, hasher: PasswordHasher | None = None) -> AsyncIterator[Consent]:
    """The verbs of the consent service, without its relay and its HTTP; with another `hasher` when one is given."""
    async with app.build(settings(servers)) as (verbs, _):
        yield replace(verbs, hasher=hasher or verbs.hasher)


async def sign_up(servers: Servers, count: int) -> None:
    """Sign members up who share everything; `RECORDS_EACH` outbox rows of each are left to be relayed."""
    caller = Caller("benchmark", "service")
    async with consent(servers) as verbs:
        for start in range(0, count, PAGE):
            rows = [_row(number) for number in range(start, min(start + PAGE, count))]
            answer = await importer.take_in(verbs, rows, caller, None)
            assert all(row["outcome"] == "created" for row in answer.body["rows"])


def _row(number: int) -> dict[str, Any]:
    return {
        "email": f"member-{number}@example.kr",
        "password_hash": HASH,
        "name": "성능 시험",
        "profiles": [{"service": "wapl", "role": "member"}],
        "consents": {"collection": True, "sharing": True, "marketing": {"use": False}},
        "notice_version": "2021-02-22",
    }
