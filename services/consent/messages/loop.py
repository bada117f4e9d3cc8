"""The part of the consent process that sends: the adapters of the settings, the sender and the minute's scan."""

import asyncio

import httpx

from services.consent.handlers import Consent
from services.consent.messages import adapters, scan
from services.consent.messages.sender import Sender
from services.runtime.settings import Settings


async def run(settings: Settings, consent: Consent, stop: asyncio.Event) -> None:
    """Queue what becomes due and send what waits until `stop`. Raises AdapterError for a setting that is no use."""
    async with httpx.AsyncClient(trust_env=False, follow_redirects=False) as client:
        found = adapters.from_settings(settings, consent.clock, client)
        sender = Sender(consent, found, public_url=adapters.public_url(settings))
        await asyncio.gather(sender.run(stop), scan.run(consent, stop))
