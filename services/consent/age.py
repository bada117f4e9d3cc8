"""Pure: is a member under 14, so that its consents are the guardian's to give (PIPA 22-2(1), clause 5.3)?

A birth date is the account's, or the item of a service's profile; the youngest one known counts.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Final

from services.consent.bodies import AccountBody, ProfileBody
from services.consent.model import ENDED, Member
from services.consent.refusals import field
from services.policy.calendar import is_minor
from services.policy.profile import day_of
from services.runtime.clock import KST
from services.runtime.problem import Problem

BORN: Final = "birth_date"


def births(member: Member) -> frozenset[date]:
    """Return every birth date known of a member."""
    found = (member.birth_date, *(day_of(profile.items.get(BORN)) for profile in member.profiles.values()))
    return frozenset(born for born in found if born is not None)


def under_14(member: Member, at: datetime) -> bool:
    """Say whether a birth date known of a member is that of a child at `at`."""
    return any(is_minor(born, at) for born in births(member))


def is_child(member: Member, at: datetime) -> bool:
    """Say whether a member is under 14 at `at`: by a birth date; without the account's, by the guardian it had.

    A declaration does not age: whoever was confirmed by a guardian without a birth date stays a child until one is
    corrected by request. Of one who has left nothing is known any more.
    """
    if member.status in ENDED:
        return False
    return under_14(member, at) or (member.birth_date is None and member.guardian_confirmed)


def is_of_age(member: Member, at: datetime) -> bool:
    """Say whether a member is known to be 14 or older at `at`: only the account's birth date tells (law.md A10)."""
    return member.birth_date is not None and not is_child(member, at)


def given(birth_date: date | None, profiles: Sequence[ProfileBody], under: str = "") -> dict[str, date]:
    """Return the birth dates of a body (at `under`) by JSON Pointer; one that cannot be read is refused elsewhere."""
    items = {f"{under}/profiles/{i}/{BORN}": day_of(profile.items().get(BORN)) for i, profile in enumerate(profiles)}
    found = {f"{under}/{BORN}": birth_date} | items
    return {pointer: born for pointer, born in found.items() if born is not None}


def check_given(found: Mapping[str, date], at: datetime) -> None:
    """Raise Problem 422 for a birth date after the day of `at` in Korea."""
    for pointer, born in found.items():
        if born > at.astimezone(KST).date():
            raise field(
                422,
                "birth_date_in_future",
                pointer,
                "생년월일은 오늘보다 늦을 수 없습니다.",
                "A birth date cannot be later than today.",
            )


def check_sign_up(body: AccountBody, at: datetime) -> None:
    """Raise Problem 422 for a birth date in the future, or one that belies the declaration of being 14 or older."""
    found = given(body.birth_date, body.profiles)
    check_given(found, at)
    if body.age_declaration and any(is_minor(born, at) for born in found.values()):
        raise field(
            422,
            "age_declaration_contradicted",
            "/age_declaration",
            "생년월일이 만 14세 이상이라는 확인과 맞지 않습니다.",
            "The birth date contradicts the declaration of being 14 or older.",
        )


def waits(body: AccountBody, at: datetime) -> bool:
    """Say whether one who signs up waits for a guardian: born so late, or says so.

    The policy collects no birth date for the account, so a declaration takes its place.
    """
    found = given(body.birth_date, body.profiles)
    declared = body.birth_date is None and body.age_declaration is False
    return declared or any(is_minor(born, at) for born in found.values())


def check_correction(before: Member, after: Member, at: datetime) -> None:
    """Raise Problem 422 for a birth date that a member gives anew and that is, or was, a child's.

    It decides whether a guardian is asked, so it is corrected by a request, whose identity is verified (5.1, 5.6).
    """
    child = before.in_force == "pending_guardian" or is_child(before, at) or under_14(after, at)
    if child and births(after) - births(before):
        raise field(
            422,
            "birth_date_by_request",
            "/profiles",
            "만 14세 미만과 관련된 생년월일은 정정 요구(rights-requests)로 고쳐 주세요. 본인 확인 뒤에 반영합니다.",
            "A birth date of one under 14 is corrected by a rights request, once the identity is verified.",
        )


def guardian_not_for_adults() -> Problem:
    """The refusal of a consent in a guardian's name for one who is 14 or older, or never had a guardian."""
    return Problem(
        409,
        "guardian_not_needed",
        "만 14세 미만으로 확인된 회원이 아닙니다. guardian 없이 본인이 동의해 주세요.",
        "Not a member known to be under 14: leave `guardian` out, the member consents itself.",
    )
