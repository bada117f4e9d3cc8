"""A person asks a recipient where it has the data from: told at once, whatever the recipient's size (PIPA 20(1))."""

from services.consent import idempotency, store
from services.consent.handlers import Consent
from services.consent.idempotency import Answer, Key
from services.consent.messages.queue import queue
from services.consent.refusals import field, not_found
from services.consent.store import SQL
from services.policy.messages import load
from services.runtime.problem import Problem


async def ask(consent: Consent, ref: str, company: str, key: Key) -> Answer:
    """Queue the notice of source of one company: 202 `{"message_id"}`.

    Raises Problem 404 for nobody, 422 for a company that is none, 409 where it was given nothing by another.
    """
    known = [c for c in load().companies if c != load().operator]
    if company not in known:
        names = ", ".join(known)
        ko, en = f"제공받는 회사가 아닙니다. 가능한 값: {names}", f"Not a recipient. Choose from: {names}"
        raise field(422, "unknown_sender", "/sender", ko, en)
    at = consent.clock()
    async with consent.pool.acquire() as tx, tx.transaction():
        if stored := await idempotency.recall(tx, key):
            return stored
        if await store.read(tx, ref) is None:
            raise not_found()
        found = await tx.fetchrow(SQL["message_source_of"], ref, company)
        if found is None:
            raise _nothing()
        days = {"from_on": found["first_at"], "until_on": found["last_at"]}
        purposes = tuple(sorted(set(found["purposes"]) & consent.rules.purposes.keys()))
        data = {"sender": company, **days, "items": tuple(found["items"]), "purposes": purposes}
        dedupe = f"source_request:{ref}:{key.request_mac.hex()}:{key.value}"
        answer = Answer(202, {"message_id": await queue(tx, "source_notice", ref, data, dedupe, at)})
        await idempotency.remember(tx, key, answer)
    return answer


def _nothing() -> Problem:
    ko, en = "이 회사가 제공받은 개인정보가 없습니다.", "This company was given nothing of the member."
    return Problem(409, "nothing_provided", ko, en)
