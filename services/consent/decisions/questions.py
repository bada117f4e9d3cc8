"""Query parameters of decisions, held against the policy's names: each refusal is coded and repeats no value."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Final, get_args

from services.consent.decisions.model import MARKETING_PURPOSE, Question
from services.consent.refusals import field
from services.policy.marketing import MediumId
from services.policy.model import Rules
from services.runtime.fields import FIRST_YEAR
from services.runtime.problem import Problem

MEDIA: Final[tuple[MediumId, ...]] = get_args(MediumId)
CHANNELS: Final = ("use", *MEDIA)
CONSENTS: Final = {"sharing": "P1.1", "marketing": MARKETING_PURPOSE}
"""The purpose that is asked about by a consent's name; what is shared serves the service first (1.1, 3.2)."""
ITEMS: Final = {"status": "membership_status", "signed_up_at": "membership_status"}
"""What a member store's columns are called, where the item of clause 6.2 has another name."""
WORDS_MAX: Final = 80


def question(
    rules: Rules, recipient: str, purpose: str, item: str | None, channel: str | None, at: datetime
) -> Question:
    """Return the question. Raise Problem 422 for a recipient, purpose, item or channel that the policy has not."""
    known = (*sorted(rules.affiliates), *sorted(rules.third_parties))
    if recipient not in known:
        raise _unknown("recipient", known)
    item = ITEMS.get(item or "", item)
    if item is not None and not rules.knows_item(item):
        raise _unknown("item", sorted(rules.items))
    return Question(recipient, _purpose(rules, recipient, purpose), at, item, _medium(purpose, channel))


def _purpose(rules: Rules, recipient: str, purpose: str) -> str:
    """A third party's purpose is its own (PIPA 17(2)2): any word but a P number that does not exist."""
    if purpose == "marketing" or (purpose in CONSENTS and recipient in rules.affiliates):
        return CONSENTS[purpose]
    if purpose.upper() in rules.purposes:
        return purpose.upper()
    own = recipient in rules.third_parties and len(purpose) <= WORDS_MAX
    if not own or (purpose[:1] in "Pp" and purpose[1:2].isdigit()):
        raise _unknown("purpose", [*rules.purposes, *CONSENTS])
    return purpose


def _medium(purpose: str, channel: str | None) -> MediumId | None:
    if channel is None:
        return None
    if purpose not in {"marketing", MARKETING_PURPOSE, MARKETING_PURPOSE.lower()}:
        raise field(
            422,
            "channel_not_for_purpose",
            "/channel",
            "channel은 마케팅 목적에만 쓸 수 있습니다.",
            "Only marketing has a channel.",
        )
    if channel not in CHANNELS:
        raise _unknown("channel", CHANNELS)
    return next((m for m in MEDIA if m == channel), None)


def instant(text: str | None, name: str, now: datetime) -> datetime:
    """Return the instant of a query parameter, `now` when absent. Raise Problem 422 for none, a naive or a future one.

    A `+` that arrived as a space (a URL not encoded) is read as `+`.
    """
    if text is None:
        return now
    try:
        found = datetime.fromisoformat(text.strip().replace(" ", "+"))
    except ValueError:
        raise _instant_refused(name) from None
    if found.tzinfo is None or found.year < FIRST_YEAR:
        raise _instant_refused(name)
    if found > now:
        raise field(
            422,
            "instant_in_future",
            f"/{name}",
            "미래의 시점은 답할 수 없습니다. 동의는 그때까지 바뀔 수 있습니다.",
            "The future cannot be answered for: consents may change until then.",
        )
    return found


def cursor(text: str | None) -> str | None:
    """Return a member reference that a page went up to; Problem 422 for something else."""
    return reference(text, _unknown("cursor", ())) if text is not None else None


def reference(text: str, otherwise: Problem) -> str:
    """Return a UUID in its canonical form; raise `otherwise` for something else."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise otherwise from None


def window(since: datetime, until: datetime) -> None:
    """Raise Problem 422 for a window that ends before it begins."""
    if until < since:
        raise field(422, "window_reversed", "/to", "to는 from보다 빠를 수 없습니다.", "`to` cannot be before `from`.")


def recipient_and_item(rules: Rules, recipient: str | None, item: str | None) -> None:
    """Raise Problem 422 for a recipient or an item that the policy has not."""
    known = (*sorted(rules.affiliates), *sorted(rules.third_parties))
    if recipient is not None and recipient not in known:
        raise _unknown("recipient", known)
    if item is not None and not rules.knows_item(item):
        raise _unknown("item", sorted(rules.items))


def _unknown(name: str, known: Iterable[str]) -> Problem:
    choices = ", ".join(known)
    return Problem(
        422,
        f"unknown_{name}",
        f"{name} 값을 알 수 없습니다. 가능한 값: {choices}",
        f"Unknown {name}. Choose from: {choices}",
        errors=[{"pointer": f"/{name}", "code": f"unknown_{name}", "known": list(known)}],
    )


def _instant_refused(name: str) -> Problem:
    return field(
        422,
        "instant_invalid",
        f"/{name}",
        "시점은 시간대가 있는 ISO 8601이어야 합니다 (예: 2026-11-23T10:00:00+09:00).",
        "An instant is ISO 8601 with an offset, such as 2026-11-23T10:00:00+09:00.",
    )
