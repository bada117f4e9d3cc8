"""`dongui change`: where one change is now."""

from typing import Annotated

import typer

from services.commands.context import Format, consent_api, load_settings, print_json, print_table, wants_json
from services.commands.member import COLUMNS, rows_of

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keep `show` a verb of its own while it is the only one."""


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
