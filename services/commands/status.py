"""`dongui status`: how far behind anything is, in one look."""

import asyncio
from collections.abc import Iterable
from typing import Any

import typer

from services.commands.context import (
    Format,
    audit_api,
    consent_api,
    fail,
    load_settings,
    print_json,
    print_table,
    wants_json,
)
from services.policy.model import load
from services.runtime.settings import Settings

app = typer.Typer()


@app.callback(invoke_without_command=True)
def status(output: Format = "text") -> None:
    """Lag per recipient, oldest unapplied withdrawal, open duties, overdue answers, dead letters, sealed tree size."""
    as_json = wants_json(output)
    found = collect(load_settings())
    if as_json:
        print_json(found)
        return
    _print(found)


def collect(settings: Settings) -> dict[str, Any]:
    """Return what the two services and Kafka say; end the command when one does not answer."""
    with consent_api(settings) as api:
        told = api.get("/v1/status")
        canaries = api.get("/v1/canaries")["canaries"]
    with audit_api(settings) as api:
        checkpoint = api.get("/v1/audit/checkpoint")
        overdue = api.get("/v1/audit/overdue")["overdue"]
        verified = api.get("/v1/audit/verification")
    recipients = _with_the_idle(told["recipients"], load(settings.affiliates_dir).affiliates)
    withdrawals = [r["oldest_withdrawal_at"] for r in recipients if r["oldest_withdrawal_at"]]
    return {
        "recipients": recipients,
        "oldest_unapplied_withdrawal": min(withdrawals, default=None),
        "open_duties": told["duties"],
        "overdue": overdue,
        "canaries": canaries,
        "dead_letters": _dead_letters(settings),
        "sealed": {"size": checkpoint["size"], "at": checkpoint["at"]},
        "verified": {name: verified.get(name) for name in ("ok", "at", "size", "first_bad_index")},
    }


def _with_the_idle(behind: list[dict[str, Any]], affiliates: Iterable[str]) -> list[dict[str, Any]]:
    """Return who is behind, and every affiliate that is not, with nothing."""
    named = {one["recipient"] for one in behind}
    idle = {"kind": "affiliate", "changes": 0, "seconds": 0.0, "oldest_withdrawal_at": None}
    return [*behind, *({"recipient": affiliate, **idle} for affiliate in affiliates if affiliate not in named)]


def _dead_letters(settings: Settings) -> dict[str, int] | None:
    """Return the depth of each dead-letter topic; None where Kafka is not for this caller to see."""
    if settings.kafka is None:
        return None
    from services.commands.brokers import dead_letters  # noqa: PLC0415 - aiokafka takes a while to import

    try:
        return asyncio.run(dead_letters(settings))
    except OSError as error:
        fail(f"Kafka does not answer ({type(error).__name__}); is it running?")


def _print(found: dict[str, Any]) -> None:
    rows = [(r["recipient"], r["kind"], r["changes"], f"{r['seconds']:.1f}") for r in found["recipients"]]
    print_table(("RECIPIENT", "KIND", "CHANGES BEHIND", "SECONDS BEHIND"), rows)
    letters = {topic: depth for topic, depth in (found["dead_letters"] or {}).items() if depth}
    told = ", ".join(f"{topic} {depth}" for topic, depth in letters.items()) or "none"
    told = told if found["dead_letters"] is not None else "not known (DONGUI_KAFKA is not set)"
    typer.echo(f"\noldest unapplied withdrawal  {found['oldest_unapplied_withdrawal'] or 'none'}")
    duties = found["open_duties"]
    typer.echo(f"open duties                  {duties['all']} ({duties['warning']} soon over, {duties['late']} late)")
    typer.echo(f"overdue answers              {len(found['overdue'])}")
    typer.echo(f"dead letters                 {told}")
    typer.echo(f"canaries                     {_canaries(found['canaries'])}")
    typer.echo(f"sealed tree size             {found['sealed']['size']} ({found['sealed']['at']})")
    typer.echo(f"log verified                 {_verified(found['verified'])}")


def _canaries(found: list[dict[str, Any]]) -> str:
    """Say of each affiliate when its last canary that came back had been sent."""
    told = (f"{one['affiliate']} {one['returned_at'] or 'not back yet'}" for one in found)
    return ", ".join(told) or "none (DONGUI_CANARY_INTERVAL_S is not set)"


def _verified(found: dict[str, Any]) -> str:
    if found["ok"] is None:
        return "not yet"
    if found["ok"]:
        return f"good up to {found['size']} ({found['at']})"
    return f"TAMPERED, first bad index {found['first_bad_index']} ({found['at']}); run dongui audit verify"
