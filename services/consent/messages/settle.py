"""Ends the duties that a message was to do: once it has gone, or once nobody is left whom it could tell."""

from datetime import datetime
from typing import Final

import asyncpg

from services.consent import duties
from services.consent.messages import model
from services.policy.messages import load
from services.runtime.postgres import Connection

ERASED: Final = "member_erased"
NOBODY_LEFT: Final = frozenset({ERASED, "key_destroyed"})
"""Reasons of a message that is dropped because its member is destroyed. Any other leaves the duty to staff."""


async def settle(tx: Connection, message: asyncpg.Record, at: datetime, reason: str | None = None) -> None:
    """End the duties of a message that was sent, or with `reason` of one that reaches nobody any more."""
    kind = load().kinds[message["kind"]]
    for done in model.ends(kind, message["message_id"], message["data"]):
        await duties.close_duty(tx, done.duty, done.subject, at, reason or done.outcome)
