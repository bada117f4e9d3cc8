"""The two servers of `http`, each a process of its own: ours as it runs, and the bare path that writes the same rows.

`python -m benchmarks.accept_server ours | bare`, settings as the consent process takes them. Ours hashes passwords at
next to no cost: argon2id would be all that is seen, and is measured apart. Bare is FastAPI that parses the same body
with one small model and, in one statement, inserts the rows that ours wrote for it.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import asyncpg
import orjson
import uvloop
from argon2 import PasswordHasher
from fastapi import FastAPI
from pydantic import BaseModel

from services.consent import app
from services.runtime import serving
from services.runtime.settings import Settings
from services.runtime.start import begin

CHEAP: Final = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ROWS_FILE: Final = "bare_rows.jsonl"
POOL_SIZE: Final = 16


async def ours(settings: Settings) -> None:
    """Serve as the consent process does, relay and followers and all."""
    async with app.build(settings) as (consent, relay):
        cheap = replace(consent, hasher=CHEAP)
        await serving.serve(app.server_config(settings, cheap), partial(app.works, settings, cheap, relay))


class SignUp(BaseModel):
    """What is sent, as somebody in a hurry would parse it."""

    email: str
    password: str
    name: str
    profiles: list[dict[str, Any]]
    consents: dict[str, Any]
    notice_version: str


class Correction(BaseModel):
    """The same for PATCH."""

    name: str


@dataclass
class Bare:
    """Rows by whom they are of (e-mail at sign-up, reference at a correction), and the statements that write them."""

    folder: Path
    pool: asyncpg.Pool
    keys: asyncpg.Pool
    statements: dict[str, str] = field(default_factory=dict)
    rows: dict[str, dict[str, str]] = field(default_factory=dict)

    def load(self) -> None:
        """Read what `http` left: first the statements, then the rows of each request."""
        first, *lines = (self.folder / ROWS_FILE).read_bytes().splitlines()
        self.statements = orjson.loads(first)
        self.rows = {found["of"]: found for found in map(orjson.loads, lines)}

    async def write(self, of: str) -> None:
        found = self.rows.pop(of)
        if found["key"]:
            await self.keys.execute(self.statements["key"], found["key"])
        await self.pool.execute(self.statements["rows"], found["rows"])


@asynccontextmanager
async def _bare(settings: Settings) -> AsyncIterator[Bare]:
    pool = await asyncpg.create_pool(settings.secret("consent_dsn"), min_size=1, max_size=POOL_SIZE)
    keys = await asyncpg.create_pool(settings.secret("keyring_dsn"), min_size=1, max_size=POOL_SIZE)
    async with pool, keys:
        yield Bare(settings.data_dir, pool, keys)


def _application(bare: Bare) -> FastAPI:
    made = FastAPI(openapi_url=None)

    @made.get("/readyz")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    @made.post("/load")
    async def load() -> dict[str, int]:
        bare.load()
        return {"rows": len(bare.rows)}

    @made.post("/v1/members", status_code=201)
    async def sign_up(body: SignUp) -> dict[str, int]:
        await bare.write(body.email)
        return {"seq": 1}

    @made.patch("/v1/members/{ref}")
    async def correct(ref: str, body: Correction) -> dict[str, int]:
        assert body.name
        await bare.write(ref)
        return {"seq": 2}

    return made


async def bare(settings: Settings) -> None:
    """Serve the bare path."""
    async with _bare(settings) as parts:
        config = serving.config(_application(parts), "127.0.0.1", settings.consent_port, concurrency=512, proxies=())
        await serving.serve(config, lambda _: [])


if __name__ == "__main__":
    uvloop.run({"ours": ours, "bare": bare}[sys.argv[1]](begin("benchmark")))
