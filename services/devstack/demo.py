"""`make demo`: starts the whole system, imports a member base, walks one member through its life, and proves it.

Exits 0 when every store, the third party and the log were as promised, 1 when anything was not. A system that
already runs on the data directory is used and left running; so is the demo's own with `--keep`.
"""

import argparse
import asyncio
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from services.devstack import population, proofs, show, supervisor
from services.devstack.errors import DevstackError
from services.devstack.population import Expected
from services.devstack.ports import first_free_base
from services.devstack.stack import to_stderr
from services.devstack.state import State
from services.devstack.story import Story
from services.devstack.supervisor import PORT_BASE, Options
from services.devstack.world import BrokenPromiseError, World, opened

MEMBERS = 2000
CONVERGE_TIMEOUT_S = 120.0
EXIT_BROKEN = 1
HELD = """
SELECT (SELECT count(*) FROM member WHERE email LIKE '%@' || $1),
       (SELECT count(*) FROM processed_member WHERE items ->> 'email' LIKE '%@' || $1)
"""


def main() -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--keep", action="store_true", help="leave the system running")
    parser.add_argument("--data-dir", type=Path, default=Path(".dongui"))
    parser.add_argument("--members", type=int, default=MEMBERS)
    chosen = parser.parse_args()
    out = show.console()
    try:
        with _system(chosen.data_dir.absolute(), keep=chosen.keep, out=out) as described:
            asyncio.run(_demo(described, out, chosen.members))
    except (BrokenPromiseError, DevstackError) as error:
        to_stderr(f"\nNot as promised: {error}" if isinstance(error, BrokenPromiseError) else str(error))
        return EXIT_BROKEN
    except KeyboardInterrupt:
        return 130
    return 0


@contextmanager
def _system(data_dir: Path, *, keep: bool, out: Console) -> Iterator[dict[str, Any]]:
    """Yield the running system of the directory, started when there is none; stop it after when it is ours."""
    state = State(data_dir)
    began = time.monotonic()
    ours = state.supervisor() is None
    described = _start(data_dir) if ours else state.described()
    took = f" ({time.monotonic() - began:.1f} s)" if ours else ""
    propagators = len(described["databases"]["affiliates"])
    out.print(
        f"The system is up{took}: Kafka, PostgreSQL, consent, audit, {propagators} propagators, notices, console."
    )
    finished = False
    try:
        yield described
        finished = True
    finally:
        if ours and not (keep and finished):
            state.down()
    if keep or not ours:
        out.print(f"\nStill running. Console: {described['console_url']}   End it: {_dongui(data_dir)} dev down")
        show.sign_in(out, described["console_accounts"], f"{_dongui(data_dir)} dev code KEY")


def _dongui(data_dir: Path) -> str:
    option = "" if data_dir == Path(".dongui").absolute() else f" --data-dir {data_dir}"
    return f".venv/bin/dongui{option}"


def _start(data_dir: Path) -> dict[str, Any]:
    return supervisor.detach(Options(data_dir, first_free_base(PORT_BASE)), to_stderr)


async def _demo(described: dict[str, Any], out: Console, members: int) -> None:
    async with opened(described) as world:
        if members:
            await _timed(out, lambda: _import(world, out, members))
        story = Story(world, out)
        await _timed(out, story.tell)
        await _prove(world, story, out)
        show.stores(out, "What the stores hold of this member in the end", story.seen)


async def _timed(out: Console, work: Callable[[], Any]) -> None:
    began = time.monotonic()
    await work()
    out.print(f"({time.monotonic() - began:.1f} s)", style="dim")


async def _import(world: World, out: Console, members: int) -> None:
    """Take in an existing member base by `dongui member import` and wait until every store holds its part."""
    show.heading(out, f"0. An existing member base of {members:,} people", "dongui member import, then every store.")
    domain = f"{secrets.token_hex(3)}.demo.example.com"
    folder = Path(world.described["data_dir"]) / "demo"
    folder.mkdir(exist_ok=True)
    expected = population.write(folder / "members.ndjson", members, domain, seed=secrets.randbelow(2**32))
    command = [
        "-m",
        "services.cli",
        "--data-dir",
        str(folder.parent),
        "member",
        "import",
        str(folder / "members.ndjson"),
    ]
    done = await asyncio.to_thread(subprocess.run, [sys.executable, *command], check=False)
    if done.returncode != 0:
        raise BrokenPromiseError(f"dongui member import ended with status {done.returncode}")
    await world.until(lambda: _converged(world, domain, expected), "the stores did not converge", CONVERGE_TIMEOUT_S)
    for affiliate in world.pools:
        held = f"{expected.members[affiliate]:>6,} members shared, {expected.processed[affiliate]:>5,} processed"
        out.print(f"  {affiliate:<11} {held}")


async def _converged(world: World, domain: str, expected: Expected) -> bool:
    """Say whether every store holds exactly the rows that the consents of this population allow."""
    behind = (await world.ask("GET", "/v1/status")).json()["recipients"]
    if behind:
        return False
    for affiliate, pool in world.pools.items():
        held = await pool.fetchrow(HELD, domain)
        found, wanted = tuple(held or ()), (expected.members[affiliate], expected.processed[affiliate])
        if found != wanted:
            raise BrokenPromiseError(f"{affiliate} holds {found} rows as recipient and processor, not {wanted}")
    return True


async def _prove(world: World, story: Story, out: Console) -> None:
    data_dir = Path(world.described["data_dir"])
    show.heading(
        out,
        "7. The proof of each change, verified offline (증명)",
        "Each proof is a file: the entry, its path to the root, a signed checkpoint. No network, no database.",
    )
    files = await proofs.exported(world, story.changes, data_dir / "demo" / f"proofs-{story.tag}")
    proven = proofs.verified(files, data_dir / "audit.vkey")
    show.proofs(out, proven, story.names)
    again = f"{_dongui(data_dir)} audit verify {proven[0].file}"
    out.print(f"Again by yourself:\n  {again}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
