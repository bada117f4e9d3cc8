"""How often one event calls the allocator (for memory, and to give it back) in our own code: no server, no driver.

Memray counts the calls, in a process of its own (`allocated.py`), those for Python's small objects among them. It is
fetched when first asked for. The count is the same on every machine.
"""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

import orjson

from benchmarks import fetched

VERSION: Final = "1.20.0"
WANTED: Final = f"memray=={VERSION}"
TIMEOUT_S: Final = 120
MEANS: Final = {
    "apply": "a record of an affiliate: opened, decrypted, folded, its rows and its receipt",
    "audit": "a record of the log: decoded, canonical, hashed into the tree",
    "sign_up": "a sign-up decided: the fact, three sealed projections, every row",
}


async def measure(events: int) -> dict[str, Any]:
    """Return the allocator's calls of one event on each path. Raises NotInstalledError."""
    folder = await asyncio.to_thread(fetched.library, WANTED, f"memray-{VERSION}")
    command = [sys.executable, "-m", "benchmarks.allocated", str(folder), str(events)]
    done = await asyncio.to_thread(
        subprocess.run, command, check=True, timeout=TIMEOUT_S, stdout=subprocess.PIPE, text=True
    )
    return {
        "name": "allocations",
        "workload": {"events": events},
        "counters": orjson.loads(done.stdout),
        "python": sys.version.split()[0],
        "memray": VERSION,
    }


def table(result: Mapping[str, Any]) -> str:
    """Return the result as a table for people."""
    lines = [f"{'calls of the allocator, one event':<80}{'':>10}"]
    lines += [f"{f'{name}: {MEANS[name]}':<80}{count:>10,.0f}" for name, count in result["counters"].items()]
    told = f"{result['workload']['events']} events on each path; Python {result['python']}, Memray {result['memray']}"
    return "\n".join([*lines, told]) + "\n"
