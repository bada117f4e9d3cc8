"""`dongui notice`: the delivery log of correction notices, and notices sent again (docs/notices.md)."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

import asyncpg
import typer

from schemas.envelope import UUID
from schemas.receipts import CODED_VALUE
from services.commands.context import USAGE, Format, fail, load_settings, print_json, print_table, tell, wants_json
from services.propagator.notices import by_hand, delivery_log, redelivery
from services.propagator.notices.endpoints import EndpointError
from services.propagator.notices.redelivery import Selection, SelectionError
from services.runtime import postgres
from services.runtime.clock import utc_now

POOL_SIZE: Final = 2
STATE: Final = re.compile(r"[a-z_]{3,20}")
COLUMNS: Final = ("cursor", "recipient", "seq", "state", "attempts", "outcome", "received_at", "change_id")
T = TypeVar("T")
app = typer.Typer(no_args_is_help=True)
Ids = Annotated[list[str] | None, typer.Option("--id", help="A notice's id (webhook-id) or a change's; repeatable")]
Recipient = Annotated[str | None, typer.Option("--recipient", help="One third party")]


@app.command()
def log(
    ids: Ids = None,
    recipient: Recipient = None,
    state: Annotated[str | None, typer.Option("--state", help="Such as pending, delivered, acknowledged")] = None,
    after: Annotated[int, typer.Option("--after", min=0, help="The `next` of the page before")] = 0,
    output: Format = "text",
) -> None:
    """Show what was sent, when, and what came back, 100 notices a page. Values are masked."""
    as_json = wants_json(output)
    chosen = _uuids(ids)
    if state is not None and not STATE.fullmatch(state):
        raise typer.BadParameter("a state is one of docs/notices.md", param_hint="--state")
    found = _working(lambda pool: delivery_log.listed(pool, recipient=recipient, ids=chosen, state=state, after=after))
    if as_json:
        print_json(_plain(found))
        return
    print_table(COLUMNS, [[notice[name] for name in COLUMNS] for notice in found["notices"]])
    for notice in found["notices"] if chosen else ():
        names = ("at", "status", "milliseconds", "error", "answer")
        print_table(names, [[attempt[name] for name in names] for attempt in notice["log"]])
    if found["next"] is not None:
        tell(f"more with: --after {found['next']}")


@app.command()
def redeliver(
    principal: Annotated[str, typer.Option("--as", help="Who asks; goes on the record")],
    reason: Annotated[str, typer.Option("--reason", help="Why: a code or a ticket number; goes on the record")],
    ids: Ids = None,
    recipient: Recipient = None,
    since: Annotated[str | None, typer.Option("--from", help="Received from this ISO 8601 time on")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Received before this one")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many, and send nothing")] = False,
    output: Format = "text",
) -> None:
    """Send notices again: by id, by third party, by time, or by all of these together."""
    as_json = wants_json(output)
    for name, text in (("--as", principal), ("--reason", reason)):
        if not CODED_VALUE.fullmatch(text):
            raise typer.BadParameter("a code: letters, digits and _.:/+- only, 100 at most", param_hint=name)
    selection = Selection(ids=_uuids(ids), recipient=recipient, since=_time(since), until=_time(until))
    try:
        told = by_hand.channels(load_settings().third_parties)
        selection.check(told)
    except (EndpointError, SelectionError) as error:
        fail(str(error), USAGE)
    if dry_run:
        made = _working(lambda pool: redelivery.planned(pool, selection, utc_now, by_hand=told))
    else:
        made = _working(
            lambda pool: redelivery.ask(pool, selection, utc_now, by=principal, reason=reason, by_hand=told)
        )
    if as_json:
        print_json(asdict(made))
        return
    left = ", ".join(f"{count} {state}" for state, count in made.skipped.items())
    tell(f"{made.notices} notices {'would go' if dry_run else 'go'} again" + (f"; left out: {left}" if left else ""))


def _uuids(ids: list[str] | None) -> tuple[str, ...]:
    if not all(UUID.fullmatch(one) for one in ids or ()):
        raise typer.BadParameter("an id is a UUID", param_hint="--id")
    return tuple(ids or ())


def _time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        raise typer.BadParameter(
            "a time is ISO 8601 with offset: 2026-11-24T09:00:00+09:00", param_hint="--from/--to"
        ) from None


def _working(work: Callable[[asyncpg.Pool], Awaitable[T]]) -> T:
    """Run on the notices database; what is in the way ends the command."""
    dsn = load_settings().require("notices_dsn").secret("notices_dsn")

    async def opened() -> T:
        pool = await postgres.open_pool(dsn, size=POOL_SIZE, application="dongui-notice")
        try:
            return await work(pool)
        finally:
            await pool.close()

    try:
        return asyncio.run(opened())
    except (OSError, asyncpg.PostgresError) as error:
        fail(f"the notices database cannot be reached ({type(error).__name__})")


def _plain(value: Any) -> Any:
    """Return it with instants as ISO 8601."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime) else value
