"""Pure: what a message may carry, which messages a member's change brings, whether and when one goes out."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final, get_args

from services.consent.model import OF_AGE, ConsentRef, Member, Step
from services.policy import ids, marketing, questions, rights
from services.policy.decide import MARKETING_PURPOSE, has_member_row
from services.policy.messages import FieldType, Kind, Language, Medium, Messages, load
from services.policy.model import Rules
from services.policy.scope import covers
from services.runtime.clock import KST

UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TEXT_MAX: Final = 2000
CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
ADDRESSING: Final = frozenset({"sender", "medium", "language"})
LISTS: Final = frozenset({"items", "purposes", "parties", "channels", "consents"})
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
DELAYS: Final = (MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 6 * HOUR, 24 * HOUR)
"""The wait after try 1, 2, …; after every later one the last. A duty does not end because a server is away."""


class MessageDataError(ValueError):
    """A message was queued without what its kind must say, or with what it does not know: a fault of our own code."""


@dataclass(frozen=True)
class Wanted:
    """A message to queue."""

    kind: str
    data: Mapping[str, Any]
    dedupe_key: str


def way(messages: Messages, kind: Kind, data: Mapping[str, Any]) -> tuple[str, Medium, Language]:
    """Return (sending company, medium, language). Raises MessageDataError when one is not known or must be named."""
    sender = data.get("sender") if kind.sender == "each" else messages.operator
    medium, language = data.get("medium", "email"), data.get("language", "ko")
    if sender not in messages.companies or medium not in get_args(Medium) or language not in get_args(Language):
        raise MessageDataError(f"{kind.id}: sender, medium or language")
    return str(sender), medium, language


def checked(messages: Messages, kind: Kind, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data as it is stored: every field of the kind there and well-formed, dates as YYYY-MM-DD.

    Raises MessageDataError naming the field, never its value (E4: a result notice without its date is no notice).
    """
    given = {name: value for name, value in data.items() if name not in ADDRESSING and value is not None}
    if missing := sorted(set(kind.fields) - set(given)):
        raise MessageDataError(f"{kind.id}: missing {', '.join(missing)}")
    if unknown := sorted(set(given) - set(kind.all_fields)):
        raise MessageDataError(f"{kind.id}: unknown {', '.join(unknown)}")
    return {name: _value(messages, kind, name, value) for name, value in given.items()}


def _value(messages: Messages, kind: Kind, name: str, value: Any) -> Any:
    expected = kind.all_fields[name]
    if isinstance(value, date):
        value = (value.astimezone(KST).date() if isinstance(value, datetime) else value).isoformat()
    if isinstance(value, tuple | frozenset):
        value = sorted(value)
    if not (_are_codes if expected in LISTS else _is_one)(messages, expected, value):
        raise MessageDataError(f"{kind.id}: {name} is no {expected}")
    return value


def _are_codes(messages: Messages, expected: FieldType, value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(v, str) and 0 < len(v) <= 80 for v in value):
        return False
    return expected not in messages.words or (bool(value) and set(value) <= set(messages.words[expected]))


