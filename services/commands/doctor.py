"""`dongui doctor`: looks at every part of an installation and says what to do about what is wrong."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from services.commands import bundle as bundles
from services.commands import checks
from services.commands.context import (
    FAILED,
    Format,
    effective_settings,
    fail,
    print_json,
    print_table,
    tell,
    wants_json,
)

app = typer.Typer()
MARKS = {"ok": "ok", "warning": "!", "failed": "FAILED"}


@app.callback(invoke_without_command=True)
def doctor(
    output: Format = "text",
    bundle: Annotated[Path | None, typer.Option("--bundle", help="Write a .tar.gz without secrets")] = None,
) -> None:
    """Check jars, servers, topics, migrations, key files, clock and every process. Exit 1 when something is wrong."""
    as_json = wants_json(output)
    settings = effective_settings()
    found = asyncio.run(checks.all_of(settings))
    if as_json:
        print_json([check.shown() for check in found])
    else:
        print_table(("CHECK", "", "FOUND"), [(c.name, MARKS[c.state], c.told) for c in found])
    if bundle:
        try:
            parts = asyncio.run(bundles.write(bundle, settings, found))
        except OSError as error:
            fail(f"{bundle} cannot be written ({type(error).__name__}); choose another --bundle FILE")
        tell(f"written: {bundle} ({len(parts)} parts, no secret and nothing personal)")
    if any(check.state == "failed" for check in found):
        raise typer.Exit(FAILED)
