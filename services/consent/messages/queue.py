"""Queue a message to a member, in the transaction of what causes it. What other parts of consent call."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from uuid_utils import uuid7

from services.consent import duties
from services.consent.messages import model
from services.consent.store import SQL
from services.policy.messages import load
from services.runtime.postgres import Connection


async def queue(
    tx: Connection,
    kind: str,
    member_ref: str,
    data: Mapping[str, Any],
    dedupe_key: str,
    at: datetime,
    *,
    duty_from: datetime | None = None,
) -> str | None:
    """Queue one message and return its id; None when the key was used before, the member refused this kind, or is a
    canary.

    `kind` and the fields of `data` are those of `rules/messages.toml` (dates as `date`, aware `datetime` or text,
    `sender` where the kind wants one, and if you like `medium` and `language`, else email and ko); nothing of it is a
    value of the member. A kind with a duty opens it, with the message as its subject, from `duty_from` (default `at`);
    sending closes it. Raises model.MessageDataError.
    """
    messages = load()
    described = messages.kinds[kind]
    way = model.way(messages, described, data)
    stored = model.checked(messages, described, data)
    if described.refusable and await tx.fetchval(SQL["message_refused"], member_ref, kind):
        return None
    message_id = str(uuid7())
    row = (message_id, kind, member_ref, *way, stored, dedupe_key, at)
    if await tx.execute(SQL["message_insert"], *row) != "INSERT 0 1":
        return None
    if described.duty is not None:
        await duties.open_duty(tx, described.duty, message_id, duty_from or at, member_ref=member_ref)
    return message_id


async def unsent_for(tx: Connection, member_refs: Sequence[str]) -> dict[str, int]:
    """Return how many messages still wait for whom of these: a key is shredded when there is none (design.md 2.8)."""
    return {row["member_ref"]: row["messages"] for row in await tx.fetch(SQL["message_unsent_for"], member_refs)}
