"""The APIs of the product in the test's loop, on real PostgreSQL and Kafka, for attacks over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from pydantic import SecretStr

from services.audit import agents
from services.audit import app as audit
from services.devstack.ports import free_ports
from services.runtime.settings import Settings
from tests.integration.consent.harness import Service, a_token, running, settings_in
from tests.integration.retention.harness import Pair, beside, settings_beside
from tests.support.databases import Databases
from tests.support.kept import KEPT

PER_S = 5000.0
"""Requests a second of one stranger: at the default he would soon meet nothing but 429."""
ROLES = (
    *("service", "compliance", "cpo", "sre", "auditor", "affiliate", "affiliate_desk", "third_party", "notices"),
    "rights_reader",
)


@dataclass(frozen=True)
class Apis:
    """Base URLs by name, and the processes behind them."""

    pair: Pair
    audit: audit.Parts
    urls: dict[str, str]
    http: httpx.AsyncClient
    """One client for all that sends no headers of its own: to make one costs more than to ask a hundred times."""

    @property
    def service(self) -> Service:
        return self.pair.service


@contextlib.asynccontextmanager
async def serving(config: uvicorn.Config) -> AsyncIterator[str]:
    """Serve in this loop; yield the base URL."""
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, 20)


def audit_settings(service: Service, port: int) -> Settings:
    """Settings of an audit process beside a consent process."""
    folder = service.settings.data_dir
    (folder / "audit.key").write_bytes(bytes(range(32)))
    return Settings(
        profile="dev",
        kafka=service.settings.kafka,
        topic_prefix=service.settings.topic_prefix,
        audit_dsn=SecretStr(service.databases.dsn("audit")),
        audit_signing_key_file=folder / "audit.key",
        audit_port=port,
        jwks_file=service.settings.jwks_file,
        data_dir=folder / "audit",
        checkpoint_interval_s=0.1,
        rate_per_s=service.settings.rate_per_s,
    )


@contextlib.asynccontextmanager
async def auditing(service: Service, port: int) -> AsyncIterator[tuple[audit.Parts, str]]:
    """An audit process with its writer."""
    async with audit.build(audit_settings(service, port)) as parts, serving(audit.server_config(parts)) as url:
        stop = asyncio.Event()
        writing = asyncio.create_task(agents.write(parts, stop))
        try:
            yield parts, url
        finally:
            stop.set()
            await asyncio.wait_for(writing, 20)


@contextlib.asynccontextmanager
async def all_running(folder: Path, stack: Any, databases: Databases, prefix: str) -> AsyncIterator[Apis]:
    """Consent with relay and receipts, retention with its works, audit with its writer."""
    port, audit_port = free_ports(2)
    (folder / "certificate.key").write_bytes(bytes(range(32)))
    reader = {
        "retention_url": f"http://127.0.0.1:{port}",
        "rights_reader_token": SecretStr(a_token("consent", "rights_reader")),
        "audit_url": f"http://127.0.0.1:{audit_port}",
        "audit_token": SecretStr(a_token("consent", "service")),
        "certificate_signing_key_file": folder / "certificate.key",
        "rate_per_s": PER_S,
    }
    settings = settings_in(folder, stack, databases, prefix).model_copy(update=reader)
    async with running(settings, databases) as service, auditing(service, audit_port) as (parts, audit_url):
        async for pair in beside(service, settings_beside(service, port)):
            urls = {"consent": service.url, "audit": audit_url, "retention": settings.retention_url or ""}
            async with httpx.AsyncClient(limits=KEPT, timeout=30) as http:
                yield Apis(pair, parts, urls, http)
