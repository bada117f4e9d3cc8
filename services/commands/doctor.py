"""`dongui doctor`: looks at every part of an installation and says what to do about what is wrong.

The diagnostics bundle is meant to be sent to somebody: settings without secrets, versions, ends of logs (which never
hold personal values); no DSN password, no token, no key.
"""

import asyncio
import json
import platform
import sys
import tarfile
from collections.abc import Callable
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import typer

from services.commands import checks
from services.commands.checks import Check
from services.commands.config import effective
from services.commands.context import FAILED, Format, effective_settings, print_json, print_table, tell, wants_json
from services.runtime.settings import Settings

LOG_BYTES = 64 * 1024
PACKAGES = ("aiokafka", "asyncpg", "faust-streaming", "fastapi", "pydantic", "cryptography", "joserfc")
app = typer.Typer()
MARKS = {"ok": "ok", "warning": "!", "failed": "FAILED"}


@app.callback(invoke_without_command=True)
def doctor(
    output: Format = "text",
    bundle: Annotated[Path | None, typer.Option("--bundle", help="Write a .tar.gz without secrets")] = None,
) -> None:
    """Check jars, servers, topics, migrations, key files and clock. Exit 1 when something is wrong."""
    as_json = wants_json(output)
    settings = effective_settings()
    found = asyncio.run(checks.all_of(settings))
    if as_json:
        print_json([check.shown() for check in found])
    else:
        print_table(("CHECK", "", "FOUND"), [(c.name, MARKS[c.state], c.told) for c in found])
    if bundle:
        write_bundle(bundle, settings, found)
        tell(f"written: {bundle}")
    if any(check.state == "failed" for check in found):
        raise typer.Exit(FAILED)


def write_bundle(path: Path, settings: Settings, found: list[Check]) -> None:
    """Write the diagnostics bundle."""
    parts: dict[str, Callable[[], Any]] = {
        "checks.json": lambda: [check.shown() for check in found],
        "settings.json": lambda: effective(settings),
        "versions.json": versions,
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, make in parts.items():
            _add(archive, name, json.dumps(make(), ensure_ascii=False, indent=2).encode())
        for log in sorted((settings.data_dir / "log").glob("*.log")):
            _add(archive, f"log/{log.name}", _tail(log))


def versions() -> dict[str, str]:
    """Return the versions of Python, the machine and the packages that matter."""
    packages = {name: version(name) for name in ("dongui", *PACKAGES)}
    return {"python": sys.version, "platform": platform.platform()} | packages


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(f"dongui-diagnostics/{name}")
    entry.size = len(content)
    archive.addfile(entry, BytesIO(content))


def _tail(log: Path) -> bytes:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_BYTES))
        return file.read()
