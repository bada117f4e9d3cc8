"""Quix Streams' PostgreSQL sink as a side of `peers`: installed when asked for, one process per affiliate.

Its environment is below .dongui/peers, apart from ours: nothing of it is in our dependencies or their lock.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks import fetched, watch
from benchmarks.peer import Peer, topic_of
from benchmarks.servers import Servers
from benchmarks.watch import Process

VERSION = "3.28.1"
WANTED = f"quixstreams[postgresql]=={VERSION}"
PROGRAM = Path(__file__).with_name("quix_sink.py")


class Quix:
    """Three processes of it, each a topic into a database."""

    name = "quix"
    is_called = f"Quix Streams {VERSION}, PostgreSQL sink"

    def __init__(self, python: Path) -> None:
        self._python = python

    @asynccontextmanager
    async def applying(self, on: Servers, databases: Mapping[str, str]) -> AsyncIterator[list[int]]:
        """Apply every affiliate's topic to the database named; yield the process ids."""
        asked = {a: self._process(on, a, name) for a, name in databases.items()}
        async with watch.running(asked) as pids:
            yield pids

    def _process(self, on: Servers, affiliate: str, database: str) -> Process:
        # -P: beside the program are modules of ours with the names of others
        arguments = ["-P", str(PROGRAM), on.stack.bootstrap, topic_of(affiliate), database, on.admin_dsn(database)]
        return Process(arguments, {}, str(self._python))


@asynccontextmanager
async def ready(_on: Servers) -> AsyncIterator[Peer]:
    """Install it if it is not there. Raises NotInstalledError."""
    yield Quix(await asyncio.to_thread(fetched.environment, WANTED, f"quixstreams-{VERSION}"))
