"""A seed's faults are a function of the seed; no two hold one thing at once; all have ended before the run has."""

import pytest

from tests.chaos.schedule import KINDS, QUIET_S, SOAK, schedule

MINUTE_S = 60.0


def test_a_seed_says_the_same_every_time_and_another_seed_something_else() -> None:
    assert schedule(7, MINUTE_S) == schedule(7, MINUTE_S)
    assert schedule(7, MINUTE_S) != schedule(8, MINUTE_S)
    first = schedule(7, MINUTE_S)[0]
    assert str(first) == "    3.0 s  kill            propagator-tmax-anc     2.4 s"


@pytest.mark.parametrize("seed", range(30))
def test_faults_end_within_the_run_and_share_nothing(seed: int) -> None:
    faults = schedule(seed, MINUTE_S)
    held: dict[str, float] = {}
    for fault in faults:
        assert fault.at_s >= QUIET_S
        assert fault.at_s + fault.for_s < MINUTE_S
        assert fault.target in KINDS[fault.kind].targets
        for thing in (t.format(fault.target) for t in KINDS[fault.kind].holds):
            assert held.get(thing, 0.0) < fault.at_s
            held[thing] = fault.at_s + fault.for_s
    assert len(faults) >= 8


def test_twenty_seeds_do_every_kind() -> None:
    assert {fault.kind for seed in range(1, 21) for fault in schedule(seed, MINUTE_S)} == set(KINDS)


def test_in_a_soak_no_process_of_ours_is_killed() -> None:
    kinds = {fault.kind for seed in range(5) for fault in schedule(seed, 1800, kinds=SOAK, scale=3)}
    assert kinds
    assert not kinds & {"kill", "term", "disk_full"}
