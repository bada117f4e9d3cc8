"""Do dead third parties slow the living? 10,000 notices to 50 receivers, first all alive, then ten of them dead.

Notices come at a fixed rate (open loop) over the real topic into the real notices process. What is measured is the
time from the broker's acknowledgement of a notice to its arrival at its third party, for the 40 that live in both
runs. Ten dead: no listener, no answer, or 500, of each kind in turn.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from benchmarks import servers, telling, watch
from benchmarks.crowd import Crowd, Sealed, key_service, sealed
from benchmarks.latency import quantiles
from benchmarks.servers import Servers
from benchmarks.telling import DATABASE
from schemas.topics import NOTICES
from services.runtime.clock import utc_now

SETTLE_S = 60.0
WARM_UP_S = 30.0
COUNTS = "SELECT count(*) FILTER (WHERE recipient = ANY($1) AND state = 'acknowledged') FROM notice"
ATTEMPTS = "SELECT count(*) FROM attempt JOIN notice USING (position) WHERE NOT recipient = ANY($1)"


async def measure(notices: int, rate: float, receivers: int, dead: int) -> dict[str, Any]:
    """Run twice on fresh databases; return milliseconds of the living, and the ratio of the two runs."""
    async with servers.running([DATABASE]) as on:
        alive = await _run(on, "a", Crowd.of(receivers, 0), notices, rate, receivers - dead)
        with_dead = await _run(on, "b", Crowd.of(receivers - dead, dead), notices, rate, receivers - dead)
    quiet, loud = alive["to_arrival_ms"], with_dead["to_arrival_ms"]
    ratio = {q: round(loud[q] / quiet[q], 2) for q in quiet}
    given = {"notices": notices, "rate": rate, "receivers": receivers, "dead": dead}
    return {**given, "all_alive": alive, "with_dead": with_dead, "ratio": ratio}


async def _run(on: Servers, run: str, crowd: Crowd, notices: int, rate: float, watched: int) -> dict[str, Any]:
    database, prefix = f"{DATABASE}_{run}", f"{run}-"
    dsn = await on.database(DATABASE, database)
    await telling.make_topics(on, prefix)
    names = list(crowd.ports)
    living = names[:watched]
    made = sealed((names[i % len(names)] for i in range(notices)), utc_now())
    async with crowd.listening(), key_service() as keys:
        process = telling.process(on, crowd, keys=keys, prefix=prefix, database=database)
        async with watch.running({DATABASE: process}):
            await _warm_up(on.stack.bootstrap, prefix, crowd)
            published = await telling.publish(on.stack.bootstrap, prefix + NOTICES, made, rate)
            acknowledged, attempts = await _settled(dsn, living, sum(m.notice.recipient in living for m in made))
    return _figures(crowd, made, published, living) | {"acknowledged": acknowledged, "attempts_to_dead": attempts}


async def _warm_up(bootstrap: str, prefix: str, crowd: Crowd) -> None:
    """Wait until the process tells a first notice."""
    first = crowd.living()[0]
    await telling.publish(bootstrap, prefix + NOTICES, sealed([first], utc_now()))
    async with asyncio.timeout(WARM_UP_S):
        while not crowd.arrivals[first]:
            await asyncio.sleep(0.05)


async def _settled(dsn: str, living: list[str], owed: int) -> tuple[int, int]:
    """Wait until the living have answered everything, or long enough; return answered, and attempts at the others."""
    deadline = asyncio.get_running_loop().time() + SETTLE_S
    async with servers.connected(dsn) as connection:
        while (answered := await connection.fetchval(COUNTS, living)) < owed:
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.5)
        return answered, await connection.fetchval(ATTEMPTS, living)


def _figures(crowd: Crowd, made: Sequence[Sealed], published: dict[str, float], living: list[str]) -> dict[str, Any]:
    arrived = {n: times for name in living for n, times in crowd.arrivals[name].items() if n in published}
    owed = [m.notice.notice_id for m in made if m.notice.recipient in living]
    waits = [1000 * max(0.0, arrived[n][0] - published[n]) for n in owed if n in arrived]
    return {
        "to_the_living": len(owed),
        "lost": len(owed) - len(waits),
        "duplicates": sum(len(times) - 1 for times in arrived.values()),
        "to_arrival_ms": quantiles(waits),
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as a table for people."""
    rows = (("all alive", result["all_alive"]), (f"{result['dead']} dead", result["with_dead"]))
    columns = ("answered", "lost", "duplicates", "at the others")
    lines = [f"{'milliseconds, 40 that live':<28}{'p50':>9}{'p99':>9}{'max':>9}" + "".join(f"{c:>15}" for c in columns)]
    lines[0] = lines[0].replace("40 that live", f"{result['receivers'] - result['dead']} that live")
    for name, found in rows:
        ms = found["to_arrival_ms"]
        counts = (found["acknowledged"], found["lost"], found["duplicates"], found["attempts_to_dead"])
        lines.append(
            f"{name:<28}{ms['p50']:>9}{ms['p99']:>9}{ms['max']:>9}" + "".join(f"{count:>15}" for count in counts)
        )
    ratio = result["ratio"]
    lines.append(f"{'ratio':<28}{ratio['p50']:>9}{ratio['p99']:>9}{ratio['max']:>9}")
    lines.append(f"{result['notices']} notices at {result['rate']:g}/s to {result['receivers']} receivers, twice")
    return "\n".join(lines) + "\n"
