"""A real PostgreSQL 18 from the wheel's own programs: loopback TCP and a unix socket, passwords everywhere.

The postmaster is our child (no pg_ctl in between), so it ends with us; `kill -9` leaves a stale
`postmaster.pid`, which fails a start once and is retried.
"""

import asyncio
import hashlib
import os
import secrets
import signal
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

import asyncpg

from services.devstack import account
from services.devstack.child import Program, spawn, stop, tail
from services.devstack.errors import DevstackError
from services.devstack.ports import HOST, require_free

ADMIN = "postgres"
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
START_ATTEMPTS_MAX = 5
RETRY_S = 0.5
POLL_S = 0.03
SOCKET_PATH_MAX = 90
NOT_YET = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    TimeoutError,
)
SETTINGS = {
    "listen_addresses": HOST,
    "max_connections": "300",
    "shared_buffers": "128MB",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "wal_recycle": "off",  # a recycled segment keeps what was erased until it is overwritten
    "archive_timeout": "300",  # a segment that is not full ends too, so that a checkpoint removes it (docs/keys.md)
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
    "log_min_messages": "warning",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",  # a failing statement may carry a member's values
    "log_parameter_max_length_on_error": "0",
}


class Postgres:
    """PostgreSQL below `base_dir`; `dsn(...)` names any database and role over loopback TCP."""

    def __init__(self, base_dir: Path, port: int, *, settings: dict[str, str] | None = None) -> None:
        self._base = base_dir
        self._settings = SETTINGS | (settings or {})
        self._child: subprocess.Popen[bytes] | None = None
        self._log = base_dir / "log" / "postgres.log"
        self.port = port

    @property
    def admin_dsn(self) -> str:
        """DSN of the superuser on the database `postgres`."""
        return self.dsn("postgres", ADMIN, self._password_file().read_text().strip())

    def dsn(self, database: str, role: str, password: str) -> str:
        """Return a libpq URL over loopback TCP."""
        return f"postgresql://{quote(role)}:{quote(password)}@{HOST}:{self.port}/{quote(database)}"

    async def start(self) -> None:
        """Initialise once, start, and wait until it answers a query. Raises PortTakenError or DevstackError."""
        home = await asyncio.to_thread(account.choose, self._base)
        require_free([("PostgreSQL", self.port)])
        await asyncio.to_thread(self._initialise, home)
        for attempt in range(1, START_ATTEMPTS_MAX + 1):
            self._child = self._spawn(home)
            if await self._ready():
                return
            if attempt < START_ATTEMPTS_MAX:
                await asyncio.sleep(RETRY_S)
        raise DevstackError(f"PostgreSQL ended while starting; see {self._log}\n{tail(self._log)}")

    async def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it (SIGINT is PostgreSQL's fast shutdown); SIGKILL after 10 s. Harmless when not started."""
        child, self._child = self._child, None
        if child:
            await stop(child, number, STOP_TIMEOUT_S)

    def running(self) -> bool:
        """Say whether the postmaster is alive."""
        return self._child is not None and self._child.poll() is None

    def _initialise(self, home: account.Home) -> None:
        if (home.data / "PG_VERSION").exists() and self._password_file().exists():
            return
        if home.data.exists() and any(home.data.iterdir()):
            raise DevstackError(f"{home.data} is half made or its password is lost; run: dongui dev reset")
        account.own(home.data, home)
        password = self._new_password()
        done = _initdb(home, password)
        if done.returncode != 0:
            raise DevstackError(f"initdb failed in {home.data}:\n{done.stderr[-2000:]}")

    def _new_password(self) -> str:
        path = self._password_file()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        password = secrets.token_urlsafe(24)
        path.touch(mode=0o600)
        path.write_text(password)
        return password

    def _password_file(self) -> Path:
        return self._base / "secrets" / "postgres_password"

    def _spawn(self, home: account.Home) -> subprocess.Popen[bytes]:
        options = self._settings | {
            "port": str(self.port),
            "unix_socket_directories": str(self._socket_dir(home)),
        }
        argv = [str(home.programs / "postgres"), "-D", str(home.data)]
        argv += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        program = Program(
            "postgres",
            argv,
            self._log,
            env=_environment(),
            user=home.user,
            death_signal=signal.SIGINT,
        )
        return spawn(program, self._base / "run")

    def _socket_dir(self, home: account.Home) -> Path:
        """Return a directory whose socket path fits the 107 bytes the system allows."""
        wanted = home.data.parent / "socket"
        if len(str(wanted)) > SOCKET_PATH_MAX:
            short = hashlib.sha256(str(wanted).encode()).hexdigest()[:12]
            wanted = Path(tempfile.gettempdir()) / f"dongui-{short}"
        return account.own(wanted, home)

    async def _ready(self) -> bool:
        """Return True when a query is answered, False when the postmaster ended first."""
        deadline = asyncio.get_running_loop().time() + READY_TIMEOUT_S
        while self.running():
            try:
                connection = await asyncpg.connect(self.admin_dsn, timeout=5)
            except NOT_YET:
                if asyncio.get_running_loop().time() > deadline:
                    raise DevstackError(f"PostgreSQL was not ready in time; see {self._log}") from None
                await asyncio.sleep(POLL_S)
            else:
                await connection.close()
                return True
        return False


def _initdb(home: account.Home, password: str) -> "subprocess.CompletedProcess[str]":
    uid, gid = home.user or (None, None)
    descriptor, name = tempfile.mkstemp(prefix="dongui-")
    password_file = Path(name)
    try:
        with os.fdopen(descriptor, "w") as handle:
            handle.write(password)
        if home.user:
            os.chown(password_file, *home.user)
        return subprocess.run(
            [
                str(home.programs / "initdb"),
                "-D",
                str(home.data),
                "-U",
                ADMIN,
                "--pwfile",
                name,
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                "--no-instructions",
            ],
            check=False,
            capture_output=True,
            text=True,
            env=_environment(),
            cwd="/",
            user=uid,
            group=gid,
            extra_groups=[] if home.user else None,
        )
    finally:
        password_file.unlink()


def _environment() -> dict[str, str]:
    """The postmaster gets no variable of ours: PGDATA and friends of the caller would change its meaning."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
