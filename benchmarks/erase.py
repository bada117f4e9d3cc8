"""How fast members are destroyed, and how long until nothing of them is left anywhere, on a whole system.

Everybody has left and is destroyed by name (no day's wait): timed from the first order to the last key's shred, behind
every store. The bound is `erase_bound`, on the same servers and in turn with ours; our processes idle beside it. After
the runs a smaller batch is destroyed while processes are killed. Before and after, PostgreSQL is purged and every place
is searched for the members' values. What one destruction costs is counted by the consent process's verbs alone, with
the answers of the others written into its database: what runs beside them asks again and again.
"""

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

from benchmarks import harness, members, servers, stages
from benchmarks.erase_bound import Bound
from benchmarks.harness import Run
from benchmarks.leavers import RECORD, Leavers
from benchmarks.servers import Servers
from services.commands.purge import purge
from services.commands.scan_forms import Finder
from services.commands.scan_places import Report, search
from services.consent import handlers, statutory
from services.consent.erasure import handlers as erasure
from services.consent.erasure import saga
from services.consent.handlers import Caller, Consent
from services.consent.statutory import RecordBody
from services.devstack.environment import ALL
from services.devstack.system import System
from services.runtime.settings import Settings

KILLED: Final = ("consent", "propagator-tmax-os", "retention")
KILLED_MEMBERS: Final = 12
COUNTED: Final = 50
ANSWERED: Final = (
    "UPDATE delivery SET stage = 'applied' WHERE stage = 'accepted'",
    "UPDATE statutory_record SET stage = 'retained', sealed = NULL WHERE stage IS DISTINCT FROM 'retained'",
)
REFS: Final = "SELECT member_ref::text FROM member ORDER BY 1"


async def measure(members: int, runs: int) -> dict[str, Any]:
    """Return both rates, their ratio, what one member costs; kills, places, hits, and how long until all was gone."""
    counters = await _counted()
    async with servers.system() as system, _leavers(system) as leavers, Bound.running(system.stack) as bound:
        before = await _searched(leavers)
        bench = _Bench(leavers, bound, members)
        figures = await harness.compare(bench.erased, bench.bare, runs=runs)
        gone_s, first = await bench.gone()
        kills = await bench.under_kills()
        last = await _purged(leavers)
    return {
        "name": "erase",
        "event": "members",
        "bound_is": "bare produce, consume, COMMIT, shred",
        "workload": {"members": members},
        "counters": counters,
        **figures,
        **kills,
        "places": last.places,
        "hits": sum(map(_hits, (before, first, last))),
        "confirmed_to_last_trace_gone_s": gone_s,
    }


class _Bench:
    """One system and its bound; `members` more have left before each run of ours."""

    def __init__(self, leavers: Leavers, bound: Bound, members: int) -> None:
        self._leavers = leavers
        self._bound = bound
        self._members = members
        self._numbers = itertools.count()

    async def erased(self) -> Run:
        refs = await self._leavers.left(self._next(self._members))
        await self._leavers.settled()
        before = self._cpu_s()
        seconds = await self._leavers.erased(refs)
        return Run(len(refs), seconds, self._cpu_s() - before)

    async def bare(self) -> Run:
        return await self._bound.erased(self._members)

    async def gone(self) -> tuple[float, Report]:
        """Return seconds from the last confirmed withdrawal of a batch to the last trace gone, and the search."""
        refs = await self._leavers.left(self._next(self._members))
        confirmed = time.monotonic()
        await self._leavers.erased(refs)
        report = await _purged(self._leavers)
        return round(time.monotonic() - confirmed, 1), report

    async def under_kills(self) -> dict[str, int]:
        """Destroy a smaller batch while one process after the other is killed; all must end erased."""
        refs = await self._leavers.left(self._next(KILLED_MEMBERS))
        ordering = asyncio.create_task(self._leavers.ordered(refs))
        system = self._leavers.system
        for name in KILLED:
            await asyncio.sleep(0.5)
            system.kill(name)
            system.start_process(name)
            await system.wait_ready(name)
        await ordering
        await self._leavers.gone(refs)
        return {"kills": len(KILLED), "kills_survived": len(KILLED)}

    def _next(self, count: int) -> list[int]:
        return list(itertools.islice(self._numbers, count))

    def _cpu_s(self) -> float:
        """Return the processor seconds of our processes so far, without Kafka's and PostgreSQL's."""
        spent = stages.processors(self._leavers.system, ALL)
        return sum(spent[name] for name in ALL) / 1000


