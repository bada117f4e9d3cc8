"""Pure: what a granted request makes of a member: suspended, released, some items gone."""

from dataclasses import replace
from datetime import datetime

from schemas.base import MemberStatus
from services.consent import age
from services.consent.model import DELETION, OF_AGE, Member, Profile, Step, refuse_ended, withdrawal_pending
from services.consent.rights import refusals
from services.policy.model import Rules
from services.runtime.problem import Problem


def is_suspended(member: Member) -> bool:
    """Say whether a suspension stands, also under a withdrawal request made after it."""
    return "suspended" in {member.status, member.status_before}


def suspend(member: Member) -> Step:
    """Stop all use and sharing (37(2)): at once in every store. 409 for one who has left or waits for a guardian."""
    refuse_ended(member)
    before = member.status_before if member.status == "withdrawal_requested" else member.status
    if before == "pending_guardian":
        raise Problem(
            409,
            "nothing_to_suspend",
            "법정대리인 동의 전이라 이용하거나 제공하는 정보가 없습니다.",
            "Nothing of this member is used or shared before the guardian consents.",
        )
    return Step(replace(member, status="suspended", status_before=before), "suspended")


def suspend_part(member: Member, parts: frozenset[str]) -> Step:
    """Stop the use and sharing of these items and purposes only (37(1)); 409 as for a whole suspension."""
    suspend(member)
    return Step(replace(member, suspended=member.suspended | parts), "suspended", note="in_part")


def release_part(member: Member, keep: frozenset[str]) -> Step:
    """Lift what of a suspension in part is not to be kept: other requests' parts stay. Not under a whole one."""
    refuse_ended(member)
    lifted = member.suspended - keep
    return Step(replace(member, suspended=keep), "released", note="suspension_in_part", lifted=lifted)


def narrow(member: Member, keep: frozenset[str]) -> Step:
    """A whole suspension was granted in part: the status goes back, what is granted stays suspended."""
    return replace(release(member, keep), note="suspension_in_part")


def release(member: Member, keep: frozenset[str]) -> Step:
    """Lift a whole suspension: back to what was before it, a pending withdrawal included. 409 where none stands.

    `keep` is what stays suspended in part; what of a part was released in the meantime is lifted only now.
    """
    refuse_ended(member)
    if not is_suspended(member):  # a child's wait for a guardian ends by the guardian's word only
        raise refusals.nothing_to_release()
    if member.status == "withdrawal_requested":
        after = replace(member, status_before="active")
    elif withdrawal_pending(member):
        after = replace(member, status="withdrawal_requested")
    else:
        after = replace(member, status=member.status_before or "active", status_before=None)
    lifted = member.suspended - keep
    return Step(replace(after, suspended=keep), "released", note="suspension", lifted=lifted)


def age_gate(step: Step, at: datetime) -> Step:
    """A corrected birth date that is a child's makes the member wait for a guardian, and nobody has anything (22-2).

    Who had a guardian goes on under its consent. 409 while all is suspended: that wait would not outlast the release.
    """
    member = step.member
    if not _tells_age(step) or member.guardian_confirmed or not age.under_14(member, at):
        return step
    if is_suspended(member):
        raise refusals.suspended_before_guardian()
    return replace(step, member=_put(member, "pending_guardian"), note="pending_guardian")


def shows_of_age(before: Member, corrected: Step, at: datetime) -> bool:
    """Say whether a corrected birth date shows one who waits for a guardian to be 14 or older; identity is verified."""
    waits = before.in_force == "pending_guardian"
    return waits and _tells_age(corrected) and not age.under_14(corrected.member, at)


def of_age(member: Member) -> Step:
    """One whose birth date was wrong waits for no guardian: sharing begins under the consents it gave itself."""
    return Step(_put(member, "active"), "released", note=OF_AGE)


def _put(member: Member, status: MemberStatus) -> Member:
    """A request to leave goes on standing over what a member is."""
    if member.status == "withdrawal_requested":
        return replace(member, status_before=status)
    return replace(member, status=status)


def _tells_age(step: Step) -> bool:
    return any(item.rpartition(".")[2] == age.BORN for item in step.items)


def delete_items(member: Member, items: frozenset[str]) -> Step:
    """Clear `<service>.<item>`, a whole `<service>`, or `birth_date`; those not there are passed over."""
    refuse_ended(member)
    kept = {name: _without(p, items) for name, p in member.profiles.items() if name not in items}
    birth_date = None if "birth_date" in items else member.birth_date
    after = replace(member, profiles=kept, birth_date=birth_date)
    gone = frozenset(member.values()) - frozenset(after.values())
    return Step(after, "corrected", gone, note=DELETION)


def _without(profile: Profile, items: frozenset[str]) -> Profile:
    kept = {name: v for name, v in profile.items.items() if f"{profile.service}.{name}" not in items}
    return replace(profile, items=kept)


def not_deletable(rules: Rules, member: Member, items: frozenset[str], at: datetime) -> list[str]:
    """Return the items that cannot go alone: the account's, a role's required ones, records kept by law.

    A child's birth date stays too: it is what keeps the guardian asked (22-2).
    """
    return sorted(item for item in items if not _deletable(rules, member, item, at))


def _deletable(rules: Rules, member: Member, item: str, at: datetime) -> bool:
    if item.rpartition(".")[2] == age.BORN and age.under_14(member, at):
        return False
    service, _, name = item.partition(".")
    if service in rules.services:
        profile = member.profiles.get(service)
        role = rules.services[service].role(profile.role) if profile else None
        return not name or role is None or name in role.optional
    return item == age.BORN
