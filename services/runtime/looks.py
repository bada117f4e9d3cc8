"""What a gauge shows is looked at again and again; a database that is away is looked at again later."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from services.runtime.postgres import DATABASE_ERRORS

LOOK_S: Final = 10.0
log = structlog.get_logger("looks")


async def watch(look: Callable[[], Awaitable[None]], stop: asyncio.Event, *, unknown: str, **known: str) -> None:
    """Look every few seconds until `stop`; log `unknown`, with what is `known`, when the database does not answer."""
    while not stop.is_set():
        try:
            await look()
        except DATABASE_ERRORS as error:
            log.warning(unknown, error=type(error).__name__, **known)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_S)
