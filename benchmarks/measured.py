"""What every benchmark needs around it: real servers of its own, on which data is synced as in production."""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.latency import JARS
from services.devstack.stack import Stack, to_stderr


@asynccontextmanager
async def servers() -> AsyncIterator[Stack]:
    """Yield a running Kafka and PostgreSQL below a temporary directory; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="dongui-bench-") as folder:
        Path(folder).chmod(0o755)
        stack = Stack(Path(folder), jar_cache=JARS, say=to_stderr)
        await stack.start()
        try:
            yield stack
        finally:
            await stack.stop()


def cpu_s(pid: int) -> float:
    """CPU seconds of one process so far: what the work costs, however busy the machine is."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
