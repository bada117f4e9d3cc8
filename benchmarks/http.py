"""Requests accepted by one process, beside a bare FastAPI that inserts the same rows; argon2id by itself.

Ours is the consent process with all that runs beside its API, but for the cost of a password's hash. The bound parses
the same body and writes the very rows that ours wrote, read back by request, in one statement (and the data key in its
own database): no token, no idempotency, no policy, no sealing. Sign-ups and corrections are measured by turns.
"""

import asyncio
import os
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import asyncpg
import httpx
import orjson

from benchmarks import harness, load, members, same_rows, servers
from benchmarks.accept_server import CHEAP, ROWS_FILE
from benchmarks.harness import Run
from benchmarks.load import Server
from benchmarks.servers import Servers
from services.consent import api
from services.devstack.environment import inherited
from services.devstack.ports import free_ports
from services.devstack.tokens import Issuer
from services.runtime.auth import Authenticator
from services.runtime.clock import utc_now
from services.runtime.passwords import password_hasher
from services.runtime.rates import Rates

COUNTED: Final = 100
READY_S: Final = 30.0
BARE: Final = {"consent": "bare_consent", "keyring": "bare_keyring"}
HASHES: Final = 40
WRAPPED = "SELECT member_ref::text, to_jsonb(k)::text AS row FROM member_key k WHERE member_ref = ANY($1::uuid[])"
BYTES = (
    "SELECT avg(octet_length(payload) + octet_length(headers::text)) FROM outbox WHERE aggregateid = ANY($1::text[])"
)


