"""The harness: medians and spreads by hand, and a gate that lets nothing worse pass unseen."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from benchmarks import harness
from benchmarks.harness import Run

WORKLOAD = {"events": 100}
COUNTERS = {"statements": 0.01, "rows": 3.0}


def _side(*seconds: float) -> tuple[list[float], harness.Side]:
    """A side that handles 100 events in each of these times, and what it was asked so far."""
    asked: list[float] = []
    times: Iterator[float] = iter(seconds)

    async def run() -> Run:
        asked.append(next(times))
        return Run(100, asked[-1], cpu_s=asked[-1] / 2)

    return asked, run


async def test_sides_take_turns_and_the_warm_up_does_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    ours, run_ours = _side(9.0, 2.0, 4.0, 1.0)
    bound, run_bound = _side(9.0, 1.0, 1.0, 1.0)
    figures = await harness.compare(run_ours, run_bound, runs=3)
    assert (len(ours), len(bound)) == (4, 4)
    # 100 events in 2, 4 and 1 s
    assert figures["ours"]["per_s"] == {"median": 50.0, "min": 25.0, "max": 100.0, "spread": 1.5}
    assert figures["bound"]["per_s"] == {"median": 100.0, "min": 100.0, "max": 100.0, "spread": 0.0}
    # of each pair, not of the medians
    assert figures["ratio"] == {"median": 0.5, "min": 0.25, "max": 1.0, "spread": 1.5}
    # half of 2 s for 100 events
    assert figures["ours"]["cpu_us_per_event"]["median"] == 10_000.0
    assert capsys.readouterr().err.startswith("warm-up: ours 11/s, bound 11/s\n")


async def test_no_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="--runs"):
        await harness.compare(_side()[1], _side()[1], runs=0)


def _baseline(folder: Path) -> Path:
    path = folder / "baseline.json"
    harness.record("relay", WORKLOAD, COUNTERS, path)
    return path


def test_what_is_no_worse_passes_the_gate(tmp_path: Path) -> None:
    path = _baseline(tmp_path)
    assert harness.breaches("relay", WORKLOAD, COUNTERS, path) == []
    assert harness.breaches("relay", WORKLOAD, {"statements": 0.001, "rows": 3.14}, path) == []


@pytest.mark.parametrize(
    ("workload", "counters", "said"),
    [
        (WORKLOAD, {"statements": 0.01, "rows": 3.2}, "rows per event rose from 3 to 3.2"),
        (WORKLOAD, {"statements": 0.01}, "counter rows is in one"),
        (WORKLOAD, COUNTERS | {"bytes": 1.0}, "counter bytes is in one"),
        ({"events": 50}, COUNTERS, "the baseline is of"),
    ],
)
def test_what_is_worse_or_not_comparable_is_said(
    tmp_path: Path, workload: dict[str, int], counters: dict[str, float], said: str
) -> None:
    found = harness.breaches("relay", workload, counters, _baseline(tmp_path))
    assert [said in line for line in found] == [True]


def test_a_benchmark_without_a_baseline_does_not_pass(tmp_path: Path) -> None:
    assert "no baseline" in harness.breaches("relay", WORKLOAD, COUNTERS, tmp_path / "none.json")[0]


def test_a_new_baseline_leaves_the_others(tmp_path: Path) -> None:
    path = _baseline(tmp_path)
    harness.record("http", {}, {"rows": 1.0}, path)
    assert orjson.loads(path.read_bytes()).keys() == {"relay", "http"}


async def test_of_three_sides_the_first_is_set_against_each_other_one_in_the_same_round() -> None:
    sides = {"ours": _side(2.0, 1.0)[1], "one": _side(1.0, 1.0)[1], "other": _side(4.0, 2.0)[1]}
    figures = await harness.in_turn(sides, runs=2, warm_up=0)
    # 100 events in 2 and 1 s against 1 and 1 s, and against 4 and 2 s
    assert {name: figures["ratio"][name]["median"] for name in ("one", "other")} == {"one": 0.75, "other": 2.0}
