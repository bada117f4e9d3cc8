"""`dongui affiliate`: the affiliates of the policy, how far each of them is, and whether its store is right."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import asyncpg
import typer

from services.commands import stores
from services.commands.context import (
    DRIFT,
    Format,
    consent_api,
    fail,
    load_settings,
    print_json,
    print_table,
    tell,
    wants_json,
)
from services.commands.ledger_replay import live_reconciler
from services.commands.troubles import told
from services.policy.model import load
from services.propagator import parking
from services.propagator.parking import Waiting
from services.propagator.reconcile import drift
from services.propagator.reconcile.rounds import Cycle
from services.runtime import acls as permissions
from services.runtime import kafka
from services.runtime.acls import Acl
from services.runtime.clock import utc_now
from services.runtime.settings import Settings

SHOWN_MAX = 100
app = typer.Typer(no_args_is_help=True)
Switch = Callable[[Any, str, str, datetime], Awaitable[bool]]
By = Annotated[str | None, typer.Option("--as", metavar="PRINCIPAL", help="Who does it (default: the login name)")]
Id = Annotated[str, typer.Argument(metavar="ID", help="An affiliate")]


@app.command("list")
def list_affiliates(output: Format = "text") -> None:
    """List every affiliate: changes it has not answered and how long the oldest waits, what is parked, open gaps."""
    as_json = wants_json(output)
    settings = load_settings()
    with consent_api(settings) as api:
        behind = {r["recipient"]: r for r in api.get("/v1/status")["recipients"] if r["kind"] == "affiliate"}
    waits = told(lambda: asyncio.run(_waiting(settings)))
    found = [_line(name, behind.get(name), waits.get(name)) for name in load(settings.affiliates_dir).affiliates]
    if as_json:
        print_json(found)
        return
    headers = ("AFFILIATE", "CHANGES BEHIND", "SECONDS BEHIND", "PAUSED SINCE", "PARKED", "GAPS")
    print_table(headers, [(*list(row.values())[:2], f"{row['seconds']:.1f}", *list(row.values())[3:]) for row in found])


def _line(name: str, behind: dict[str, Any] | None, waits: Waiting | None) -> dict[str, Any]:
    """Return one affiliate's line; what only its store knows is None where the store is not ours to open."""
    return {
        "id": name,
        "changes": behind["changes"] if behind else 0,
        "seconds": behind["seconds"] if behind else 0.0,
        "paused_since": waits.since.isoformat() if waits and waits.since else None,
        "parked": waits.parked if waits else None,
        "gaps": waits.gaps if waits else None,
    }


async def _waiting(settings: Settings) -> dict[str, Waiting]:
    found = {}
    for affiliate, dsn in settings.affiliate_dsns.items():
        async with stores.opened(dsn.get_secret_value()) as pool:
            found[affiliate] = await parking.waiting(pool)
    return found


@app.command()
def pause(affiliate: Id, principal: By = None) -> None:
    """Hold back its sealed states; withdrawals and all other stop records go on being applied."""
    changed = _switched(affiliate, parking.pause, principal)
    tell(f"{affiliate} is paused" if changed else f"{affiliate} was paused already")
    tell(f"next: dongui affiliate resume {affiliate}")


@app.command()
def resume(affiliate: Id, principal: By = None) -> None:
    """End the pause: its propagator applies what was parked, the newest state wins."""
    changed = _switched(affiliate, parking.resume, principal)
    tell(f"{affiliate} goes on" if changed else f"{affiliate} was not paused")


def _switched(affiliate: str, verb: Switch, principal: str | None) -> bool:
    settings = load_settings()
    stores.known(settings, affiliate)

    dsn, by = settings.affiliate_dsns[affiliate].get_secret_value(), principal or getpass.getuser()

    async def work() -> bool:
        async with stores.opened(dsn) as pool, pool.acquire() as tx, tx.transaction():
            return await verb(tx, affiliate, by, utc_now())

    return told(lambda: asyncio.run(work()))


