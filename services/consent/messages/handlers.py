"""The verbs of messages: list them, hand in an advertisement, refuse a kind."""

from dataclasses import asdict, dataclass
from typing import Any

from services.consent import idempotency, store
from services.consent.handlers import Consent
from services.consent.idempotency import Answer, Key
from services.consent.messages.queue import queue
from services.consent.paging import Place
from services.consent.refusals import field, not_found
from services.consent.store import SQL
from services.policy.message_text import Address, AdvertisementError, render
from services.policy.messages import load
from services.runtime.problem import Problem

PAGE = 200


@dataclass(frozen=True)
class Advertisement:
    """What one company wants to tell by one medium."""

    sender: str
    medium: str
    title: str
    text: str


async def listed(consent: Consent, member_ref: str | None, state: str | None, place: Place) -> dict[str, Any]:
    """Return `{"messages": [...], "next"}`, up to 200 behind a cursor; no address and no text."""
    rows = await consent.pool.fetch(place.query("message_list"), place.start, member_ref, state, PAGE)
    messages = [{name: value for name, value in row.items() if name != "position"} for row in rows]
    return {"messages": messages, "next": rows[-1]["position"] if len(rows) == PAGE else None}


async def advertise(consent: Consent, ref: str, asked: Advertisement, key: Key) -> Answer:
    """Queue an advertisement. Raises Problem 404 for nobody, 422 for an unknown company or a text the lint refuses."""
    _lint(consent, asked)
    at = consent.clock()
    async with consent.pool.acquire() as tx, tx.transaction():
        if stored := await idempotency.recall(tx, key):
            return stored
        if await store.read(tx, ref) is None:
            raise not_found()
        dedupe = f"advertisement:{ref}:{key.request_mac.hex()}:{key.value}"
        message_id = await queue(tx, "advertisement", ref, asdict(asked), dedupe, at)
        answer = Answer(202, {"message_id": message_id})
        await idempotency.remember(tx, key, answer)
    return answer


def _lint(consent: Consent, asked: Advertisement) -> None:
    if asked.sender not in load().companies:
        ko, en = "보내는 회사를 확인해 주세요.", "Not a company that sends."
        raise field(422, "unknown_sender", "/sender", ko, en)
    try:
        render(load(), consent.rules, Address("advertisement", asked.sender, "ko"), asdict(asked), "")
    except AdvertisementError as error:
        ko = "광고 표시 기준에 맞지 않습니다. (광고) 표시는 맨 앞에 한 번, 변형 없이 자동으로 붙습니다."
        en = "Not as an advertisement must look. The label is put first for you; use none of your own."
        raise field(422, error.faults[0], "/text", ko, en) from error


async def want(consent: Consent, ref: str, kind: str, *, wanted: bool) -> None:
    """Note whether a member wants a kind of message. Raises Problem 422 for one that must be sent, 404 for nobody."""
    described = load().kinds.get(kind)
    if described is None or not described.refusable:
        ko, en = "받지 않기로 할 수 없는 안내입니다.", "This kind of message cannot be refused."
        raise Problem(422, "kind_not_refusable", ko, en)
    async with consent.pool.acquire() as tx, tx.transaction():
        if await store.read(tx, ref) is None:
            raise not_found()
        if wanted:
            await tx.execute(SQL["message_accept"], ref, kind)
        else:
            await tx.execute(SQL["message_refuse"], ref, kind, consent.clock())
