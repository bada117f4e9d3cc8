"""Who gets what after a change. Pure and total: any status with any change has an answer, and each names its rules.

First what ends everything (erasure, withdrawal), then what is lost, then what is gained: a withdrawal dominates.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from schemas.base import Marketing, MemberStatus, Role
from schemas.events import StopName
from services.policy import ids
from services.policy.disclosure import carries_values, may_have, validate_disclosure
from services.policy.model import Rules
from services.policy.profile import validate_profile
from services.policy.situation import (
    Action,
    Change,
    Decision,
    Held,
    LedgerEntry,
    Nothing,
    NoticeFor,
    Project,
    Situation,
    StopFor,
)

MARKETING_PURPOSE = "P1.5"
CHANNELS = ("use", "email", "sms", "night")
BOTH: frozenset[Role] = frozenset({"recipient", "processor"})
STOP_RULE: Mapping[StopName, str] = {
    "erased": ids.ERASE,
    "withdrawn": ids.WITHDRAWN,
    "withdrawal_requested": ids.WITHDRAWAL_REQUEST,
    "suspended": ids.SUSPEND,
}
FROZEN: Mapping[MemberStatus, str] = {"withdrawal_requested": ids.WITHDRAWAL_REQUEST, "suspended": ids.SUSPEND}
"""Statuses in which nothing new is shared; what is held stays, is corrected, and may be taken back."""
LIVE: frozenset[MemberStatus] = frozenset({"active", "dormant_notified", "withdrawal_requested"})
"""Statuses in which a suspension can be of a part: in the others nothing is used at all."""


@dataclass(frozen=True)
class Allowed:
    """What one affiliate may have: rows by role, marketing beside a recipient row, the profile it processes."""

    roles: frozenset[Role] = frozenset()
    marketing: Marketing | None = None
    profile: tuple[str, str] | None = None
    operator: bool = False
    uncontracted: bool = False
    """It runs a service the member uses, but no contract with it is in force."""
    held_back: bool = False
    """A suspension in part keeps a row or marketing from it that it would have otherwise."""

    @property
    def service(self) -> str | None:
        """The service it processes for this member."""
        return self.profile[0] if self.profile else None


def decide(rules: Rules, situation: Situation, change: Change) -> Decision:
    """Return what goes to each affiliate and each third party after `change`; `situation` is the state after it."""
    reached = sorted(rules.affiliates.keys() | situation.held.keys())
    return Decision(
        affiliates=tuple(_for_affiliate(rules, recipient, situation, change) for recipient in reached),
        notices=_notices(rules, situation, change),
    )


def _for_affiliate(rules: Rules, recipient: str, situation: Situation, change: Change) -> Action:
    held = situation.held.get(recipient, Held())
    in_part = change.name == "suspended" and situation.status in LIVE and bool(situation.suspended)
    stop = None if in_part else _ending(situation.status, change)
    if stop is not None:
        ever = stop == "erased" and change.name == "erased" and recipient in situation.held
        return _stop(recipient, stop, BOTH if ever else held_roles(held))
    allowed = _allowed(rules, recipient, situation, held)
    state = _state(rules, recipient, held, allowed, change, situation)
    return (
        (_in_part(rules, recipient, held, allowed, situation) if in_part else None)
        or _lost_role(recipient, held, allowed, situation, state)
        or _lost_marketing(recipient, held, allowed, state)
        or state
        or Nothing(recipient, _why_nothing(allowed, situation, change))
    )


def held_roles(held: Held) -> frozenset[Role]:
    """Return the rows an affiliate has, as the contract's roles."""
    return frozenset(role for role in BOTH if role in held.roles)


def _ending(status: MemberStatus, change: Change) -> StopName | None:
    """What the change or the status stops for everyone; the stronger one when they differ.

    A request to leave stops nothing under a suspension (37(2)): every store says suspended, and goes on saying so.
    """
    named = {status, change.name}
    if "erased" in named:
        return "erased"
    if "withdrawn" in named:
        return "withdrawn"
    if change.name == "suspended" or (change.name == "withdrawal_requested" and status != "suspended"):
        return change.name
    return None


def _stop(recipient: str, stop: StopName, roles: frozenset[Role]) -> Action:
    because = (STOP_RULE[stop],)
    return StopFor(recipient, stop, roles, None, because) if roles else Nothing(recipient, because)


def _allowed(rules: Rules, recipient: str, situation: Situation, held: Held) -> Allowed:
    if situation.status == "pending_guardian":
        return Allowed()
    allowed = _without_parts(rules, entitled(rules, recipient, situation), held, situation.suspended)
    if situation.status not in FROZEN:
        return allowed
    both = channels(allowed.marketing) & channels(held.marketing)
    roles = allowed.roles & held.roles
    profile = allowed.profile if "processor" in roles else None
    return replace(allowed, roles=roles, marketing=_marketing(both), profile=profile)


