"""Pure: was it allowed to use this item of this member, for this purpose, at this instant; by which rule, and why?

`answer` is total over any history and question whose names the policy knows. It says what `policy.decide` would have
sent: the same `entitled` gives the rows, the notice that each consent cites gives their scope.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from schemas.base import Marketing, MemberStatus
from services.consent.decisions.history import Given, Grant, History, StatusSpan, UsedProfile
from services.policy import decide as policy
from services.policy import ids, messages, questions
from services.policy.marketing import USE, MediumId, may_send, reception, reconfirmed
from services.policy.model import Rules
from services.policy.scope import covers, provider_of
from services.policy.situation import Situation

MARKETING_PURPOSE: Final = "P1.5"
ENDED: Final[Mapping[MemberStatus, str]] = {
    "pending_guardian": ids.GUARDIAN,
    "suspended": ids.SUSPEND,
    "withdrawn": ids.WITHDRAWN,
    "erased": ids.ERASE,
}
"""Statuses in which nobody may use anything, whatever is still held."""
MARKETING_FIELDS: Final = ("use", "email", "sms", "night")


@dataclass(frozen=True)
class Question:
    """Who wants to use what for what, when. `item` None: anything at all; `medium` None: use, no sending."""

    recipient: str
    purpose: str
    at: datetime
    item: str | None = None
    medium: MediumId | None = None


@dataclass(frozen=True)
class Answer:
    """The answer, the rule that decided, and what it rests on: ids, versions and instants, never values."""

    allowed: bool
    rule: str
    evidence: tuple[Mapping[str, Any], ...] = field(default=())


@dataclass(frozen=True)
class Instant:
    """The member at the instant asked about."""

    rules: Rules
    history: History
    question: Question
    status: StatusSpan
    live: tuple[Grant, ...]
    situation: Situation
    allowed: policy.Allowed

    def grant(self, purpose: str, party: str = "", channel: str = "") -> Grant | None:
        """Return the live consent of this purpose, party and channel."""
        return next((g for g in self.live if g.names(purpose, party, channel)), None)

    @property
    def bare_item(self) -> str | None:
        """The item without its service."""
        return self.question.item.rpartition(".")[2] if self.question.item else None


def answer(rules: Rules, history: History, question: Question) -> Answer:
    """Return the answer to a question about a member; `question.at` is aware and not later than the history."""
    status = history.status_at(question.at)
    if status is None:
        return Answer(False, ids.CONSENT, ({"kind": "not_a_member"},))
    found = _decided(_instant(rules, history, question, status))
    return Answer(found.allowed, found.rule, (status.evidence(), *found.evidence))


def _instant(rules: Rules, history: History, question: Question, status: StatusSpan) -> Instant:
    live = tuple(g for g in history.grants if g.live_at(question.at))
    situation = Situation(
        status=status.status,
        profiles=tuple((p.service, p.role) for p in history.profiles_at(question.at)),
        sharing=frozenset(g.party for g in live if g.purpose == "sharing"),
        marketing=_marketing_of(live),
        held={},
        ledger=(),
        at=question.at,
    )
    allowed = policy.entitled(rules, question.recipient, situation)
    return Instant(rules, history, question, status, live, situation, allowed)


def _marketing_of(live: tuple[Grant, ...]) -> dict[str, Marketing]:
    given: dict[str, set[str]] = {}
    for grant in live:
        if grant.purpose == "marketing":
            given.setdefault(grant.party, set()).add(grant.channel)
    return {sender: Marketing(**{c: c in on for c in MARKETING_FIELDS}) for sender, on in given.items()}


def _decided(now: Instant) -> Answer:
    item = now.rules.items.get(now.bare_item or "")
    if item is not None and not item.shareable:
        return Answer(False, questions.NEVER)
    if rule := ENDED.get(now.status.status):
        return Answer(False, rule)
    if (parts := now.history.parts_at(now.question.at)) is not None and _is_part(now, parts.parts):
        return Answer(False, ids.SUSPEND_PART, (parts.evidence(),))
    if now.question.recipient in now.rules.third_parties:
        return _third_party(now)
    if now.question.purpose == MARKETING_PURPOSE:
        return _marketing(now)
    return _first_that_allows([*_rows(now)]) or _nobody_gave(now)


def _is_part(now: Instant, parts: frozenset[str]) -> bool:
    """Say whether the purpose or the item asked about, or the address a sending would use, is suspended in part.

    A bare name means the asker's service.
    """
    asked = now.question
    affiliate = now.rules.affiliates.get(asked.recipient)
    services = now.rules.services if affiliate is None else [affiliate.processes]
    named = {asked.purpose, asked.item, *(f"{service}.{asked.item}" for service in services if asked.item)}
    return bool((named | _address(asked)) & parts)


def _address(asked: Question) -> frozenset[str]:
    """Return the items that a sending by the medium asked about would use."""
    return messages.load().reached_by(asked.medium) if asked.medium else frozenset()


def _first_that_allows(answers: list[Answer]) -> Answer | None:
    return next((a for a in answers if a.allowed), answers[0] if answers else None)


def _rows(now: Instant) -> Iterator[Answer]:
    if "recipient" in now.allowed.roles:
        yield _still_held(now, "recipient", _recipient_row(now))
    if "processor" in now.allowed.roles:
        yield _still_held(now, "processor", _processor_row(now))


def _still_held(now: Instant, role: str, found: Answer) -> Answer:
    """From the request to leave on nothing new is shared: only what the ledger shows as given before stays usable."""
    if not found.allowed or now.status.status != "withdrawal_requested":
        return found
    held = [g for g in now.history.given_to(now.question.recipient, now.question.at) if g.role == role]
    if any(now.question.item is None or now.bare_item in g.items for g in held):
        return found
    return Answer(False, ids.WITHDRAWAL_REQUEST, found.evidence)


def _recipient_row(now: Instant) -> Answer:
    """A member row: the operator's (4.3), or an affiliate's under a live grant and its notice (3.2)."""
    asked, operator = now.question, now.allowed.operator
    rule = ids.OPERATOR if operator else ids.SHARE
    grant = now.grant("collection") if operator else now.grant("sharing", asked.recipient)
    based = [{"kind": "operator", "id": asked.recipient}] if operator else []
    evidence = (*based, *_grant_evidence(now.rules, grant))
    if asked.item is not None and asked.item not in now.rules.shared:
        return Answer(False, ids.ITEMS, evidence)
    if asked.purpose not in now.rules.rules[rule].purposes:
        return Answer(False, rule, evidence)
    if not operator and not _in_scope(now, grant, _asked(now)):
        return Answer(False, questions.SCOPE, evidence)
    if not _purpose_exists(now):
        return Answer(False, questions.CORPORATE, evidence)
    return Answer(True, rule, evidence)


def _processor_row(now: Instant) -> Answer:
    """The items of the service that an affiliate runs for the member (4.3): the account's two and the role's own."""
    profile = now.history.profile_at(now.allowed.service or "", now.question.at)
    assert profile is not None  # entitled found it among the same profiles
    evidence = (profile.evidence(),)
    items = {"email", "name", *(f"{profile.service}.{i}" for i in (*_role_items(now.rules, profile), "role"))}
    item = now.question.item
    known = item is None or item in items or ("." not in item and f"{profile.service}.{item}" in items)
    allowed = known and now.question.purpose in now.rules.rules[ids.PROCESS].purposes
    return Answer(allowed, ids.PROCESS, evidence)


def _role_items(rules: Rules, profile: UsedProfile) -> tuple[str, ...]:
    role = rules.services[profile.service].role(profile.role)
    return role.items if role else ()


def _purpose_exists(now: Instant) -> bool:
    """Some purposes exist for some members only: consulting for those with a role that requires a company (1.3)."""
    needed = now.rules.purposes[now.question.purpose].only_with
    roles = (now.rules.services[s].role(r) for s, r in now.situation.profiles if s in now.rules.services)
    return needed is None or any(role is not None and needed in role.required for role in roles)


def _asked(now: Instant) -> frozenset[str]:
    return frozenset({now.question.item} if now.question.item else ())


def _in_scope(now: Instant, grant: Grant | None, items: frozenset[str]) -> bool:
    """Say whether the notice a consent cites told of this recipient, purpose and items."""
    asked, version = now.question, grant.notice_version if grant else None
    consent = grant.purpose if grant else ""
    return covers(now.rules, version, consent, party=asked.recipient, purpose=asked.purpose, items=items)


def _marketing(now: Instant) -> Answer:
    """Use, and with a medium sending too (1.5): a row to send from, three consents, the two-year check, the night.

    A sending uses the address: the consent to use must have been told of it (15(2)), whatever channel was offered.
    """
    sender, medium = now.question.recipient, now.question.medium
    use = now.grant("marketing", sender, "use")
    evidence = tuple(_marketing_evidence(now))
    if now.status.status == "withdrawal_requested":
        return Answer(False, ids.WITHDRAWAL_REQUEST, evidence)
    if "recipient" not in now.allowed.roles:
        return Answer(False, ids.MARKETING, evidence)
    allowed, rule = _sending(now, use, medium)
    if allowed and not _in_scope(now, use, _asked(now) | _address(now.question)):
        return Answer(False, questions.SCOPE, evidence)
    return Answer(allowed, rule, evidence)


def _sending(now: Instant, use: Grant | None, medium: MediumId | None) -> tuple[bool, str]:
    if medium is None:
        return (True, ids.MARKETING) if use is not None else (False, USE)
    at = now.question.at
    checked = all(_checked(now, channel) for channel in reception(medium, at))
    return may_send(now.allowed.marketing, medium, at, reconfirmed=checked)


def _checked(now: Instant, channel: str) -> bool:
    """Say whether no two-year check of the live consent to a channel is overdue: what is not consented to has none."""
    grant, at = now.grant("marketing", now.question.recipient, channel), now.question.at
    return grant is None or reconfirmed(grant.given_at, now.history.checks_of(grant.consent_id, at), at)


def _marketing_evidence(now: Instant) -> Iterator[Mapping[str, Any]]:
    """The consents that count for this sending: those that live, and those that ended before."""
    wanted = ("use", *((now.question.medium, "night") if now.question.medium else ()))
    for channel in wanted:
        grant = now.grant("marketing", now.question.recipient, channel)
        if grant is not None:
            yield from _grant_evidence(now.rules, grant)
        elif ended := now.history.last_ended("marketing", now.question.recipient, channel, now.question.at):
            yield ended.evidence(ended=True)


def _third_party(now: Instant) -> Answer:
    """What the ledger says a third party was given before the instant, for the purpose recorded with it."""
    asked = now.question
    given = [g for g in now.history.given_to(asked.recipient, asked.at) if _matches(g, asked)]
    evidence = tuple(g.evidence() for g in given)
    return Answer(bool(given), questions.DISCLOSED if given else ids.CONSENT, evidence)


def _matches(given: Given, asked: Question) -> bool:
    same = given.purpose.casefold() == asked.purpose.casefold()
    item = asked.item
    return same and (item is None or item in given.items or any(i.endswith(f".{item}") for i in given.items))


def _nobody_gave(now: Instant) -> Answer:
    ended = now.history.last_ended("sharing", now.question.recipient, "", now.question.at)
    if ended is not None:
        return Answer(False, ids.REVOKE, (ended.evidence(ended=True),))
    return Answer(False, ids.CONTRACT if now.allowed.uncontracted else ids.CONSENT)


def _grant_evidence(rules: Rules, grant: Grant | None) -> Iterator[Mapping[str, Any]]:
    if grant is None:
        return
    yield grant.evidence() | ({"provider": provider_of(rules)} if grant.purpose == "sharing" else {})
    notice = rules.notice(grant.notice_version)
    if notice is not None:
        yield {"kind": "notice", "version": notice.version, "effective_from": notice.effective_from}
