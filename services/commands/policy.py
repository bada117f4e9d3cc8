"""`dongui policy`: read the rules, ask what a change would mean and why, check the data, count a legal period."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from services.commands.context import Format, print_json, wants_json
from services.policy.calendar import last_day
from services.policy.cases import Given, Outcome, When, answer
from services.policy.check import faults
from services.policy.figures import per_clause, totals
from services.policy.model import PolicyError, Rules, load
from services.policy.shapes import Rule
from services.runtime.clock import KST
from services.runtime.settings import Settings

EXIT_USAGE = 2
EXIT_DRIFT = 3

app = typer.Typer(
    name="policy", help="The privacy policy as data: rules, explanations, deadlines.", no_args_is_help=True
)
Many = list[str] | None


@app.command()
def show(
    rule: Annotated[str | None, typer.Argument(help="A rule id; absent: all")] = None,
    notice: Annotated[str | None, typer.Option("--notice", help="Print the notice of this version instead")] = None,
    output: Format = "text",
) -> None:
    """List the rules with the clauses and statutes they rest on, or print a notice as members see it."""
    rules = _load()
    if notice is not None:
        _show_notice(rules, notice, output)
        return
    if rule is not None and rule not in rules.rules:
        _usage(f"no such rule; known: {', '.join(sorted(rules.rules))}")
    chosen = [r for r in rules.rules.values() if rule in {None, r.id}]
    if wants_json(output):
        found = {"version": rules.version, "rules": [r.model_dump(mode="json") for r in chosen]}
        print_json(found)
        return
    typer.echo("\n\n".join(_rule_text(r) for r in chosen))


def _show_notice(rules: Rules, version: str, output: str) -> None:
    found = rules.notice(version)
    if found is None:
        _usage(f"no such notice; known: {', '.join(sorted(rules.notices))}")
    if wants_json(output):
        print_json({"version": version, "sha256": found.sha256, "text": found.text})
        return
    typer.echo(found.text, nl=False)
    typer.echo(f"sha256 {found.sha256}", err=True)


@app.command()
def explain(  # noqa: PLR0913, PLR0917 - one parameter per option
    change: Annotated[str, typer.Option("--change", help="signed_up, corrected, consent_changed, withdrawn, ...")],
    status: Annotated[str, typer.Option("--status", help="The member's status after the change")] = "active",
    sharing: Annotated[str, typer.Option("--sharing", help="Affiliates with a live grant: a,b")] = "",
    profile: Annotated[Many, typer.Option("--profile", help="service:role; repeatable")] = None,
    marketing: Annotated[Many, typer.Option("--marketing", help="sender:channel+channel; repeatable")] = None,
    held: Annotated[Many, typer.Option("--held", help="affiliate:recipient+processor+use+email; repeatable")] = None,
    holds: Annotated[Many, typer.Option("--holds", help="third-party:item+item, the old values; repeatable")] = None,
    items: Annotated[str, typer.Option("--items", help="Items whose value changed: email,hypermeeting.phone")] = "",
    suspended: Annotated[str, typer.Option("--suspended", help="Items and purposes suspended in part: P1.5,name")] = "",
    output: Format = "text",
) -> None:
    """Say what a change would send to each affiliate and third party, and by which rule and clause."""
    try:
        given = Given.model_validate(
            {
                "status": status,
                "profiles": tuple(profile or ()),
                "sharing": _listed(sharing),
                "marketing": _pairs(marketing, "--marketing"),
                "held": _pairs(held, "--held"),
                "third_parties": _pairs(holds, "--holds"),
                "suspended": _listed(suspended),
            }
        )
        when = When.model_validate({"change": change, "items": _listed(items)})
    except ValidationError as error:
        _usage("; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors(include_url=False)))
    rules = _load()
    _known(rules, given)
    found = answer(rules, given, when)
    if wants_json(output):
        print_json([_explained(rules, r, o) for r, o in found.items()])
        return
    typer.echo("\n\n".join(_explained_text(rules, r, o) for r, o in found.items()))


@app.command()
def check(
    golden: Annotated[Path | None, typer.Option("--golden", help="Folder of the decision tables")] = None,
    figures: Annotated[bool, typer.Option("--figures", help="Print rules, cases and clocks per clause")] = False,
    output: Format = "text",
) -> None:
    """Check the rule data and run every decision table. Exit 3 when something does not hold.

    `--figures` also counts the tables of GET /v1/decisions (`decisions/`), which the tests run.
    """
    folder = golden or Path(__file__).parents[2] / "tests" / "golden"
    if not folder.is_dir():
        _usage("the decision tables are not here; name their folder with --golden")
    tables = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.toml"))}
    found = _found(tables)
    told: dict[str, Any] = {"ok": not found, "tables": len(tables), "faults": found}
    counted = _figures(folder, tables) if figures else None
    if wants_json(output):
        print_json(told | (counted or {}))
    else:
        typer.echo("\n".join(found) if found else f"policy holds: {len(tables)} rules, each with its decision table")
        if counted is not None:
            typer.echo(_figures_text(counted))
    if found:
        raise typer.Exit(EXIT_DRIFT)


@app.command()
def due(
    start: Annotated[str, typer.Option("--from", help="ISO 8601; without an offset KST; a date: some time that day")],
    days: Annotated[int | None, typer.Option("--days", min=1, max=36_500)] = None,
    months: Annotated[int | None, typer.Option("--months", min=1, max=1_200)] = None,
    years: Annotated[int | None, typer.Option("--years", min=1, max=100)] = None,
    output: Format = "text",
) -> None:
    """Print the last day (KST) of a legal period by the Civil Act, holidays included."""
    if sum(n is not None for n in (days, months, years)) != 1:
        _usage("give exactly one of --days, --months, --years")
    try:
        found = last_day(_instant(start), days=days, months=months, years=years)
    except (ValueError, OverflowError):
        _usage("--from is not ISO 8601, or the period ends beyond the holiday calendar")
    if wants_json(output):
        print_json({"last_day": found.isoformat()})
    else:
        typer.echo(found.isoformat())


def _figures(folder: Path, tables: dict[str, str]) -> dict[str, Any]:
    decisions = {p.stem: p.read_text(encoding="utf-8") for p in sorted((folder / "decisions").glob("*.toml"))}
    rules = _load()
    lines = [asdict(figure) for figure in per_clause(rules, tables, decisions)]
    return {"clauses": lines, "totals": totals(rules, tables, decisions)}


def _figures_text(counted: dict[str, Any]) -> str:
    head = ("clause", "rules", "cases", "decisions", "clocks")
    rows = [
        (c["clause"], len(c["rules"]), c["cases"], c["decision_cases"], len(c["duties"])) for c in counted["clauses"]
    ]
    total = counted["totals"]
    rows.append(("all", total["rules"], total["cases"], total["decision_cases"], total["duties"]))
    return "\n".join("".join(f"{cell!s:<11}" for cell in row).rstrip() for row in (head, *rows))


def _instant(text: str) -> datetime:
    """A bare date is a day without a time, so its first day is not counted: noon stands for it."""
    try:
        return datetime.combine(date.fromisoformat(text), time(12), KST)
    except ValueError:
        found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=KST)


def _found(tables: dict[str, str]) -> list[str]:
    try:
        return list(faults(load(Settings.read().affiliates_dir), tables))
    except PolicyError as error:
        return error.faults


def _load() -> Rules:
    try:
        return load(Settings.read().affiliates_dir)
    except PolicyError as error:
        typer.echo("\n".join(error.faults), err=True)
        raise typer.Exit(EXIT_DRIFT) from error


def _known(rules: Rules, given: Given) -> None:
    named = given.sharing | given.marketing.keys() | given.held.keys()
    if unknown := named - rules.affiliates.keys():
        _usage(f"not an affiliate: {', '.join(sorted(unknown))}; known: {', '.join(sorted(rules.affiliates))}")
    for profile in given.profiles:
        service, _, role = profile.partition(":")
        if service not in rules.services or rules.services[service].role(role) is None:
            _usage(f"no such profile: {profile}; known: {', '.join(_profiles(rules))}")


def _profiles(rules: Rules) -> Iterator[str]:
    for service in rules.services.values():
        yield from (f"{service.id}:{role.id}" for role in service.roles)


def _rule_text(rule: Rule) -> str:
    purposes = f"\n  목적 {', '.join(rule.purposes)}" if rule.purposes else ""
    return f"{rule.id}  ({rule.effective_from:%Y-%m-%d}~)\n  {rule.ko}\n  {rule.en}\n  {_cited(rule)}{purposes}"


def _cited(rule: Rule) -> str:
    return f"방침 {', '.join(rule.clause)} · {', '.join(rule.statute)}"


def _explained(rules: Rules, recipient: str, outcome: Outcome) -> dict[str, Any]:
    kind = "affiliate" if recipient in rules.affiliates else "third_party"
    parts = outcome.model_dump(mode="json", exclude_defaults=True, exclude={"because"})
    shown = {k: sorted(v) if isinstance(v, list) else v for k, v in parts.items()}
    because = [rules.rules[i].model_dump(mode="json") for i in sorted(outcome.because or ())]
    return {"recipient": recipient, "kind": kind, **shown, "because": because}


def _explained_text(rules: Rules, recipient: str, outcome: Outcome) -> str:
    shown = _explained(rules, recipient, outcome)
    details = [
        f"  {key}: {_joined(shown[key])}"
        for key in ("stop", "roles", "marketing", "items", "suspended")
        if shown.get(key)
    ]
    because = [_because(rules.rules[i]) for i in sorted(outcome.because or ())]
    return "\n".join([f"{recipient}: {outcome.does}", *details, *because])


def _because(rule: Rule) -> str:
    return f"  ← {rule.id}  {rule.ko}\n      {_cited(rule)}"


def _joined(value: str | list[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _pairs(values: Many, option: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for value in values or ():
        name, colon, parts = value.partition(":")
        if not (name and colon and parts):
            _usage(f"{option} takes NAME:PART+PART")
        found[name] = found.get(name, ()) + tuple(parts.split("+"))
    return found


def _usage(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(EXIT_USAGE)