@asynccontextmanager
async def _leavers(system: System) -> AsyncIterator[Leavers]:
    described = system.described()
    headers = {"Authorization": f"Bearer {described['tokens']['service']}"}
    limits = httpx.Limits(max_connections=20, keepalive_expiry=2.0)
    url = described["consent_url"]
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=30) as client:
        yield Leavers(system, client, f"zq{secrets.token_hex(8)}")


async def _counted() -> dict[str, float]:
    """Destroy some members by the consent process's verbs alone; return what one cost."""
    async with servers.running(members.DATABASES, kafka=False) as on:
        await members.sign_up(on, 2 * COUNTED)
        refs = [row["member_ref"] for row in await servers.fetch(on.admin_dsn("consent"), REFS)]
        await _destroyed(on, refs[:COUNTED])  # what a first use prepares is not what a member costs
        statements, rows = await _destroyed(on, refs[COUNTED:])
    return {"statements": round(statements / COUNTED, 2), "rows": round(rows / COUNTED, 2)}


async def _destroyed(on: Servers, refs: list[str]) -> tuple[int, int]:
    """Let these leave and be destroyed; return statements and rows of the destruction."""
    async with members.consent(on) as consent:
        for ref in refs:
            await _leave(consent, ref)
    statements, rows = await on.statements(*members.DATABASES), await on.rows(*members.DATABASES)
    async with members.consent(on) as consent:
        for ref in refs:
            await erasure.execute(erasure.Command(consent, ref, "benchmark", None))
        await saga.look(consent)
        answered = [await _executed(on, statement) for statement in ANSWERED]
        while await saga.look(consent):
            pass
    written = await on.rows(*members.DATABASES) - rows - sum(answered)
    return await on.statements(*members.DATABASES) - statements, written


async def _leave(consent: Consent, ref: str) -> None:
    caller = Caller("benchmark", "service")
    record = RecordBody.model_validate({**RECORD, "fields": {"order_no": "20260105-1"}})
    await statutory.take(consent, ref, record, caller, None)
    await handlers.request_withdrawal(consent, ref, caller, None)
    await handlers.confirm_withdrawal(consent, ref, caller, None)


async def _executed(on: Servers, statement: str) -> int:
    """Run a statement as superuser; return how many rows it wrote."""
    async with servers.connected(on.admin_dsn("consent")) as connection:
        return int((await connection.execute(statement)).rpartition(" ")[2])


async def _purged(leavers: Leavers) -> Report:
    """Purge PostgreSQL, then search every place."""
    await purge(_settings(leavers.system))
    return await _searched(leavers)


async def _searched(leavers: Leavers) -> Report:
    system = leavers.system
    return await search(_settings(system), Finder([leavers.marker]), [f"{system.url('notices')}/metrics"])


def _hits(report: Report) -> int:
    return sum(report.hits.values()) + sum(report.residue.values())


def _settings(system: System) -> Settings:
    told = system.described()
    return Settings(
        profile="dev",
        data_dir=system.base_dir,
        kafka=told["kafka"],
        consent_url=told["consent_url"],
        audit_url=told["audit_url"],
        retention_url=told["retention_url"],
        owner_dsns=system.installation.owner_dsns(),
    )


def table(result: dict[str, Any]) -> str:
    """Return the result as a table for people."""
    lines = [
        f"{result['kills_survived']} of {result['kills']} kills survived",
        f"{result['places']} places searched after the purge: {result['hits']} hits",
        f"withdrawals confirmed to last trace gone (purged, searched): {result['confirmed_to_last_trace_gone_s']} s",
    ]
    return harness.table(result) + "\n".join(lines) + "\n"
