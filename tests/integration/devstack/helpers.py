"""The `dongui` command as a shell runs it, and which processes belong to a data directory."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.servers import JAR_CACHE, REPOSITORY


def dongui(
    data_dir: Path,
    *arguments: str,
    prefix: Sequence[str] = (),
    timeout_s: float = 250,
    env: Mapping[str, str] | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run the command on a data directory; no DONGUI_ variable of the caller reaches it but those of `env`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DONGUI_")}
    return subprocess.run(
        [*prefix, sys.executable, "-m", "services.cli", "--data-dir", str(data_dir), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        cwd=REPOSITORY,
        env=clean | dict(env or {}),
    )


def with_jars(data_dir: Path) -> Path:
    """Let the directory use the jars that the test run has already verified."""
    (data_dir / "jars").symlink_to(JAR_CACHE)
    return data_dir


def processes_of(data_dir: Path) -> list[str]:
    """Return the command line of every living process that names the directory in its arguments or environment."""
    needle, found = str(data_dir).encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            argv, environ = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        if argv and needle in argv + environ and int(process.name) != os.getpid():
            found.append(argv.replace(b"\0", b" ").decode(errors="replace"))
    return found