@app.command()
def reconcile(
    affiliate: Id,
    repair: Annotated[bool, typer.Option("--repair", help="Make what differs anew from the ledger")] = False,
    output: Format = "text",
) -> None:
    """Compare the store with what the ledger says it must hold. Exit 3 when it differed, repaired or not."""
    as_json = wants_json(output)
    settings = load_settings()
    stores.known(settings, affiliate)
    found = told(lambda: asyncio.run(_cycle(settings, affiliate, repair)))
    if as_json:
        print_json({"affiliate": affiliate, **_shown(found)})
    else:
        _print(affiliate, found)
    if found.drifts:
        raise typer.Exit(DRIFT)


async def _cycle(settings: Settings, affiliate: str, repair: bool) -> Cycle:
    async with live_reconciler(settings, affiliate) as compares:
        return await compares.cycle(repair=repair)


@app.command()
def backfill(
    affiliate: Id,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing")] = False,
    output: Format = "text",
) -> None:
    """Bring an empty or restored store to what the ledger says it must hold, then check it for drift (exit 3).

    What its members are owed by the policy and were never given is given first, each as a change of its own. A paused
    affiliate is not filled: its states wait, whichever way they come.
    """
    as_json = wants_json(output)
    settings = load_settings()
    stores.known(settings, affiliate)
    if not dry_run:
        told(lambda: asyncio.run(_going_on(settings, affiliate)))
    given = _given(settings, affiliate, dry_run)
    looked, made, after = told(lambda: asyncio.run(_backfilled(settings, affiliate, dry_run)))
    found = {"affiliate": affiliate, "given": given, "members": looked, "made": made, "drifted": len(after.drifts)}
    if as_json:
        print_json(found | {"dry_run": dry_run, "in_flight": after.in_flight})
    else:
        print_table([name.upper() for name in found], [list(found.values())])
    if after.drifts and not dry_run:
        raise typer.Exit(DRIFT)


async def _going_on(settings: Settings, affiliate: str) -> None:
    async with stores.opened(settings.affiliate_dsns[affiliate].get_secret_value()) as pool:
        await _refuse_paused(pool, affiliate)


async def _refuse_paused(pool: asyncpg.Pool, affiliate: str) -> None:
    if (await parking.waiting(pool)).since is not None:
        fail(f"{affiliate} is paused: its store is not filled; next: dongui affiliate resume {affiliate}")


def _given(settings: Settings, affiliate: str, dry_run: bool) -> int:
    """Let the consent service decide for members who are entitled and were never told of; return how many."""
    given: int = 0
    after: str | None = None
    with consent_api(settings) as api:
        while True:
            answer = api.post(f"/v1/affiliates/{affiliate}/backfill", {"after": after, "dry_run": dry_run})
            given, after = given + answer["given"], answer["next"]
            if answer["looked"]:
                tell(f"{affiliate}: {given} members given what they are entitled to so far")
            if after is None:
                return given


async def _backfilled(settings: Settings, affiliate: str, dry_run: bool) -> tuple[int, int, Cycle]:
    async with live_reconciler(settings, affiliate) as compares:

        async def so_far(looked: int) -> None:
            tell(f"{affiliate}: {looked} members of the ledger looked at")
            await _refuse_paused(compares.propagator.pool, affiliate)

        looked, made = (0, 0) if dry_run else await compares.fill(so_far)
        after = await compares.cycle(repair=False)
    return (after.members, len(after.drifts), after) if dry_run else (looked, made, after)


def _shown(found: Cycle) -> dict[str, Any]:
    counted = {name: getattr(found, name) for name in ("members", "ranges", "in_flight", "repaired", "answered")}
    return {
        **counted,
        "seconds": round(found.seconds, 3),
        "drifted": len(found.drifts),
        "why": drift.by_why(found.drifts),
        "drifts": [asdict(d) for d in found.drifts[:SHOWN_MAX]],
    }


