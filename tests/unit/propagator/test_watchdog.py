"""Liveness is progress: a lag without an acknowledgement turns the probe red, and in the end the process goes."""

import pytest

from services.propagator.watchdog import NOTHING_ASSIGNED, UNASSIGNED_S, Watchdog


class World:
    def __init__(self) -> None:
        self.now, self.acked, self.behind = 1000.0, 1000.0, 0
        self.known = True

    async def lag(self) -> int | None:
        return self.behind if self.known else None

    def watchdog(self) -> Watchdog:
        return Watchdog(
            "unit",
            lag=self.lag,
            acked_at=lambda: self.acked,
            monotonic=lambda: self.now,
            stall_s=120,
            exit_s=300,
        )


async def test_nothing_to_do_is_not_a_stall_however_long_it_lasts() -> None:
    world = World()
    dog = world.watchdog()
    await dog.look()
    world.now += 10_000
    await dog.look()
    assert dog.live()
    assert not dog.is_lost()


@pytest.mark.f(6)
async def test_a_lag_without_acknowledgement_is_not_live_after_two_minutes_and_lost_after_five() -> None:
    world = World()
    dog = world.watchdog()
    world.now += 5_000
    world.behind = 3
    await dog.look()
    assert dog.live()
    world.now += 119
    assert dog.live()
    world.now += 1
    assert not dog.live()
    assert not dog.is_lost()
    world.now += 180
    assert dog.is_lost()


async def test_each_acknowledgement_starts_the_clock_again_while_there_is_a_lag() -> None:
    world = World()
    dog = world.watchdog()
    world.behind = 1_000_000
    for _ in range(20):
        await dog.look()
        world.now += 100
        world.acked = world.now
    assert dog.live()
    world.now += 121
    assert not dog.live()


async def test_an_unknown_lag_neither_starts_nor_stops_the_clock() -> None:
    world = World()
    dog = world.watchdog()
    world.known = False
    await dog.look()
    world.now += 500
    assert dog.live()
    world.known, world.behind = True, 1
    await dog.look()
    world.known = False
    world.now += 150
    await dog.look()
    assert not dog.live()
    world.known, world.behind = True, 0
    await dog.look()
    assert dog.live()


@pytest.mark.f(6)
async def test_one_that_owns_nothing_while_the_broker_answers_goes() -> None:
    """Found by chaos: after a broker's return Faust assigned nothing to the notices' only worker, for good."""
    world = World()
    dog = world.watchdog()
    world.behind = NOTHING_ASSIGNED
    await dog.look()
    world.now += UNASSIGNED_S - 1
    await dog.look()
    assert not dog.is_idle()
    world.now += 1
    assert dog.is_idle()
    world.behind = 0
    await dog.look()
    assert not dog.is_idle()


async def test_while_the_broker_is_away_nothing_owned_is_no_reason_to_go() -> None:
    world = World()
    dog = world.watchdog()
    world.behind = NOTHING_ASSIGNED
    await dog.look()
    world.known = False
    world.now += 2 * UNASSIGNED_S
    await dog.look()
    assert not dog.is_idle()
