"""`dongui replay execute`: approve a saved plan as its second person, then run it into the stores or into a shadow."""

import asyncio
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import SecretStr

from services.commands import ledger_replay, stores
from services.commands.context import (
    DRIFT,
    PARTIAL,
    USAGE,
    Api,
    Format,
    consent_api,
    fail,
    load_settings,
    print_json,
    print_table,
    tell,
    wants_json,
)
from services.commands.notices_again import notices_again
from services.commands.principals import token_of
from services.commands.troubles import told
from services.propagator.handlers import Propagator
from services.propagator.replay import executor, shadow
from services.propagator.replay import plan as plans
from services.propagator.replay.executor import CancelledReplayError, Executor, Progress
from services.propagator.replay.plan import Plan, PlanError
from services.propagator.replay.shadow import Comparison
from services.runtime import tracing
from services.runtime.settings import Settings

ROLE: Final = "sre"
Compared = dict[str, Comparison]


def execute(
    plan: Annotated[Path, typer.Argument(help="The file that `replay plan` wrote")],
    approved_by: Annotated[str, typer.Option("--approved-by", metavar="PRINCIPAL", help="Never who planned it")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask")] = False,
    shadow_: Annotated[bool, typer.Option("--shadow", help="Build new stores beside and compare them")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the shadow databases")] = False,
    output: Format = "text",
) -> None:
    """Run an approved plan. Run it again after any stop: it goes on where it was. Exit 3 when a shadow differs."""
    as_json = wants_json(output)
    settings = load_settings().require("kafka", "affiliate_dsns", "affiliate_tokens", "consent_url", "service_token")
    made, sha256 = _read(plan)
    for share in made.shares:
        stores.known(settings, share.affiliate)
    _confirm(made, yes)
    tracing.start(settings, "dongui-replay")
    row = _approved(settings, made, sha256, approved_by)
    if row["state"] == "completed":
        fail("this replay is completed; plan a new one")
    with consent_api(settings) as api:
        run = Run(settings, made, sha256, api, row["progress"].get("positions", {}))
        found = run.into_shadow(keep) if shadow_ else run.into_live()
    _print(made, found, as_json)
    if any(c.count for c in found.values()):
        raise typer.Exit(DRIFT)


def _read(path: Path) -> tuple[Plan, str]:
    try:
        return plans.from_file(path.read_bytes())
    except OSError as error:
        fail(f"cannot read {path}: {error.strerror}")
    except PlanError as error:
        fail(str(error))


def _confirm(made: Plan, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        fail("this reads history again; add --yes where nobody can be asked", USAGE)
    names = ", ".join(s.affiliate for s in made.shares)
    typer.confirm(f"Read {made.total} records again for {names}?", abort=True, err=True)


def _approved(settings: Settings, made: Plan, sha256: str, principal: str) -> dict[str, Any]:
    """Approve with the second person's own token: the service refuses the planner's."""
    approver = settings.model_copy(update={"service_token": SecretStr(token_of(settings, principal, ROLE))})
    with consent_api(approver) as api:
        answer: dict[str, Any] = api.post(f"/v1/replays/{made.plan_id}/approve", {"sha256": sha256})
    return answer


class Run:
    """One run of an approved plan, told to the consent service and on stderr."""

    def __init__(self, settings: Settings, plan: Plan, sha256: str, api: Api, resume: Mapping[str, int]) -> None:
        self._settings = settings
        self._plan = plan
        self._sha256 = sha256
        self._api = api
        self._resume = resume

    def into_live(self) -> Compared:
        """Apply the plan to the live stores."""
        progress: Progress = told(partial(self._noted, self._live))
        _say(progress, ", done")
        self._report("completed", progress)
        return {}

    def into_shadow(self, keep: bool) -> Compared:
        """Apply the plan to empty stores beside, and return how each compares with its live one.

        It reports nothing: the state and the positions of a replay are those of its live run, which a shadow may
        come before, run beside, or follow when it has failed.
        """
        if not self._plan.selection.whole_history:
            fail("a shadow needs whole histories: plan with --all, --affiliate or --member alone", USAGE)
        progress: Progress
        compared: Compared
        progress, compared = told(partial(_unnoted, partial(self._shadow, keep)))
        _say(progress, ", done")
        return compared

    def _noted(self, work: Any) -> Any:
        """Run; whatever ends it early is noted, so that `replay list` does not show it as running for ever."""
        try:
            return asyncio.run(work())
        except CancelledReplayError:
            fail("cancelled; what was applied stays", PARTIAL)
        except BaseException:
            self._report("failed", Progress(0, self._plan.total, self._resume, 0))
            tell("the replay did not end; run the same command again, it goes on where it was")
            raise

    async def _live(self) -> Progress:
        async with stores.live(self._settings, executor.leaves(self._plan.effects)) as opened:
            if self._plan.source == "consent":
                return await ledger_replay.fill(self._settings, self._plan, self._tell, opened)
            progress = await Executor(self._settings, self._plan, self._tell, self._resume).run(opened)
        if "notices" in self._plan.effects:
            tell(f"{await notices_again(self._settings, self._plan)} records of correction notices read again")
        return progress

    async def _shadow(self, keep: bool) -> tuple[Progress, Compared]:
        names = tuple(s.affiliate for s in self._plan.shares)
        async with (
            stores.live(self._settings, lambda _: False) as live,
            stores.shadows(self._settings, names, self._plan.plan_id, keep) as beside,
        ):
            for name in names:
                await shadow.copy_suppressions((await live(name)).pool, (await beside(name)).pool)
            tables = shadow.TABLES
            if self._plan.source == "consent":
                progress = await ledger_replay.fill(self._settings, self._plan, self._watch, beside)
                tables = shadow.VISIBLE
            else:
                progress = await Executor(self._settings, self._plan, self._watch, {}).run(beside)
            compared = {n: await self._compared(await live(n), await beside(n), tables) for n in names}
        return progress, compared

    async def _compared(self, live: Propagator, beside: Propagator, tables: tuple[str, ...]) -> Comparison:
        return await shadow.compare(live.pool, beside.pool, tables, only=self._plan.selection.member)

    async def _tell(self, progress: Progress) -> None:
        """Note how far the live run is, here and at the consent service; stop when it was cancelled there."""
        self._resume = progress.positions
        _say(progress)
        _go_on(await asyncio.to_thread(self._report, "running", progress))

    async def _watch(self, progress: Progress) -> None:
        """Say here how far a shadow is; stop when the replay was cancelled."""
        _say(progress)
        _go_on(await asyncio.to_thread(self._api.get, f"/v1/replays/{self._plan.plan_id}"))

    def _report(self, state: str, progress: Progress) -> dict[str, Any]:
        told_ = {"done": progress.done, "total": progress.total, "positions": dict(progress.positions)}
        path = f"/v1/replays/{self._plan.plan_id}/progress"
        answer: dict[str, Any] = self._api.post(path, {"sha256": self._sha256, "state": state, **told_})
        return answer


def _unnoted(work: Any) -> Any:
    try:
        return asyncio.run(work())
    except CancelledReplayError:
        fail("cancelled; a shadow changes nothing", PARTIAL)


def _say(progress: Progress, end: str = "") -> None:
    eta = "" if end or progress.eta_s is None else f", {progress.eta_s:.0f} s left"
    tell(f"{progress.done}/{progress.total} records, {progress.per_s:.0f}/s{eta}{end}")


def _go_on(replay: Mapping[str, Any]) -> None:
    if replay["state"] == "cancelled":
        raise CancelledReplayError


def _print(made: Plan, found: Compared, as_json: bool) -> None:
    if as_json:
        compared = {
            name: {"rows": c.rows, "moved": c.moved, "differences": c.count, "shown": [vars(d) for d in c.differences]}
            for name, c in found.items()
        }
        print_json({"plan_id": made.plan_id, "state": "completed", "total": made.total, "shadow": compared})
        return
    if found:
        rows = [(name, c.rows, c.moved, c.count) for name, c in found.items()]
        print_table(("AFFILIATE", "ROWS COMPARED", "MOVED MEANWHILE", "DIFFERENCES"), rows)
    for name, c in found.items():
        for d in c.differences:
            typer.echo(f"{name}  {d.table}  {d.member_ref}  {d.kind}")