def _without_parts(rules: Rules, allowed: Allowed, held: Held, suspended: frozenset[str]) -> Allowed:
    """Leave out what a suspension in part takes: marketing with P1.5, a new row that needs what is suspended."""
    if not suspended:
        return allowed
    bases = _bases(rules, allowed)
    roles = frozenset(r for r in allowed.roles if r in held.roles or _can_open(rules, r, bases[r][1], suspended))
    marketing = None if MARKETING_PURPOSE in suspended or "recipient" not in roles else allowed.marketing
    return replace(
        allowed,
        roles=roles,
        marketing=marketing,
        profile=allowed.profile if "processor" in roles else None,
        held_back=(roles, marketing) != (allowed.roles, allowed.marketing),
    )


def _can_open(rules: Rules, role: str, rule: str, suspended: frozenset[str]) -> bool:
    """Say whether a row can be opened: all items that make one may be shared, for at least one purpose."""
    items = rules.shared if role == "recipient" else frozenset({"email", "name"})
    return not items & suspended and not suspended.issuperset(rules.rules[rule].purposes)


def _in_part(rules: Rules, recipient: str, held: Held, allowed: Allowed, situation: Situation) -> Action | None:
    """Tell a holder which of its items, and which purposes, may not be used any more (37(1))."""
    roles, parts = held_roles(held), parts_of(_items(rules, allowed), situation.suspended)
    return StopFor(recipient, "suspended", roles, None, (ids.SUSPEND_PART,), parts) if roles and parts else None


def parts_of(items: frozenset[str], suspended: frozenset[str]) -> frozenset[str]:
    """Return what of a suspension in part concerns a holder of these items: those, and every purpose."""
    return frozenset(name for name in suspended if name in items or name.startswith("P"))


def entitled(rules: Rules, recipient: str, situation: Situation) -> Allowed:
    """Return what the live grants and services entitle an affiliate to, whatever the member's status."""
    affiliate = rules.affiliates.get(recipient)
    if affiliate is None:
        return Allowed()
    member = has_member_row(rules, recipient, situation.sharing, situation.at)
    used = next((p for p in situation.profiles if p[0] == affiliate.processes), None)
    wanted = used if rules.permits(ids.PROCESS, situation.at) else None
    processed = wanted if rules.contracted(recipient, situation.at) else None
    wished = (
        channels(situation.marketing.get(recipient)) if member and rules.permits(ids.MARKETING, situation.at) else ()
    )
    roles: dict[Role, bool] = {"recipient": member, "processor": processed is not None}
    return Allowed(
        roles=frozenset(role for role, yes in roles.items() if yes),
        marketing=_marketing(wished),
        profile=processed,
        operator=affiliate.operator,
        uncontracted=wanted is not None and processed is None,
    )


def has_member_row(rules: Rules, recipient: str, sharing: Collection[str], at: datetime) -> bool:
    """Say whether an affiliate may have the member row: as the operator (4.3), or under a live grant to it (3.2)."""
    affiliate = rules.affiliates.get(recipient)
    if affiliate is None or not (affiliate.operator or recipient in sharing):
        return False
    return rules.permits(ids.OPERATOR if affiliate.operator else ids.SHARE, at)


def _lost_role(
    recipient: str, held: Held, allowed: Allowed, situation: Situation, state: Project | None
) -> Action | None:
    """A role that ended is a stop, before anything new; where the one that stays has news, the full state says both."""
    lost = held_roles(held) - allowed.roles
    if not lost:
        return None
    because = [rule for role, rule in (("recipient", ids.REVOKE), ("processor", ids.PROCESS_END)) if role in lost]
    because += [ids.CONTRACT] if "processor" in lost and allowed.uncontracted else []
    because += [ids.GUARDIAN] if situation.status == "pending_guardian" else []
    if state is not None and not allowed.roles - held.roles:
        because += [ids.MARKETING_STOP] if channels(held.marketing) - channels(allowed.marketing) else []
        return replace(state, rules=tuple(dict.fromkeys((*state.rules, *because))))
    return StopFor(recipient, "sharing_revoked", lost, None, tuple(because))


def _lost_marketing(recipient: str, held: Held, allowed: Allowed, state: Project | None) -> Action | None:
    """Marketing that shrank is a stop; where it also grew, or the row has other news, the full state carries both."""
    before, now = channels(held.marketing), channels(allowed.marketing)
    if not before - now or now - before or allowed.roles - held.roles:
        return None
    if state is not None:
        return replace(state, rules=(*state.rules, ids.MARKETING_STOP))
    return StopFor(recipient, "marketing_revoked", frozenset({"recipient"}), allowed.marketing, (ids.MARKETING_STOP,))


