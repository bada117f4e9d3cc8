"""What a run of a plan tells the consent service: the live one all, a shadow nothing. The stores are stood in for."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer

from services.commands import replay_run
from services.commands.context import Api
from services.commands.replay_run import Run
from services.propagator.replay import shadow
from services.propagator.replay.executor import Progress
from services.propagator.replay.plan import Plan, Range, Selection, Share
from services.runtime.settings import Settings

PLAN = Plan(
    plan_id="01a2108c-3f1d-72d8-8418-49ecf61b6044",
    planned_at=datetime(2026, 11, 23, tzinfo=UTC),
    reason="drill",
    source="kafka",
    selection=Selection(affiliates=("tmax-os",)),
    rate=5000,
    shares=(
        Share(
            affiliate="tmax-os",
            topic="dongui.affiliate.tmax-os.v1",
            ranges=(Range(partition=0, start=0, end=9, first=0),),
        ),
    ),
    estimated_s=1.0,
    not_sent={},
)
HERE = f"/v1/replays/{PLAN.plan_id}"


class Service:
    """The consent service's side of one replay: its state, and what was posted."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.posted: list[tuple[str, Any, Any]] = []

    def get(self, path: str) -> Any:
        assert path == HERE
        return {"state": self.state}

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        self.posted.append((path, body["state"], body["positions"]))
        return {"state": "cancelled" if self.state == "cancelled" else body["state"]}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """A run of PLAN whose executor reads up to 5 of 9 offsets, reports, and then does what `after` says."""

    @asynccontextmanager
    async def opened(*_: Any) -> AsyncIterator[Any]:
        async def store(_: str) -> Any:
            return SimpleNamespace(pool=None)

        yield store

    async def copied(*_: Any) -> int:
        return 0

    async def compared(*_: Any, **__: Any) -> shadow.Comparison:
        return shadow.Comparison(rows=5)

    monkeypatch.setattr(replay_run.stores, "live", opened)
    monkeypatch.setattr(replay_run.stores, "shadows", opened)
    monkeypatch.setattr(shadow, "copy_suppressions", copied)
    monkeypatch.setattr(shadow, "compare", compared)

    def made(service: Service, after: BaseException | None = None, resume: Mapping[str, int] | None = None) -> Run:
        class Executor:
            def __init__(self, _: Settings, __: Plan, reports: Any, began_at: Mapping[str, int]) -> None:
                self.reports, self.began_at = reports, began_at

            async def run(self, _: Any) -> Progress:
                assert self.began_at == (resume or {})
                await self.reports(Progress(5, 9, {"tmax-os/0": 5}, 1.0))
                if after is not None:
                    raise after
                return Progress(9, 9, {"tmax-os/0": 9}, 1.0)

        monkeypatch.setattr(replay_run, "Executor", Executor)
        return Run(Settings(), PLAN, "0" * 64, cast(Api, service), resume or {})

    return made


def test_a_shadow_leaves_the_replay_as_it_is(run: Callable[..., Run], capsys: pytest.CaptureFixture[str]) -> None:
    service = Service("approved")
    assert run(service).into_shadow(keep=False)["tmax-os"].rows == 5
    assert service.posted == []
    assert "5/9 records" in capsys.readouterr().err


def test_a_shadow_that_is_interrupted_leaves_nothing_to_go_on_from(run: Callable[..., Run]) -> None:
    service = Service("approved")
    with pytest.raises(KeyboardInterrupt):
        run(service, after=KeyboardInterrupt()).into_shadow(keep=False)
    assert service.posted == []


def test_a_shadow_of_a_replay_that_ended_meanwhile_goes_on_unless_it_was_cancelled(run: Callable[..., Run]) -> None:
    assert run(Service("completed")).into_shadow(keep=False)
    service = Service("cancelled")
    with pytest.raises(typer.Exit) as stopped:
        run(service).into_shadow(keep=False)
    assert (stopped.value.exit_code, service.posted) == (4, [])


def test_a_live_run_tells_its_positions_and_its_end(run: Callable[..., Run]) -> None:
    service = Service("approved")
    assert run(service, resume={"tmax-os/0": 2}).into_live() == {}
    assert service.posted == [
        (f"{HERE}/progress", "running", {"tmax-os/0": 5}),
        (f"{HERE}/progress", "completed", {"tmax-os/0": 9}),
    ]


def test_a_live_run_that_is_interrupted_tells_where_to_go_on(run: Callable[..., Run]) -> None:
    service = Service("approved")
    with pytest.raises(KeyboardInterrupt):
        run(service, after=KeyboardInterrupt()).into_live()
    assert service.posted[-1] == (f"{HERE}/progress", "failed", {"tmax-os/0": 5})
    cancelled = Service("cancelled")
    with pytest.raises(typer.Exit) as stopped:
        run(cancelled).into_live()
    assert (stopped.value.exit_code, cancelled.posted) == (4, [(f"{HERE}/progress", "running", {"tmax-os/0": 5})])
