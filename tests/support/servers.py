"""One Kafka and one PostgreSQL for the whole test run, below a temporary directory; the jars are shared.

The directory is in memory where a file system there has room: a test's databases are copied there five times as fast.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.devstack.provision import Access, create_roles, database_names
from services.devstack.stack import Stack, to_stderr

REPOSITORY = Path(__file__).resolve().parents[2]
JAR_CACHE = REPOSITORY / ".dongui" / "jars"
UNSYNCED = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on"}
"""A killed process loses nothing without fsync; only a machine that loses power does, which no test here is."""

IN_MEMORY = Path("/dev/shm")
ROOM_BYTES = 8 << 30
"""A whole run's servers have been seen to need 0.9 GiB; the long tests' more."""


def _fastest() -> Path | None:
    """Return the file system in memory where there is one like any other and with room; None: the usual place.

    A container's often has 64 MB, and runs no program.
    """
    if not IN_MEMORY.is_dir() or os.statvfs(IN_MEMORY).f_flag & os.ST_NOEXEC:
        return None
    half_of_memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return IN_MEMORY if min(shutil.disk_usage(IN_MEMORY).free, half_of_memory) >= ROOM_BYTES else None


@asynccontextmanager
async def temporary_directory() -> AsyncIterator[Path]:
    """Yield a directory that another account may enter too (PostgreSQL's, when we are root); remove it after."""
    folder = Path(tempfile.mkdtemp(prefix="dongui-test-", dir=_fastest()))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Servers:
    """The running stack and the DSNs of its roles; `bootstrap` is Kafka's address."""

    def __init__(self, stack: Stack, access: Access) -> None:
        self.stack = stack
        self.access = access
        self.kafka = stack.kafka
        self.postgres = stack.postgres
        self.base_dir = stack.base_dir
        self.bootstrap = stack.bootstrap


@asynccontextmanager
async def running_servers() -> AsyncIterator[Servers]:
    """Start both servers, make the roles, stop both at the end."""
    async with temporary_directory() as folder:
        stack = Stack(folder, jar_cache=JAR_CACHE, say=to_stderr, postgres_settings=UNSYNCED)
        await stack.start()
        try:
            access = Access.load(stack.postgres, folder / "secrets" / "databases.json", database_names())
            await create_roles(access, database_names())
            yield Servers(stack, access)
        finally:
            await stack.stop()