def _state(
    rules: Rules, recipient: str, held: Held, allowed: Allowed, change: Change, situation: Situation
) -> Project | None:
    items = _items(rules, allowed)
    gained = bool(allowed.roles - held.roles or channels(allowed.marketing) - channels(held.marketing))
    touched = any(item in items or _of_service(item, allowed.service) for item in change.items)
    released = change.name == "released" and situation.status != "suspended"
    if not allowed.roles or not (gained or touched or released):
        return None
    bases = _bases(rules, allowed)
    because = [rule for _, rule in bases.values()]
    because += [ids.ITEMS] if "recipient" in allowed.roles else []
    because += [ids.MARKETING] if allowed.marketing else []
    because += [ids.CORRECT] if change.name == "corrected" and touched else []
    because += [ids.RELEASE] if released else []
    because += [ids.CONTRACT] if allowed.uncontracted else []
    parts = parts_of(items, situation.suspended)
    because += [ids.SUSPEND_PART] if parts else []
    return Project(
        recipient=recipient,
        roles=allowed.roles,
        member="recipient" in allowed.roles,
        marketing=allowed.marketing,
        processed_service=allowed.service,
        rules=tuple(because),
        items=items,
        bases=bases,
        suspended=parts,
    )


def _items(rules: Rules, allowed: Allowed) -> frozenset[str]:
    """Return the names of all that the affiliate may be given: the four of 3.2, and 6.2's of the role it processes."""
    found = rules.shared if "recipient" in allowed.roles else frozenset()
    if allowed.profile is None:
        return found
    service, name = allowed.profile
    role = rules.services[service].role(name)
    return found | {"email", "name"} | {f"{service}.{item}" for item in (role.items if role else ())}


def _of_service(item: str, service: str | None) -> bool:
    return service is not None and item.startswith(f"{service}.")


def _bases(rules: Rules, allowed: Allowed) -> dict[str, tuple[str, str]]:
    named = {"recipient": ids.OPERATOR if allowed.operator else ids.SHARE, "processor": ids.PROCESS}
    return {role: (rules.rules[rule].purposes[0], rule) for role, rule in named.items() if role in allowed.roles}


def _why_nothing(allowed: Allowed, situation: Situation, change: Change) -> tuple[str, ...]:
    if situation.status == "pending_guardian":
        return (ids.GUARDIAN,)
    if situation.status == "suspended" and change.name in {"withdrawal_requested", "released"}:
        return (ids.SUSPEND,)
    held_back = (ids.SUSPEND_PART,) if allowed.held_back else ()
    if allowed.roles:
        return (ids.MINIMUM, *held_back)
    if allowed.uncontracted:
        return (ids.CONTRACT,)
    if situation.status in FROZEN:
        return (FROZEN[situation.status],)
    return held_back or (ids.CONSENT,)


def channels(marketing: Marketing | None) -> frozenset[str]:
    """Return the channels an instruction allows; none for no instruction."""
    return frozenset(c for c in CHANNELS if marketing is not None and getattr(marketing, c))


def _marketing(allowed: frozenset[str] | tuple[()]) -> Marketing | None:
    return Marketing(**{c: c in allowed for c in CHANNELS}) if allowed else None


def _notices(rules: Rules, situation: Situation, change: Change) -> tuple[NoticeFor, ...]:
    if change.name != "corrected" or situation.status in {"withdrawn", "erased"}:
        return ()
    stale: dict[str, dict[str, bool]] = {}
    for entry in situation.ledger:
        if _must_be_told(rules, entry, change):
            stale.setdefault(entry.recipient, {})[entry.item] = _sent(rules, entry, situation)
    return tuple(_notice(who, items) for who, items in sorted(stale.items()))


def _notice(recipient: str, sent: Mapping[str, bool]) -> NoticeFor:
    withheld = tuple(sorted(item for item, is_sent in sent.items() if not is_sent))
    return NoticeFor(recipient, tuple(sorted(sent)), (ids.NOTIFY,), withheld)


def _sent(rules: Rules, entry: LedgerEntry, situation: Situation) -> bool:
    allowed = may_have(rules, entry.item, situation.status, situation.suspended)
    return allowed and carries_values(rules, entry.recipient, entry.bases)


def _must_be_told(rules: Rules, entry: LedgerEntry, change: Change) -> bool:
    third_party = entry.kind == "third_party" and entry.recipient not in rules.affiliates
    return third_party and entry.stale and entry.item in change.items - rules.undisclosable


__all__ = [
    "MARKETING_PURPOSE",
    "Action",
    "Change",
    "Decision",
    "Held",
    "LedgerEntry",
    "Nothing",
    "NoticeFor",
    "Project",
    "Situation",
    "StopFor",
    "decide",
    "has_member_row",
    "validate_disclosure",
    "validate_profile",
]
