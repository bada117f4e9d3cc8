"""Pure: is a member under 14, so that its consents are the guardian's to give (PIPA 22-2(1), clause 5.3)?"""

from datetime import datetime

from services.consent.model import ENDED, Member
from services.policy.calendar import is_minor
from services.runtime.problem import Problem


def is_child(member: Member, at: datetime) -> bool:
    """Say whether a member is under 14 at `at`: by the birth date; without one, by the guardian who consented for it.

    A declaration does not age: whoever was confirmed by a guardian without a birth date stays a child until one is
    corrected by request. Of one who has left nothing is known any more.
    """
    if member.status in ENDED:
        return False
    if member.birth_date is not None:
        return is_minor(member.birth_date, at)
    return member.guardian_confirmed


def is_of_age(member: Member, at: datetime) -> bool:
    """Say whether a member is known to be 14 or older at `at`: only a birth date tells (law.md A10)."""
    return member.birth_date is not None and not is_child(member, at)


def guardian_not_for_adults() -> Problem:
    """The refusal of a consent in a guardian's name for one who is 14 or older, or never had a guardian."""
    return Problem(
        409,
        "guardian_not_needed",
        "만 14세 미만으로 확인된 회원이 아닙니다. guardian 없이 본인이 동의해 주세요.",
        "Not a member known to be under 14: leave `guardian` out, the member consents itself.",
    )
