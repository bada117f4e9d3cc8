"""`dongui change`: where one change is now, and the certificate that everyone has answered it."""

from pathlib import Path
from typing import Annotated, Final

import typer

from services.commands.context import (
    USAGE,
    Format,
    consent_api,
    fail,
    load_settings,
    print_json,
    print_table,
    tell,
    wants_json,
)
from services.commands.member import COLUMNS, rows_of

app = typer.Typer(no_args_is_help=True)
MEDIA: Final = {".json": "application/json", "": "application/json", ".html": "text/html"}


@app.command()
def show(change_id: Annotated[str, typer.Argument(metavar="ID")], output: Format = "text") -> None:
    """Show one change: its stage and time per affiliate and third party, and whether it is complete."""
    as_json = wants_json(output)
    with consent_api(load_settings()) as api:
        change = api.get(f"/v1/changes/{change_id}")
    if as_json:
        print_json(change)
        return
    print_table(COLUMNS, rows_of(change))
    typer.echo("complete" if change["complete"] else "not complete")


@app.command()
def certificate(
    change_id: Annotated[str, typer.Argument(metavar="ID")],
    output: Annotated[Path, typer.Option("--output", help="File to write: JSON, or Korean for .html")],
) -> None:
    """Write the certificate of a change that everyone has answered; exit 1 naming who has not.

    `dongui audit verify FILE.json` checks it offline.
    """
    media = MEDIA.get(output.suffix.lower())
    if media is None:
        fail("--output ends in .json or .html; without an ending it is JSON", USAGE)
    with consent_api(load_settings()) as api:
        content = api.content(f"/v1/changes/{change_id}/certificate", media)
    try:
        output.write_bytes(content)
    except OSError as error:
        fail(f"cannot write {output}: {error.strerror}")
    tell(f"written: {output}")