def _print(affiliate: str, found: Cycle) -> None:
    rows = [
        (d.member_ref, d.why, "; ".join(f"{t}: {', '.join(c)}" for t, c in d.rows.items()), d.store_seq, d.ledger_seq)
        for d in found.drifts[:SHOWN_MAX]
    ]
    if rows:
        print_table(("MEMBER", "WHY", "DIFFERS IN", "STORE SEQ", "LEDGER SEQ"), rows)
    flying = f", {found.in_flight} on their way" if found.in_flight else ""
    tell(f"{affiliate}: {found.members} members in {found.seconds:.1f} s, {len(found.drifts)} differ{flying}")
    if found.answered:
        tell(f"{affiliate}: {found.answered} answers told again that the ledger had not got")
    if any(d.why == "ledger_behind" for d in found.drifts):
        tell(f"{affiliate}: the ledger knows less than the store; was it restored? docs/restore.md")
    if found.repaired:
        tell(f"{affiliate}: {found.repaired} made anew from the ledger")
    elif any(d.why != "ledger_behind" for d in found.drifts):
        tell(f"next: dongui affiliate reconcile {affiliate} --repair")


@app.command()
def acls(
    affiliate: Id,
    principal: Annotated[
        str | None, typer.Option("--principal", help="The backend's Kafka principal (default: User: and the id)")
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Make them on the broker; needs the login of `setup`")
    ] = False,
    output: Format = "text",
) -> None:
    """Print the ACLs of an affiliate's own backend and of its propagator, and no more: literal names, nothing else."""
    as_json = wants_json(output)
    settings = load_settings()
    if affiliate not in load(settings.affiliates_dir).affiliates:
        fail(f"the policy knows no affiliate {affiliate}; add its TOML file to DONGUI_AFFILIATES_DIR")
    backend = (principal or affiliate).removeprefix("User:")
    wanted = _permissions(settings, affiliate, backend)
    if create:
        made = told(lambda: asyncio.run(_allowed(settings, wanted)))
        tell(f"{affiliate}: {made} ACLs made, {sum(map(len, wanted.values())) - made} were there")
    if as_json:
        print_json([_described(who, acl) for who, found in wanted.items() for acl in found])
        return
    for who, found in wanted.items():
        for a in found:
            typer.echo(f"kafka-acls --add --allow-principal User:{who} --operation {a.operation} --{a.kind} {a.name}")


def _permissions(settings: Settings, affiliate: str, backend: str) -> dict[str, list[Acl]]:
    """Return what the two principals of an affiliate may do."""
    table = permissions.table([affiliate], settings.topic_prefix)
    process = permissions.propagator_principal(affiliate)
    return {backend: sorted(table[affiliate]), process: sorted(table[process])}


def _described(who: str, acl: Acl) -> dict[str, str]:
    named = {"principal": f"User:{who}", "resource": acl.kind, "name": acl.name}
    return named | {"operation": acl.operation, "pattern": "literal"}


async def _allowed(settings: Settings, wanted: dict[str, list[Acl]]) -> int:
    from services.devstack import principals  # noqa: PLC0415 - only who makes ACLs needs it

    options = kafka.client_options(settings)
    return sum([await principals.allow(options, who, found) for who, found in wanted.items()])


@app.command()
def conformance(
    command: Annotated[
        str | None,
        typer.Option(
            "--command", help="The backend; {bootstrap} {topic} {prefix} {keys_url} {store}, {username} … are filled in"
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the random cases")] = 1,
    output: Format = "text",
) -> None:
    """Run an affiliate's backend (default: the reference one) through adversarial sequences. Exit 3 when it fails."""
    from services.commands.conformance import BackendError, check  # noqa: PLC0415 - needs the devstack extra

    as_json = wants_json(output)
    settings = load_settings().require("kafka")
    try:
        found = told(lambda: asyncio.run(check(settings, command, seed)))
    except BackendError as error:
        fail(str(error))
    if as_json:
        print_json([{"case": v.name, "passed": not v.faults, "faults": list(v.faults)} for v in found])
    else:
        print_table(
            ("RESULT", "CASE", "WHAT"), [("FAIL" if v.faults else "ok", v.name, "; ".join(v.faults)) for v in found]
        )
    if any(v.faults for v in found):
        raise typer.Exit(DRIFT)
