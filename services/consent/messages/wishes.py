"""What follows a member's change: result notices are queued, and at withdrawal what still waits keeps its address."""

import orjson

from services.consent import sealing
from services.consent.messages import model
from services.consent.messages.queue import queue
from services.consent.model import Member, Step
from services.consent.records import Context
from services.consent.store import SQL
from services.policy.messages import load
from services.runtime.postgres import Connection


async def follow(tx: Connection, before: Member | None, step: Step, context: Context, data_key: bytes) -> None:
    """Queue the messages of a change, in its transaction. `before` is None for a new member."""
    ref = step.member.member_ref
    for wanted in model.following(before, step, context.change_id, context.given_at or context.at):
        await queue(tx, wanted.kind, ref, wanted.data, wanted.dedupe_key, context.at)
    if step.change == "withdrawn" and before is not None:
        await _keep_address(tx, before, data_key)


async def _keep_address(tx: Connection, before: Member, data_key: bytes) -> None:
    """Seal address and name into each waiting message: the columns are NULL from this transaction on."""
    contact = orjson.dumps(contact_of(before))
    waiting = await tx.fetch(SQL["message_waiting_for"], before.member_ref)
    for message_id in (row["message_id"] for row in waiting):
        kept = sealed(message_id, before.member_ref, contact, data_key)
        await tx.execute(SQL["message_seal"], message_id, kept)


def contact_of(member: Member) -> dict[str, str]:
    """Return what a message needs of a member: the name, and where the member is reached by which medium."""
    values = member.values()
    wanted = {"name", *(item for items in load().reach.values() for item in items)}
    return {item: str(values[item]) for item in sorted(wanted) if item in values}


def sealed(message_id: str, member_ref: str, contact: bytes, data_key: bytes) -> bytes:
    """Return the contact sealed for this one message."""
    return sealing.seal(data_key, member_ref, _label(message_id), contact)


def unsealed(message_id: str, member_ref: str, token: bytes, data_key: bytes) -> dict[str, str]:
    """Return the contact again. Raises SealError for one of another message or member."""
    found: dict[str, str] = orjson.loads(sealing.unseal(data_key, member_ref, _label(message_id), token))
    return found


def _label(message_id: str) -> str:
    return f"message/{message_id}"
