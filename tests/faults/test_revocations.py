"""A revocation under faults: late ones are seen by who looks, and none is later than the bound."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from services.devstack.system import System
from tests.faults.conftest import eventually
from tests.support.driver import Driver
from tests.support.expected import Expected
from tests.support.oracle import Oracle

AFFILIATE = "tmax-os"
BOUND_S = 30.0
"""From the return of a worker to the last store; without faults it is a fraction of a second."""


@pytest.mark.f(36)
async def test_a_revocation_while_a_worker_is_dead_is_seen_and_applied_within_the_bound(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle
) -> None:
    one = driver(501)
    people = [await one.sign_up() for _ in range(5)]
    for person in people:
        if AFFILIATE not in person.sharing:
            await _share(one, person, granted=True)
    assert await oracle.settled(expected) == []
    system.kill(f"propagator-{AFFILIATE}")
    try:
        for person in people[:-1]:
            await _share(one, person, granted=False)
        await one.leave(people[-1])
        seen = await _status(system)
    finally:
        system.start_process(f"propagator-{AFFILIATE}")
    back = time.monotonic()
    assert seen["changes"] >= 5
    assert seen["oldest_withdrawal_at"] is not None

    async def none_waits() -> bool:
        return (await _status(system))["changes"] == 0

    await eventually(none_waits, BOUND_S)
    assert time.monotonic() - back < BOUND_S
    assert await oracle.settled(expected) == []
    await system.wait_ready(f"propagator-{AFFILIATE}")


async def _share(one: Driver, person: Any, *, granted: bool) -> None:
    body = {"granted": granted, "recipients": [AFFILIATE], "notice_version": "2021-02-22"}
    answer = await one.send("PUT", f"/v1/members/{person.ref}/consents/sharing", body, person=person)
    one.expected.accept(person, answer)
    (person.sharing.add if granted else person.sharing.discard)(AFFILIATE)


async def _status(system: System) -> dict[str, Any]:
    """What `dongui status` and the console's first page show of one affiliate."""
    told = system.described()
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {told['tokens']['sre']}"}) as client:
        answer = await client.get(f"{told['consent_url']}/v1/status")
    found = [r for r in answer.json()["recipients"] if r["recipient"] == AFFILIATE]
    return found[0] if found else {"changes": 0, "oldest_withdrawal_at": None}
