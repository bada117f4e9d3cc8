"""What a consent covers: what the notice version it cites told, and not a word more (PIPA 15(2), 17(2)).

A later version that tells of other items, recipients, purposes or another period opens re-consent; until the member
gives it, the old consent goes on covering the old scope.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from services.policy.model import Rules
from services.policy.shapes import NoticePart

Aspect = Literal["items", "recipients", "purposes", "period"]
TO_PARTIES: Final = ("sharing", "marketing")
"""Consents that name a recipient or sender."""


@dataclass(frozen=True)
class Cited:
    """A live consent as far as its scope goes: its purpose, its party ('' for collection), the version it cites."""

    purpose: str
    party: str
    notice_version: str


@dataclass(frozen=True)
class Reconsent:
    """A consent to ask for again: `given_under` is None for a recipient no consent of the member names yet."""

    purpose: str
    party: str
    given_under: str | None
    now: str
    changed: tuple[Aspect, ...]


def provider_of(rules: Rules) -> str:
    """Return who gives under every grant: the operator, through whose account all items are collected (3.2)."""
    return next(a.id for a in rules.affiliates.values() if a.operator)


def part_of(rules: Rules, version: str, consent: str) -> NoticePart | None:
    """Return what a notice version told before one consent; None for an unknown version."""
    notice = rules.notice(version)
    return notice.part(consent) if notice else None


def covers(
    rules: Rules, version: str | None, consent: str, *, party: str, purpose: str, items: Collection[str]
) -> bool:
    """Say whether the notice a consent cites told of this party, purpose and items; an unknown one told nothing."""
    part = part_of(rules, version, consent) if version else None
    if part is None or party not in part.recipients or purpose not in part.purposes:
        return False
    return all(item.rpartition(".")[2] in part.items for item in items)


def told_parties(rules: Rules, version: str, consent: str) -> frozenset[str]:
    """Return the affiliates a notice version names for a consent: nobody else can be consented to under it."""
    part = part_of(rules, version, consent)
    return part.recipients & rules.affiliates.keys() if part else frozenset()


def changed(before: NoticePart | None, now: NoticePart, party: str) -> tuple[Aspect, ...]:
    """Return what another version tells differently to one who consented for `party`.

    A further recipient changes nothing for those consented to: each has a grant of its own.
    """
    if before is None:
        return ("items", "purposes", "period")
    differing: dict[Aspect, bool] = {
        "items": before.items != now.items,
        "recipients": bool(party) and party not in now.recipients,
        "purposes": before.purposes != now.purposes,
        "period": before.period != now.period,
    }
    return tuple(aspect for aspect, yes in differing.items() if yes)


def outdated(rules: Rules, at: datetime) -> frozenset[str]:
    """Return the versions from which to the one in force some consent's scope or recipients differ."""
    now = rules.notice(rules.current_notice(at))
    parts = now.parts if now else ()
    return frozenset(
        n.version for n in rules.notices.values() if any(_tells_otherwise(n.part(p.consent), p) for p in parts)
    )


def _tells_otherwise(before: NoticePart | None, now: NoticePart) -> bool:
    return before is None or bool(changed(before, now, "")) or before.recipients != now.recipients


def reconsents(rules: Rules, live: Iterable[Cited], at: datetime) -> tuple[Reconsent, ...]:
    """Return the consents to ask a member for again under the notice in force at an instant, in a fixed order."""
    consents = sorted(set(live), key=lambda c: (c.purpose, c.party, c.notice_version))
    return (*_of_given(rules, consents, at), *_of_new_recipients(rules, consents, at))


def _of_given(rules: Rules, live: list[Cited], at: datetime) -> Iterator[Reconsent]:
    current = rules.current_notice(at)
    for consent in live:
        now = part_of(rules, current, consent.purpose)
        before = part_of(rules, consent.notice_version, consent.purpose)
        if consent.notice_version == current or now is None:
            continue
        if aspects := changed(before, now, consent.party):
            yield Reconsent(consent.purpose, consent.party, consent.notice_version, current, aspects)


def _of_new_recipients(rules: Rules, live: list[Cited], at: datetime) -> Iterator[Reconsent]:
    """Whoever shares with one affiliate may be asked about one that came later; asked, never assumed."""
    current = rules.current_notice(at)
    for purpose in TO_PARTIES:
        cited = [c for c in live if c.purpose == purpose]
        known = {c.party for c in cited}.union(*(told_parties(rules, c.notice_version, purpose) for c in cited))
        new = told_parties(rules, current, purpose) - known if cited else frozenset()
        yield from (Reconsent(purpose, party, None, current, ("recipients",)) for party in sorted(new))
