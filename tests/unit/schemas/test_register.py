"""A register entry carries codes only, and a restricted one leads to nobody."""

import pytest
from pydantic import ValidationError

from tests.unit.schemas.samples import CHANGE, MEMBER, REGISTER


def entry(**changes: object) -> object:
    return type(REGISTER).model_validate(REGISTER.model_dump() | changes)


def test_the_key_is_the_member_else_the_subject() -> None:
    assert REGISTER.key == MEMBER
    assert type(REGISTER).model_validate(REGISTER.model_dump() | {"member_ref": None}).key == CHANGE


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "restricted"},
        {"kind": "Free text"},
        {"state": "그냥"},
        {"codes": {"why": "because he asked"}},
        {"codes": {"mail": "a@example.com"}},
        {"codes": {"name": "홍길동"}},
        {"subject": "somebody"},
    ],
)
def test_what_is_no_code_and_what_leads_to_a_person_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        entry(**changes)


def test_a_restricted_entry_without_a_member_stands() -> None:
    assert entry(kind="restricted", member_ref=None)
