"""Has this affiliate's canary sent again and again, with its own token, as its own backend would ask: over HTTP.

Whether it came back is for the consent process to say: it hears the receipts, and goes on counting when this process
has fallen silent.
"""

import asyncio
import contextlib
import random
from typing import Final

import aiohttp
import structlog

from services.runtime.settings import Settings

TIMEOUT: Final = aiohttp.ClientTimeout(total=15)
log = structlog.get_logger("canary")


async def run(settings: Settings, affiliate: str, token: str, stop: asyncio.Event) -> None:
    """Ask for one every `canary_interval_s` seconds until `stop`; 0 is never. What is away is asked again next time."""
    if not settings.canary_interval_s:
        await stop.wait()
        return
    assert settings.consent_url
    url = f"{settings.consent_url.rstrip('/')}/v1/affiliates/{affiliate}/canary"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT) as session:
        while not stop.is_set():
            await _send(session, url)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), settings.canary_interval_s * random.uniform(0.9, 1.0))  # noqa: S311


async def _send(session: aiohttp.ClientSession, url: str) -> None:
    try:
        async with session.put(url, allow_redirects=False) as answer:
            if answer.status != 200:
                log.warning("canary_refused", status=answer.status)
    except (aiohttp.ClientError, TimeoutError) as error:
        log.warning("canary_put_off", error=type(error).__name__)
