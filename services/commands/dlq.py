"""`dongui dlq`: records nobody could use: list them, look at one without its content, send again, give up."""

import asyncio
from typing import Annotated, Any

import typer

from services.commands import letters
from services.commands.context import (
    FAILED,
    PARTIAL,
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
from services.commands.letters import Letter, LetterGoneError
from services.commands.troubles import told
from services.runtime.settings import Settings

app = typer.Typer(no_args_is_help=True)
Reason = Annotated[str, typer.Option("--reason", help="Why; it names no person")]
OPEN = "open"


@app.command("list")
def list_letters(
    every: Annotated[bool, typer.Option("--all", help="Those that were sent again or discarded too")] = False,
    output: Format = "text",
) -> None:
    """List dead letters, oldest first on each topic; the open ones unless `--all`."""
    as_json = wants_json(output)
    found = [row for row in _rows(load_settings()) if every or row["state"] == OPEN]
    if as_json:
        print_json(found)
        return
    columns = ("id", "state", "topic", "partition", "offset", "code", "at", "bytes")
    print_table([c.upper() for c in columns], [[row[c] for c in columns] for row in found])


@app.command()
def show(letter_id: Annotated[str, typer.Argument(metavar="ID")], output: Format = "text") -> None:
    """Show one dead letter: its headers, size and hash, the names of its fields; never a value."""
    as_json = wants_json(output)
    row = next((r for r in _rows(load_settings()) if r["id"] == letter_id), None)
    if row is None:
        fail(f"there is no dead letter {letter_id}; see: dongui dlq list --all")
    if as_json:
        print_json(row)
        return
    flat = row | {f"header {n}": t for n, t in row["headers"].items()} | {"fields": row["fields"] or "sealed or broken"}
    print_table(("WHAT", "IS"), [(name, value) for name, value in flat.items() if name != "headers"])


@app.command()
def redrive(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID…]", help="Dead letters")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every one that is open")] = False,
    output: Format = "text",
) -> None:
    """Put records back on their topics, as they stood there; what is still wrong becomes a new dead letter.

    Exit 4 when some could not be sent, 1 when none could.
    """
    as_json = wants_json(output)
    settings = load_settings()
    wanted = _wanted(settings, ids, every)
    done = [_redriven(settings, letter) for letter in wanted]
    if as_json:
        print_json(done)
    else:
        print_table(("ID", "STATE"), [(d["id"], d["state"]) for d in done])
    failed = sum(d["state"] == "gone" for d in done)
    if failed:
        raise typer.Exit(FAILED if failed == len(done) else PARTIAL)


@app.command()
def discard(letter_id: Annotated[str, typer.Argument(metavar="ID")], reason: Reason) -> None:
    """Give one up for good; who and why is kept, and is an entry of the audit log."""
    settings = load_settings()
    (letter,) = _wanted(settings, [letter_id], every=False)
    with consent_api(settings) as api:
        body = {"topic": letter.topic, "code": letter.code, "reason": reason}
        api.post(f"/v1/dead-letters/{letter.letter_id}/discard", body)
    tell(f"{letter.letter_id} is discarded")


def _rows(settings: Settings) -> list[dict[str, Any]]:
    """Return every letter as it may be shown, with what became of it."""
    found: list[Letter] = told(lambda: asyncio.run(letters.all_letters(settings.require("kafka"))))
    handled = _outcomes(settings)
    return [{**letter.described(), "state": handled.get(letter.letter_id, OPEN)} for letter in found]


def _outcomes(settings: Settings) -> dict[str, str]:
    with consent_api(settings) as api:
        return {row["letter_id"]: row["state"] for row in api.get("/v1/dead-letters")["outcomes"]}


def _wanted(settings: Settings, ids: list[str] | None, every: bool) -> list[Letter]:
    if bool(ids) == every:
        fail("give ids, or --all", USAGE)
    found: list[Letter] = told(lambda: asyncio.run(letters.all_letters(settings.require("kafka"))))
    by_id = {letter.letter_id: letter for letter in found}
    handled = _outcomes(settings)
    if every:
        return [letter for name, letter in by_id.items() if name not in handled]
    unknown = [name for name in ids or [] if name not in by_id]
    if unknown:
        fail(f"there is no dead letter {', '.join(unknown)}; see: dongui dlq list --all")
    given_up = [name for name in ids or [] if handled.get(name) == "discarded"]
    if given_up:
        fail(f"discarded, and not sent again: {', '.join(given_up)}")
    return [by_id[name] for name in ids or []]


def _redriven(settings: Settings, letter: Letter) -> dict[str, str]:
    """Send first, note second: nothing is lost whoever is killed in between."""
    try:
        told(lambda: asyncio.run(letters.send_again(settings, letter)))
    except LetterGoneError:
        tell(f"{letter.letter_id}: its topic no longer has it and the letter has not all of it; discard it")
        return {"id": letter.letter_id, "state": "gone"}
    with consent_api(settings) as api:
        api.post(f"/v1/dead-letters/{letter.letter_id}/redriven", {"topic": letter.topic, "code": letter.code})
    return {"id": letter.letter_id, "state": "redriven"}
