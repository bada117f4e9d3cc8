"""A consent process and a retention process side by side in the test's loop, on real Kafka and PostgreSQL."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import orjson
import uvicorn
from pydantic import SecretStr

from schemas.receipts import REGISTER_TYPE
from services.consent import retained
from services.consent.erasure import store as erasure
from services.keyring import kek
from services.retention import app as composition
from services.retention.app import Parts
from services.runtime.settings import Settings
from tests.integration.consent.harness import Service, a_token, bearer
from tests.support.databases import Databases
from tests.support.kept import KEPT

OCCURRED = "2026-10-01T10:00:00+09:00"


@dataclass
class Pair:
    """Both processes, and what tests do with them."""

    service: Service
    parts: Parts
    http: httpx.AsyncClient
    databases: Databases

    async def member_with(self, *records: dict[str, Any], **changes: Any) -> tuple[str, list[str]]:
        """Sign somebody up who has these records; return the reference and the records' ids."""
        ref = str((await self.service.sign_up(**changes))["member_ref"])
        return ref, [await self.record(ref, **one) for one in records]

    async def record(self, ref: str, **changes: Any) -> str:
        body = {"class": "payment", "occurred_at": OCCURRED, "fields": {"amount": 12000}} | changes
        answer = await self.service.post(f"/v1/members/{ref}/records", body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["record_id"])

    async def leave(self, ref: str) -> None:
        for step in ("withdrawal", "withdrawal/confirm"):
            answer = await self.service.post(f"/v1/members/{ref}/{step}")
            assert answer.is_success, answer.text

    async def hand_over(self, ref: str) -> int:
        async with self.service.pool.acquire() as connection, connection.transaction():
            found = await retained.hand_over(self.service.consent, connection, ref)
        self.service.consent.nudge()
        return found

    async def stages(self, ref: str) -> list[str | None]:
        """Return the stages of the member's records in consent, once all are answered."""
        async with asyncio.timeout(30):
            while True:
                rows = await self.service.pool.fetch(
                    "SELECT stage FROM statutory_record WHERE member_ref = $1 ORDER BY created_at", ref
                )
                if all(row["stage"] for row in rows):
                    return [row["stage"] for row in rows]
                await asyncio.sleep(0.05)

    async def moved(self, ref: str) -> None:
        """Let somebody leave with all records in the retention database."""
        await self.leave(ref)
        await self.hand_over(ref)
        assert set(await self.stages(ref)) == {"retained"}

    async def erase(self, ref: str) -> None:
        """Do what the end of a destruction does here: the key goes, and every value."""
        await self.service.consent.keyring.shred(ref)
        async with self.service.pool.acquire() as connection, connection.transaction():
            await erasure.wipe(connection, [ref], self.service.consent.clock())

    async def read(self, ref: str, *, reason: str = "case-7", roles: tuple[str, ...] = ("compliance",)) -> Any:
        params = {"member_ref": ref, "reason": reason}
        return await self.http.get("/v1/retention/records", params=params, headers=bearer(a_token("officer-1", *roles)))

    async def owner(self, name: str) -> asyncpg.Connection:
        """Return a connection of a database's owner, for the caller to close."""
        return await asyncpg.connect(self.databases.owner_dsn(name))

    async def entries(self, kind: str) -> list[dict[str, Any]]:
        """Return the register entries of a kind that the retention process made."""
        rows = await self.parts.vault.pool.fetch(
            "SELECT payload FROM outbox WHERE type = $1 ORDER BY position", REGISTER_TYPE
        )
        found = [orjson.loads(row["payload"]) for row in rows]
        return [one for one in found if one.get("kind") == kind]


def settings_beside(service: Service, port: int) -> Settings:
    folder = service.settings.data_dir
    kek.generate(folder / "retention_kek")
    (folder / "retention_index").write_bytes(os.urandom(32))
    return Settings(
        profile="dev",
        kafka=service.settings.kafka,
        topic_prefix=service.settings.topic_prefix,
        retention_dsn=SecretStr(service.databases.dsn("retention")),
        retention_kek_file=folder / "retention_kek",
        retention_index_key_file=folder / "retention_index",
        retention_token=SecretStr(a_token("retention", "retention")),
        retention_port=port,
        consent_url=service.url,
        jwks_file=service.settings.jwks_file,
        data_dir=folder,
        rate_per_s=service.settings.rate_per_s,
    )


async def beside(service: Service, settings: Settings) -> AsyncIterator[Pair]:
    async with composition.build(settings) as parts:
        stop = asyncio.Event()
        server = uvicorn.Server(composition.server_config(parts))
        tasks = [asyncio.create_task(server._serve())]
        tasks += [asyncio.create_task(work) for work in composition.works(parts, stop)]
        while not server.started:
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{settings.retention_port}"
        async with httpx.AsyncClient(base_url=url, limits=KEPT, timeout=30) as http:
            yield Pair(service, parts, http, service.databases)
        stop.set()
        server.should_exit = True
        await asyncio.wait_for(asyncio.gather(*tasks), 20)
