"""The page says what the results say: nothing found is a zero, something found is counted under its name."""

from copy import deepcopy
from typing import Any

import pytest

from tests.chaos import measure, report
from tests.chaos.load import Timed
from tests.chaos.measure import Measures
from tests.support.expected import Person

SEED: dict[str, Any] = {
    "plan": {"seed": 7, "seconds": 60.0, "rate": 8.0, "soak": False},
    "command": "python -m tests.chaos --seed 7 --minutes 1 --rate 8",
    "machine": "2 cores, Python 3.11.7, load average 1.0",
    "changes": 400,
    "members": 70,
    "faults": {"kill": 5, "kafka_cut": 2},
    "left_out": {"disk_full": 1},
    "kills": 5,
    "partitions": 2,
    "connections_cut": 31,
    "duplicates": {"read_again_by_workers": 12, "sent_again_by_relays": 3, "notices_sent_again": 1},
    "notices": {"owed": 40, "overtaken": 2},
    "propagation_s": {"count": 400, "p50": 0.6, "p99": 9.1, "max": 12.5},
    "revocations_s": {"count": 30, "p50": 0.6, "p99": 8.0, "max": 8.0},
    "recovery": {"seconds": 6.25, "after": "broker_kill kafka 7.9 s"},
    "differences": [],
}


def test_figures_of_all_seeds_are_added_up() -> None:
    page = report.page([SEED, SEED])
    for row in (
        "| seeds | 2 |",
        "| changes accepted | 800 |",
        "| **missing** | 0 |",
        "| **stale** | 0 |",
        "| **unexplained** | 0 |",
        "| longest recovery after a fault ended | 6.25 s (broker_kill kafka 7.9 s) |",
        "| longest propagation under faults | 12.5 s |",
        "| kill | 10 |",
        "| disk_full, not possible here | 2 |",
        "| `--seed 7 --minutes 1 --rate 8` | 400 | 7 | 5 | 0.6 | 9.1 | 12.5 | 8.0 | 6.25 | 1.0 | 0 |",
    ):
        assert row in page


def test_what_was_found_is_not_hidden() -> None:
    bad = deepcopy(SEED)
    bad["differences"] = ["tmax-os member x: missing", "tmax-os member y: email differ", "audit: unexplained fact z"]
    page = report.page([bad])
    assert "| **missing** | 1 |" in page
    assert "| **stale** | 1 |" in page
    assert "| **unexplained** | 1 |" in page


def test_without_results_nothing_is_written() -> None:
    with pytest.raises(FileNotFoundError):
        report.page([])


def test_of_one_command_the_last_run_counts() -> None:
    again = SEED | {"changes": 500}
    soak = SEED | {"plan": SEED["plan"] | {"seed": 1, "soak": True}, "command": "python -m tests.chaos --soak"}
    assert report.joined([SEED], [soak, again]) == [soak, again]


def test_the_page_is_made_of_the_results_kept() -> None:
    written = report.PAGE.read_text(encoding="utf-8")
    assert written == report.page(report.kept()), "run python -m tests.chaos --report"


def test_propagation_and_recovery_are_reckoned_from_what_was_seen() -> None:
    expected, person = Timed(), Person("r", "e", "n", set(), {})
    for seq, change_id in enumerate(("a", "b", "c"), 1):
        expected.accept(person, {"seq": seq, "change_id": change_id})
    expected.at = {"a": 100.0, "b": 101.0, "c": 109.0}
    measures = Measures(done={"a": 100.5, "b": 108.0, "c": 109.5})
    assert measure.propagation(expected, measures) == {"count": 3, "p50": 0.5, "p99": 7.0, "max": 7.0}
    assert measure.propagation(expected, measures, {"b"}) == {"count": 1, "p50": 7.0, "p99": 7.0, "max": 7.0}
    ended = [(5.0, "    1.0 s  kill   consent   4.0 s"), (9.0, "    8.0 s  kill   audit   1.0 s")]
    assert measure.longest_recovery(expected, measures, ended, 100.0) == {"seconds": 3.0, "after": "kill consent 4.0 s"}


def test_a_slope_needs_samples_and_is_of_the_second_half() -> None:
    assert measure.slope_mb_per_hour([(0.0, 1.0)] * 5) is None
    rising = [(float(s), 50.0 + (0.01 * s if s >= 20 else 0.0)) for s in range(40)]
    assert measure.slope_mb_per_hour(rising) == pytest.approx(36)
