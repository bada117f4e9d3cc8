"""Third parties without a server: each notice is left to staff, who send it by e-mail or post and enter the answer.

An entry `{"channel": "email"}` or `"post"` in DONGUI_THIRD_PARTIES says so. What staff do is the consent service's
(duties, evidence, answers); here the notice only waits, and ends when the answer comes back or the member is erased.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Mapping
from typing import Any, Final, Literal, cast

import structlog

from services.propagator.notices import store
from services.propagator.notices.attempt import Attempts
from services.propagator.notices.endpoints import EndpointError
from services.propagator.notices.store import Job, Lease
from services.runtime.postgres import DATABASE_ERRORS

CHANNELS: Final = ("email", "post")
BATCH: Final = 100
LOOK_S: Final = 1.0
Channel = Literal["email", "post"]
log = structlog.get_logger("notices")


def channels(third_parties: Mapping[str, Mapping[str, Any]]) -> dict[str, Channel]:
    """Return the third parties that staff tell, each with its channel. Raises EndpointError."""
    return {name: _channel(name, found) for name, found in third_parties.items() if found.get("channel")}


def _channel(name: str, found: Mapping[str, Any]) -> Channel:
    if found["channel"] not in CHANNELS:
        raise EndpointError(name, "channel is email or post; leave it out for a webhook")
    if found.get("url"):
        raise EndpointError(name, "give a url or a channel, not both")
    return cast("Channel", found["channel"])


async def run(attempts: Attempts, told: Mapping[str, Channel], stop: asyncio.Event) -> None:
    """Leave every notice of these third parties to staff, until `stop`."""
    while not stop.is_set():
        try:
            for recipient in await store.due(attempts.pool, dict.fromkeys(told, store.NO_URL), attempts.clock()):
                await _leave(attempts, recipient, told[recipient])
        except DATABASE_ERRORS as error:
            log.warning("notices_database_unavailable", error=type(error).__name__)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_S)


async def _leave(attempts: Attempts, recipient: str, channel: Channel) -> None:
    jobs = await _claimed(attempts, recipient)
    await attempts.warm(jobs)
    for job in jobs:
        await attempts.leave(channel, job)


async def _claimed(attempts: Attempts, recipient: str) -> list[Job]:
    now = attempts.clock()
    lease = Lease(str(uuid.uuid4()), now, now + attempts.plan.lease)
    return await store.claim(attempts.pool, recipient, store.NO_URL, BATCH, lease)
