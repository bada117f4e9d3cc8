"""`dongui member`: one member and where its changes are; the import of a member base."""

from typing import Annotated, Any

import typer

from services.commands.context import Api, Format, consent_api, load_settings, print_json, print_table, wants_json
from services.commands.member_import import import_members

app = typer.Typer(no_args_is_help=True)
app.command("import")(import_members)
COLUMNS = ("SEQ", "CHANGE", "ACCEPTED", "RECIPIENT", "STAGE", "AT", "CHANGE ID")


@app.command()
def show(ref: Annotated[str, typer.Argument(metavar="REF")], output: Format = "text") -> None:
    """Show a member, masked, and every change with its stage and time per recipient. JSON is not masked."""
    as_json = wants_json(output)
    with consent_api(load_settings()) as api:
        member = api.get(f"/v1/members/{ref}")
        changes = _changes(api, ref)
    if as_json:
        print_json({"member": member, "changes": changes})
        return
    shown = {"name": masked_name(member["name"]), "email": masked_email(member["email"])}
    for name in ("member_ref", "status", "seq"):
        typer.echo(f"{name:<11}{member[name]}")
    for name, value in shown.items():
        typer.echo(f"{name:<11}{value}")
    typer.echo(f"{'grants':<11}{', '.join(_grant(g) for g in member['grants']) or '-'}\n")
    print_table(COLUMNS, [row for change in changes for row in rows_of(change)])


def _changes(api: Api, ref: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: int | None = 0
    while cursor is not None:
        page = api.get(f"/v1/members/{ref}/changes", cursor=str(cursor))
        found += page["changes"]
        cursor = page["next"]
    return found


def _grant(grant: dict[str, Any]) -> str:
    parts = (grant["purpose"], grant.get("recipient") or grant.get("sender"), grant.get("channel"))
    return ":".join(str(part) for part in parts if part)


def rows_of(change: dict[str, Any]) -> list[tuple[object, ...]]:
    """Return one row per recipient of a change, and one for its seal."""
    head = (change["seq"], change["change"], change["accepted_at"])
    answers = [(*head, r["id"], r["stage"], r["at"], change["change_id"]) for r in change["recipients"]]
    seal = ("sealed", change["sealed_at"]) if change["sealed_at"] else ("accepted", change["accepted_at"])
    return [*answers, (*head, "audit", *seal, change["change_id"])]


def masked_name(name: str | None) -> str:
    """Return a name with all but its ends hidden: 홍길동 is 홍*동, 이산 is 이*."""
    if not name:
        return "-"
    if len(name) <= 2:
        return name[0] + "*" * (len(name) - 1)
    return name[0] + "*" * (len(name) - 2) + name[-1]


def masked_email(email: str | None) -> str:
    """Return an address of which the first letter and the domain are left."""
    if not email:
        return "-"
    local, _, domain = email.partition("@")
    return f"{local[:1]}***@{domain}"
