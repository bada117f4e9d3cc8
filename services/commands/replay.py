"""`dongui replay`: plan what would be read again, have a second person approve it, run it, cancel it."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from pydantic import TypeAdapter, ValidationError

from schemas.topics import affiliate_topic
from services.commands import ledger_replay, stores
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
from services.commands.replay_run import execute
from services.commands.troubles import told
from services.propagator.replay import plan as plans
from services.propagator.replay import planner
from services.propagator.replay.plan import EFFECTS, Plan, PlanError, Selection
from services.runtime.clock import utc_now
from services.runtime.settings import Settings

app = typer.Typer(no_args_is_help=True)
app.command()(execute)
RATE: Final = 5000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Kafka counts from here: it has no instant before, and its client refuses one."""
TYPES: Final = (
    "signed_up", "corrected", "withdrawal_requested", "withdrawn", "consent_changed", "suspended", "released", "erased",
)  # fmt: skip
Instant = Annotated[
    str | None, typer.Option(help="ISO 8601; without an offset it is UTC, as Kafka's own tool reads it")
]


@app.command("plan")
def plan_(  # noqa: PLR0913, PLR0917 - one option per selector
    reason: Annotated[str, typer.Option("--reason", help="Why; it names no person")],
    output: Annotated[Path, typer.Option("--output", help="File to write the plan to")],
    every: Annotated[bool, typer.Option("--all", help="Every affiliate, everything there is")] = False,
    affiliate: Annotated[list[str] | None, typer.Option("--affiliate", help="This affiliate; repeatable")] = None,
    member: Annotated[UUID | None, typer.Option("--member", help="This member's records")] = None,
    change: Annotated[UUID | None, typer.Option("--change", help="One change's records")] = None,
    type_: Annotated[str | None, typer.Option("--type", help=f"One of {', '.join(TYPES)}")] = None,
    from_datetime: Instant = None,
    to_datetime: Instant = None,
    by_duration: Annotated[str | None, typer.Option("--by-duration", help="ISO 8601, back from now: PT6H, P2D")] = None,
    from_offsets: Annotated[Path | None, typer.Option("--from-offsets", help="CSV: topic,partition,offset")] = None,
    partition: Annotated[list[int] | None, typer.Option("--partition", help="Only this partition; repeatable")] = None,
    source: Annotated[
        str, typer.Option("--source", help="kafka, or consent for what the topics no longer have")
    ] = "kafka",
    effect: Annotated[
        list[str] | None, typer.Option("--with", help=f"Let this leave too: {', '.join(EFFECTS)}")
    ] = None,
    rate: Annotated[int, typer.Option("--rate", help="Records a second at most", min=1)] = RATE,
    file_format: Format = "text",
) -> None:
    """Write what a replay would do, and change nothing: counts, members, a diff against the live stores, the time."""
    as_json = wants_json(file_format)
    settings = load_settings().require("kafka", "affiliate_dsns", "affiliate_tokens", "consent_url", "service_token")
    narrowed = any(
        part is not None
        for part in (member, change, type_, from_datetime, to_datetime, by_duration, from_offsets, partition)
    )
    if every == (narrowed or affiliate is not None):
        fail("say what: --all, or one or more of --affiliate, --member, --from-datetime, --from-offsets …", USAGE)
    if type_ is not None and type_ not in TYPES:
        fail(f"--type is one of {', '.join(TYPES)}", USAGE)
    if source == "consent" and narrowed:
        fail("the ledger has present states only: --source consent goes with --all or --affiliate", USAGE)
    if source == "consent" and "notices" in (effect or ()):
        fail("the ledger has no notices to read again: --with notices goes with --source kafka", USAGE)
    if source not in {"kafka", "consent"} or set(effect or ()) - set(EFFECTS):
        fail(f"--source is kafka or consent, --with is one of {', '.join(EFFECTS)}", USAGE)
    offsets = _offsets(settings, from_offsets)
    wish = planner.Wish(
        selection=Selection(
            affiliates=tuple(stores.known(settings, a) for a in _affiliates(settings, affiliate or (), offsets)),
            member=str(member) if member else None,
            change=str(change) if change else None,
            type=type_,
            since=_since(from_datetime, by_duration),
            until=_instant(to_datetime, "--to-datetime"),
            offsets=offsets,
            partitions=tuple(partition) if partition else None,
        ),
        reason=reason,
        rate=rate,
        source="consent" if source == "consent" else "kafka",
        effects=tuple(e for e in EFFECTS if e in (effect or ())),
    )
    made = told(lambda: asyncio.run(_plan(settings, wish)))
    row = _registered(settings, made)
    _write(output, plans.to_file(made, row["planned_by"]))
    if as_json:
        summary = made.summary() | {"estimated_s": made.estimated_s, "not_sent": made.not_sent}
        print_json({"plan_id": made.plan_id, "sha256": row["sha256"], "planned_by": row["planned_by"], **summary})
        return
    _print(made, row, output)


