"""Ports on loopback: chosen below the range the system hands out, or named and explained when taken."""

import atexit
import errno
import random
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from services.devstack.errors import DevstackError, PortTakenError

HOST = "127.0.0.1"
LOWEST, HIGHEST = 20_000, 30_000
"""Below Linux' ephemeral range: a port that is free while its server restarts is not taken by a client."""
PORTS_PER_CLAIM = 500
PORTS_PER_BASE = 100
LISTENING = "0A"


def is_free(port: int) -> bool:
    """Say whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def free_ports(count: int) -> list[int]:
    """Return `count` different free ports, none of which any process of ours was given before."""
    found = [port for _, port in zip(range(count), filter(is_free, _ours), strict=False)]
    if len(found) < count:
        raise DevstackError("no free ports between 20000 and 30000; stop something and try again")
    return found


def _claimed() -> Iterator[int]:
    """Yield the ports of one claim after the other, each once.

    A port is chosen seconds before its server listens, and two test runs beside each other choose at once: so a claim
    is held against other processes, by its first port, until this one ends.
    """
    claims = list(range(LOWEST, HIGHEST, PORTS_PER_CLAIM))
    for first in random.SystemRandom().sample(claims, len(claims)):
        held = socket.socket()
        try:
            held.bind((HOST, first))
        except OSError:
            held.close()
            continue
        atexit.register(held.close)  # and keeps it until then
        yield from range(first + 1, first + PORTS_PER_CLAIM)


_ours = _claimed()


def free_base() -> int:
    """Return the first of 100 ports in a row of which the same is true."""
    while True:
        row = free_ports(PORTS_PER_BASE)
        if row[-1] - row[0] == PORTS_PER_BASE - 1:
            return row[0]


def first_free_base(preferred: int) -> int:
    """Return the first base, in steps of 100 from `preferred`, of whose 100 ports none is taken."""
    for base in range(preferred, HIGHEST, 100):
        if all(is_free(port) for port in range(base, base + PORTS_PER_BASE)):
            return base
    raise DevstackError(f"no 100 free ports in a row between {preferred} and {HIGHEST}")


def require_free(wanted: Iterable[tuple[str, int]]) -> None:
    """Raise PortTakenError for the first taken one of `(what for, port)`, naming who may hold it."""
    for purpose, port in wanted:
        if not is_free(port):
            raise PortTakenError(
                f"port {port} (for {purpose}) is taken{_told(port)}. Stop that program, "
                f"or choose other ports: dongui dev up --port-base {port + 1000 - port % 100}"
            )


def _told(port: int) -> str:
    holder = holder_of(port)
    return f" by {holder}" if holder else ""


def holder_of(port: int) -> str | None:
    """Return `program (pid n)` of who listens on a port, as far as /proc lets us see it."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening(Path("/proc/net") / table, port)}
    wanted = {f"socket:[{inode}]" for inode in inodes}
    if not wanted:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) in wanted for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue
    return None


def _listening(table: Path, port: int) -> list[str]:
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [r[9] for r in rows if r[3] == LISTENING and int(r[1].rpartition(":")[2], 16) == port]
