"""`dongui duties`: what must be done by when, and what is late already."""

from typing import Annotated, Any

import typer

from services.commands.context import DRIFT, Format, consent_api, load_settings, print_json, print_table, wants_json

app = typer.Typer(no_args_is_help=True)


@app.callback()
def duties() -> None:
    """Open duties of the policy and the law."""


@app.command("list")
def list_duties(
    late: Annotated[
        bool, typer.Option("--late", help="Only those whose last day is over; exit 3 when there are any")
    ] = False,
    output: Format = "text",
) -> None:
    """List open duties, the oldest first."""
    as_json = wants_json(output)
    found = _all(late)
    if as_json:
        print_json(found)
    else:
        names = ("due_on", "days_left", "state", "kind", "clause", "member_ref", "subject")
        print_table(names, [[d[name] for name in names] for d in found])
    if late and found:
        raise typer.Exit(DRIFT)


def _all(late: bool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with consent_api(load_settings()) as api:
        cursor: int | None = 0
        while cursor is not None:
            page = api.get("/v1/duties", late=str(late).lower(), cursor=str(cursor))
            found += page["duties"]
            cursor = page["next"]
    return found