async def measure(requests: int, runs: int) -> dict[str, Any]:
    """Return both parts with their ratios, what one request costs, and the cost of one argon2id hash."""
    async with servers.running(members.DATABASES) as on:
        await servers.make_topics(on)
        counters = await _counted(on)
        for name, copy in BARE.items():
            await on.database(name, copy)
            await servers.execute(on.admin_dsn(copy), f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{name}"')
        async with _process(on, "ours", {}) as ours, _process(on, "bare", BARE) as bare:
            bench = _Bench(on, ours, bare, requests)
            sign_ups = await harness.compare(bench.signed_up, bench.bare_signed_up, runs=runs)
            corrections = await harness.compare(bench.corrected, bench.bare_corrected, runs=runs)
    hashes = await _argon2id()
    parts = [
        {"name": "http sign-up", "counters": _part(counters, "sign_up_"), **sign_ups},
        {"name": "http correction", "counters": _part(counters, "correction_"), **corrections},
    ]
    common = {"event": "requests", "bound_is": "bare FastAPI and asyncpg, same rows"}
    workload = {"requests": requests, "connections": load.CONNECTIONS}
    return {
        "name": "http",
        "workload": {"counted": COUNTED},
        "counters": counters,
        "parts": [common | {"workload": workload} | part for part in parts],
        "argon2id": hashes,
    }


def _part(counters: dict[str, float], prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in counters.items() if name.startswith(prefix)}


def body(email: str) -> dict[str, Any]:
    """Return a sign-up that shares everything."""
    return {
        "email": email,
        "password": "correct horse battery",
        "name": "성능 시험",
        "profiles": [{"service": "wapl", "role": "member"}],
        "consents": {"collection": True, "sharing": True, "marketing": {"use": False}},
        "notice_version": "2021-02-22",
    }


class _Bench:
    """Both servers; what ours wrote in a run is what the bare one writes in the next."""

    def __init__(self, on: Servers, ours: Server, bare: Server, requests: int) -> None:
        self._on = on
        self._ours = ours
        self._bare = bare
        self._requests = requests
        self._token = {"Authorization": f"Bearer {_token(on)}"}
        self._waiting: list[list[str]] = []

    async def signed_up(self) -> Run:
        """Sign new members up."""
        emails = [f"{uuid.uuid4().hex}@example.kr" for _ in range(self._requests)]
        made = [sign_up(email, self._token | {"Idempotency-Key": str(uuid.uuid4())}) for email in emails]
        before = await self._counts()
        run = await load.run(self._ours, made)
        refs = await self._rows(same_rows.OF_A_SIGN_UP, before, emails)
        self._waiting.append(refs)
        return run

    async def bare_signed_up(self) -> Run:
        emails = [found["of"] for found in map(orjson.loads, self._file().read_bytes().splitlines()[1:])]
        await load.ask(self._bare, load.request("POST", "/load", {}, {}))
        return await load.run(self._bare, [sign_up(email, {}) for email in emails])

    async def corrected(self) -> Run:
        """Give members of one earlier run new names."""
        refs = self._waiting.pop(0)
        told = self._token | {"If-Match": '"1"'}
        run = await load.run(self._ours, [correct(ref, told) for ref in refs])
        await self._rows(same_rows.OF_A_CORRECTION, None, None, refs)
        return run

    async def bare_corrected(self) -> Run:
        refs = [found["of"] for found in map(orjson.loads, self._file().read_bytes().splitlines()[1:])]
        await load.ask(self._bare, load.request("POST", "/load", {}, {}))
        return await load.run(self._bare, [correct(ref, {}) for ref in refs])

    def _file(self) -> Any:
        return _folder(self._on, "bare") / ROWS_FILE

    async def _counts(self) -> dict[str, int]:
        async with _connection(self._on, "consent") as connection:
            return await same_rows.counts(connection)

    async def _rows(
        self,
        owners: same_rows.Owners,
        before: dict[str, int] | None,
        emails: Sequence[str] | None,
        refs: Sequence[str] = (),
    ) -> list[str]:
        """Leave the rows of these members for the bare server; return the members."""
        async with _connection(self._on, "consent") as connection, _connection(self._on, "keyring") as keys:
            named = {str(ref): str(ref) for ref in refs}
            if emails is not None:
                query = "SELECT member_ref::text, email FROM member WHERE email = ANY($1::text[])"
                named = {row["member_ref"]: row["email"] for row in await connection.fetch(query, emails)}
            found = await same_rows.taken(connection, owners, list(named))
            if before is not None:
                same_rows.check(before, await same_rows.counts(connection), found)
            text = await same_rows.statement(connection, owners, in_place=emails is None)
            wrapped = await keys.fetch(WRAPPED, list(named) if emails is not None else [])
        by_ref = {row["member_ref"]: row["row"] for row in wrapped}
        first = {"key": same_rows.MEMBER_KEY, "rows": text}
        rows = (
            {"of": of, "key": by_ref.get(ref), "rows": orjson.dumps(found[ref]).decode()} for ref, of in named.items()
        )
        self._file().write_bytes(b"\n".join(map(orjson.dumps, (first, *rows))))
        return list(named)


def sign_up(email: str, headers: dict[str, str]) -> bytes:
    """Return the request of a new member."""
    return load.request("POST", "/v1/members", body(email), headers)


def correct(ref: str, headers: dict[str, str]) -> bytes:
    """Return the request of a new name."""
    return load.request("PATCH", f"/v1/members/{ref}", {"name": "개명 시험"}, headers)


def _token(on: Servers) -> str:
    settings = members.settings(on)
    key = on.folder / "secrets" / "issuer_key.json"
    return Issuer(key, settings.issuer, settings.audience, utc_now).token("benchmark", "service")


def _folder(on: Servers, which: str) -> Any:
    return on.folder / which


@asynccontextmanager
async def _connection(on: Servers, database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(on.admin_dsn(database))
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _process(on: Servers, which: str, databases: dict[str, str]) -> AsyncIterator[Server]:
    """One of the two servers, ready."""
    settings, port, folder = members.settings(on), free_ports(1)[0], _folder(on, which)
    folder.mkdir()
    variables = {
        "DONGUI_PROFILE": "dev",
        "DONGUI_KAFKA": on.stack.bootstrap,
        "DONGUI_DATA_DIR": str(folder),
        "DONGUI_CONSENT_PORT": str(port),
        "DONGUI_KEK_FILE": str(settings.kek_file),
        "DONGUI_EMAIL_INDEX_KEY_FILE": str(settings.email_index_key_file),
        "DONGUI_JWKS_FILE": str(settings.jwks_file),
        "DONGUI_LOG_LEVEL": "ERROR",
    }
    for name in members.DATABASES:
        variables[f"DONGUI_{name.upper()}_DSN"] = on.access.dsn(name, databases.get(name))
    async with servers.program("benchmarks.accept_server", which, variables=inherited() | variables) as pid:
        server = Server(port, pid)
        await _ready(server)
        yield server


async def _ready(server: Server) -> None:
    async with asyncio.timeout(READY_S):
        while True:
            try:
                return await _asked(server)
            except (OSError, RuntimeError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.1)


async def _asked(server: Server) -> None:
    await load.ask(server, load.request("GET", "/readyz", {}, {}))


async def _counted(on: Servers) -> dict[str, float]:
    """Send some requests to the application alone, without what runs beside it, and return what one cost."""
    settings, token = members.settings(on), _token(on)
    rows = await on.rows(*members.DATABASES)
    async with members.consent(on, hasher=CHEAP) as verbs:
        application = api.create(verbs, Authenticator.from_settings(settings), Rates.from_settings(settings), _always)
        transport = httpx.ASGITransport(application)
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://consent", headers=headers) as client:
            await _sent(client, "warm-up")  # what a first use prepares is not what a request costs
            before = await on.statements(*members.DATABASES)
            refs = [await _sent(client, f"counted-{number}") for number in range(COUNTED)]
            between = await on.statements(*members.DATABASES)
            for ref in refs:
                answer = await client.patch(
                    f"/v1/members/{ref}", json={"name": "개명 시험"}, headers={"If-Match": '"1"'}
                )
                answer.raise_for_status()
            after = await on.statements(*members.DATABASES)
    async with _connection(on, "consent") as connection:
        size = await connection.fetchval(BYTES, refs)
        written = (await on.rows(*members.DATABASES) - rows) / (2 * COUNTED + 1)
    return {
        "sign_up_statements": (between - before) / COUNTED,
        "correction_statements": (after - between) / COUNTED,
        "rows_either": round(written, 2),
        "bytes_a_record": round(float(size), 1),
    }


async def _sent(client: httpx.AsyncClient, name: str) -> str:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    answer = await client.post("/v1/members", json=body(f"{name}@example.kr"), headers=headers)
    answer.raise_for_status()
    return str(answer.json()["member_ref"])


async def _always() -> dict[str, bool]:
    return {}


async def _argon2id() -> dict[str, float]:
    """Return milliseconds for one hash, and hashes a second with as many threads as there are cores."""
    hasher, cores = password_hasher(), os.cpu_count() or 1
    times = []
    for _ in range(HASHES):
        started = time.perf_counter()
        hasher.hash("correct horse battery")
        times.append(1000 * (time.perf_counter() - started))
    loop, started = asyncio.get_running_loop(), time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        one = partial(loop.run_in_executor, pool, hasher.hash, "correct horse battery")
        await asyncio.gather(*(one() for _ in range(HASHES)))
    rate = HASHES / (time.perf_counter() - started)
    return {"ms": round(statistics.median(times), 1), "per_s_all_cores": round(rate, 1)}


def table(result: dict[str, Any]) -> str:
    """Return both parts as tables for people, and the cost of argon2id."""
    hashes = result["argon2id"]
    return (
        "\n".join(harness.table(part) for part in result["parts"])
        + f"\nargon2id, of which a sign-up needs one: {hashes['ms']} ms; {hashes['per_s_all_cores']}/s on all cores\n"
    )
