"""A loop that hangs or does not get on is stalled: the probe says so, and in the end the process leaves."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI

from services.runtime import probes, pulse
from services.runtime.health import HealthServer
from services.runtime.pulse import Pulse


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The only loops are the test's, by the test's clock."""
    made = Time()
    monkeypatch.setattr(pulse, "_running", set())
    monkeypatch.setattr(pulse.Pulse.__init__, "__defaults__", (made,))
    return made


def test_a_loop_that_comes_round_and_has_nothing_to_do_is_never_stalled(time: Time) -> None:
    with pulse.of("idle") as beat:
        for _ in range(10):
            time.now += 100
            beat.turn(waits=False)
        assert pulse.stalled() == []


def test_a_loop_that_does_not_come_round_is_stalled_until_it_ends(time: Time) -> None:
    with pulse.of("hung"):
        time.now += 119
        assert pulse.stalled() == []
        time.now += 1
        assert pulse.stalled() == ["hung"]
    assert pulse.stalled() == []


def test_a_loop_that_turns_without_getting_on_is_stalled_and_getting_on_ends_it(time: Time) -> None:
    with pulse.of("busy") as beat:
        for _ in range(4):
            beat.turn(waits=True)
            time.now += 30
        beat.turn(waits=True)
        assert beat.stalled_s() == 120, "since the first look that found work"
        beat.moved()
        assert beat.stalled_s() == 0
        time.now += 10
        beat.turn(waits=True)
        assert beat.stalled_s() == 10


def test_while_it_is_unknown_whether_work_waits_what_was_known_stands() -> None:
    time = Time()
    beat = Pulse("away", time)
    beat.turn(waits=True)
    time.now += 60
    beat.turn()
    assert beat.stalled_s() == 60
    beat.turn(waits=False)
    assert beat.stalled_s() == 0


async def test_the_guard_leaves_a_process_that_only_a_new_start_can_help(time: Time) -> None:
    stop = asyncio.Event()
    with pulse.of("stream"):
        time.now += 299
        watching = asyncio.create_task(pulse.guard(stop))
        await asyncio.sleep(0.05)
        assert not watching.done()
        stop.set()
        await watching
        time.now += 1
        with pytest.raises(pulse.StalledError, match="stream"):
            await pulse.guard(asyncio.Event())


async def test_the_probe_of_an_http_process_names_the_loop(time: Time) -> None:
    app = FastAPI()

    async def ready() -> dict[str, bool]:
        return {}

    probes.install(app, ready)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/livez")).json() == {"status": "ok"}
        with pulse.of("consent-receipts"):
            time.now += 120
            answer = await client.get("/livez")
    assert (answer.status_code, answer.json()) == (503, {"status": "stalled", "stalled": ["consent-receipts"]})


async def test_so_does_the_probe_of_a_process_without_an_api(time: Time) -> None:
    async def ready() -> dict[str, bool]:
        return {}

    server = HealthServer("127.0.0.1", 0, live=lambda: True, ready=ready)
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
            assert (await client.get("/livez")).status_code == 200
            with pulse.of("tmax-os-relay"):
                time.now += 120
                answer = await client.get("/livez")
    finally:
        await server.stop()
    assert (answer.status_code, answer.json()) == (503, {"status": "stalled", "stalled": ["tmax-os-relay"]})