def _registered(settings: Settings, made: Plan) -> dict[str, Any]:
    """Register the plan's hash; the answer says who planned: whose token it was."""
    body = {"replay_id": made.plan_id, "sha256": plans.digest(made), "reason": made.reason, "summary": made.summary()}
    with consent_api(settings) as api:
        answer: dict[str, Any] = api.post("/v1/replays", body)
    return answer


async def _plan(settings: Settings, wish: planner.Wish) -> Plan:
    async with stores.live(settings, lambda _: False) as opened:
        if wish.source == "consent":
            return await ledger_replay.plan(settings, wish, utc_now(), opened)
        return await planner.make(settings, wish, utc_now(), opened)


def _write(path: Path, content: bytes) -> None:
    """It names members by reference: readable by its owner alone."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}")


def _instant(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option} is no ISO 8601 instant: {text}", USAGE)
    instant = found if found.tzinfo else found.replace(tzinfo=UTC)
    if instant < EPOCH:
        fail(f"{option} lies before 1970; Kafka has no records of then", USAGE)
    return instant


def _since(text: str | None, duration: str | None) -> datetime | None:
    if duration is None:
        return _instant(text, "--from-datetime")
    if text is not None:
        fail("give --from-datetime or --by-duration, not both", USAGE)
    try:
        back: timedelta = TypeAdapter(timedelta).validate_python(duration)
    except ValidationError:
        fail(f"--by-duration is no ISO 8601 duration such as PT6H: {duration}", USAGE)
    now = utc_now()
    if abs(back) > now - EPOCH:
        fail("--by-duration reaches back before 1970; Kafka has no records of then", USAGE)
    return now - abs(back)


def _affiliates(settings: Settings, asked: Sequence[str], offsets: Mapping[str, Any] | None) -> Sequence[str]:
    if offsets is None:
        return asked or sorted(settings.affiliate_dsns)
    try:
        return plans.affiliates_in(offsets, asked)
    except PlanError as error:
        fail(str(error), USAGE)


def _offsets(settings: Settings, path: Path | None) -> dict[str, dict[int, int]] | None:
    if path is None:
        return None
    topics = {settings.topic_prefix + affiliate_topic(a): a for a in settings.affiliate_dsns}
    try:
        return plans.parse_offsets(path.read_text(encoding="utf-8"), topics)
    except OSError as error:
        fail(f"cannot read {path}: {error.strerror}")
    except PlanError as error:
        fail(str(error), USAGE)


def _print(made: Plan, row: dict[str, Any], output: Path) -> None:
    rows = [
        (
            s.affiliate,
            s.read,
            s.selected,
            s.duplicates,
            s.applied + s.superseded,
            s.refused,
            s.members,
            s.members_changed,
        )
        for s in made.shares
    ]
    headers = ("AFFILIATE", "READ", "SELECTED", "SEEN BEFORE", "NEW", "REFUSED", "MEMBERS", "WOULD CHANGE")
    print_table(headers, rows)
    for share in made.shares:
        for d in share.differences:
            typer.echo(
                f"{share.affiliate}  {d.member_ref}  " + "; ".join(f"{r}: {', '.join(c)}" for r, c in d.rows.items())
            )
        if not share.complete:
            tell(
                f"{share.affiliate}: the topic no longer has its first records; --source consent has the present state"
            )
    for what, count in made.not_sent.items():
        typer.echo(f"will not be sent: {what} ({count})")
    typer.echo(f"estimated time    {made.estimated_s:.0f} s at {made.rate} records/s\nplan              {made.plan_id}")
    typer.echo(f"sha256            {row['sha256']}\nplanned by        {row['planned_by']}")
    tell(f"nothing was changed. Next, by another person: dongui replay execute {output} --approved-by PRINCIPAL --yes")


@app.command("list")
def list_replays(output: Format = "text") -> None:
    """List the newest replays: who planned and approved them, how far they are."""
    as_json = wants_json(output)
    with consent_api(load_settings()) as api:
        found: list[dict[str, Any]] = api.get("/v1/replays")["replays"]
    if as_json:
        print_json(found)
        return
    rows = [(r["replay_id"], r["state"], _far(r), r["planned_by"], r["approved_by"], r["planned_at"]) for r in found]
    print_table(("ID", "STATE", "DONE", "PLANNED BY", "APPROVED BY", "PLANNED AT"), rows)


def _far(row: dict[str, Any]) -> str:
    return f"{row['progress'].get('done', 0)}/{row['progress'].get('total', row['summary'].get('total', 0))}"


@app.command()
def cancel(replay_id: Annotated[UUID, typer.Argument(metavar="ID")]) -> None:
    """Cancel a replay; one that runs stops at its next report, and what it applied stays."""
    with consent_api(load_settings()) as api:
        found = api.post(f"/v1/replays/{replay_id}/cancel", None)
    tell(f"{found['replay_id']} is {found['state']}")