def _is_one(messages: Messages, expected: FieldType, value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if expected == "date":
        return _is_date(value)
    if expected == "uuid":
        return UUID.fullmatch(value) is not None
    if expected in messages.words:
        return value in messages.words[expected]
    return 0 < len(value) <= TEXT_MAX and not CONTROL.search(value)


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


@dataclass(frozen=True)
class Done:
    """A duty that a message does, by its kind and subject, and how it ends."""

    duty: str
    subject: str
    outcome: str


def ends(kind: Kind, message_id: str, data: Mapping[str, Any]) -> tuple[Done, ...]:
    """Return what a message has done once it has gone: its own duty, or those of the request or inquiry it answers.

    The law counts to the day the person is told (35(3), decree 43(3), 44(2)), not to the day staff decided. Word of a
    suspension that was lifted ends nothing: the person lifted it and knew.
    """
    if kind.duty is not None:
        return (Done(kind.duty, message_id, "sent"),)
    if kind.id == "inquiry_answer":
        return (Done("inquiry_answer", data["inquiry_id"], "answered"),)
    if kind.id != "rights_answer" or data["type"] == "release":
        return ()
    told = rights.catalogue().told(data["type"], data["outcome"])
    return tuple(Done(duty, data["request_id"], data["outcome"]) for duty in told)


def following(before: Member | None, step: Step, change_id: str, at: datetime) -> tuple[Wanted, ...]:
    """Return the messages a change brings: one result notice per wish and company (E4), the last one at withdrawal.

    A sign-up's "no" is the absence of a wish, a PUT's "no" is one. Of one who waits for a guardian it counts once
    the guardian consents, or the wait proves to be a mistake.
    """
    found = [_result(sender, wish, refs, change_id, at) for sender, wish, refs in _wishes(before, step)]
    if step.change == "withdrawn":
        found.append(Wanted("withdrawal_result", {"withdrawn_on": at}, f"withdrawal_result:{change_id}"))
    return tuple(found)


def _wishes(before: Member | None, step: Step) -> Iterator[tuple[str, str, list[ConsentRef]]]:
    """Yield (company, granted|refused|withdrawn, the consents it is about)."""
    live = before.consents if before is not None else frozenset()
    for sender, refs in _by_sender(_shown(step)):
        if step.change != "withdrawn" and set(refs) <= step.member.consents:
            yield sender, "granted", refs
        else:
            yield sender, "withdrawn" if live & set(refs) else "refused", refs


def _shown(step: Step) -> Iterable[ConsentRef]:
    if step.change == "signed_up":
        return step.given if step.member.status == "active" else ()
    if step.change == "released" and step.note in {"guardian_confirmed", OF_AGE}:
        return step.member.consents
    return step.ended if step.change == "withdrawn" else step.asked


def _by_sender(refs: Iterable[ConsentRef]) -> list[tuple[str, list[ConsentRef]]]:
    found: dict[str, list[ConsentRef]] = {}
    for ref in sorted((r for r in refs if r.purpose == "marketing"), key=str):
        found.setdefault(ref.party, []).append(ref)
    return list(found.items())


def _result(sender: str, wish: str, refs: list[ConsentRef], change_id: str, at: datetime) -> Wanted:
    data = {"sender": sender, "wished_on": at, "wish": wish, "channels": tuple(r.channel for r in refs)}
    return Wanted("marketing_result", data, f"marketing_result:{change_id}:{sender}")


@dataclass(frozen=True)
class Go:
    """Send it now."""


@dataclass(frozen=True)
class Wait:
    """Not now; ask again at `until`."""

    until: datetime


@dataclass(frozen=True)
class Drop:
    """Never send it; `reason` is a rule id."""

    reason: str


def ruling(
    rules: Rules,
    kind: Kind,
    sender: str,
    medium: marketing.MediumId,
    member: Member,
    at: datetime,
    *,
    reconfirmed: bool,
    notice_version: str | None,
) -> Go | Wait | Drop:
    """Return what becomes of a queued message at the instant of sending. A withdrawal beats whatever is queued (E2).

    Only an advertisement needs consents, and a member row to be sent from (1.5, 3.2); at night it waits for the
    morning and is looked at again. `notice_version`: what the sender's consent to marketing use cites, whose notice
    must have told of the address that the medium uses (15(2), 18(1)).
    """
    if not kind.advertising:
        return Go()
    if member.status != "active":
        return Drop(ids.SUSPEND if member.status == "suspended" else ids.WITHDRAWAL_REQUEST)
    address, purpose = load().reached_by(medium), MARKETING_PURPOSE
    if member.suspended & {purpose, *address}:
        return Drop(ids.SUSPEND_PART)
    if not has_member_row(rules, sender, member.sharing(), at):
        return Drop(ids.MARKETING)
    allowed, rule = marketing.may_send(member.marketing().get(sender), medium, at, reconfirmed=reconfirmed)
    if not allowed:
        return Wait(_morning(at)) if rule == marketing.NIGHT else Drop(rule)
    told = covers(rules, notice_version, "marketing", party=sender, purpose=purpose, items=address)
    return Go() if told else Drop(questions.SCOPE)


def _morning(at: datetime) -> datetime:
    night_to: time = marketing.advertising().night_to
    local = at.astimezone(KST)
    today = datetime.combine(local.date(), night_to, KST)
    return today if local < today else today + timedelta(1)


def next_try(at: datetime, tries: int) -> datetime:
    """Return when to try again after `tries` tries that failed for now."""
    return at + DELAYS[min(tries, len(DELAYS)) - 1]


def period_to_ask(given_at: datetime, covered: int, today: date, warn_days: int) -> int | None:
    """Return the two-year period (from 0) whose check is to be sent today, or None; `covered`: the last asked, or -1.

    A period is asked from `warn_days` before its last day on; of missed ones only the latest is asked, at once.
    """
    period = covered + 1
    while marketing.reconfirm_by(given_at, period) < today:
        period += 1
    if today >= marketing.reconfirm_by(given_at, period) - timedelta(warn_days):
        return period
    return period - 1 if period - 1 > covered else None


def anchor(given_at: datetime, period: int) -> datetime:
    """Return the start of a two-year period: the same day every second year, 28 February for a missing 29th."""
    local = given_at.astimezone(KST)
    try:
        return local.replace(year=local.year + 2 * period)
    except ValueError:
        return local.replace(year=local.year + 2 * period, day=28)
