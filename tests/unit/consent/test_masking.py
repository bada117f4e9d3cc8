"""What staff see of a member before they say why they need more."""

import pytest

from services.consent import masking


@pytest.mark.parametrize(
    ("value", "seen"), [("홍길동", "홍*동"), ("홍길", "홍*"), ("남궁길동", "남**동"), ("홍", "홍*")]
)
def test_a_name_keeps_its_ends(value: str, seen: str) -> None:
    assert masking.name(value) == seen


@pytest.mark.parametrize(
    ("value", "seen"), [("hong@example.com", "h***@example.com"), ("a@b.kr", "a***@b.kr"), ("none", "***")]
)
def test_an_address_keeps_its_first_letter_and_its_domain(value: str, seen: str) -> None:
    assert masking.email(value) == seen


@pytest.mark.parametrize(
    ("value", "seen"), [("010-1234-5678", "010-****-5678"), ("01012345678", "010****5678"), ("12", "***")]
)
def test_a_telephone_number_keeps_its_ends(value: str, seen: str) -> None:
    assert masking.phone(value) == seen


def test_whatever_has_no_shape_of_its_own_is_hidden_whole() -> None:
    items = {"phone": "010-1234-5678", "title": "책임", "tags": ["a"], "x": None}
    profiles = [{"service": "s", "role": "host", **items}]
    shown = {"member_ref": "r", "email": None, "name": None, "profiles": profiles}
    masked = masking.member(shown)
    assert masked["masked"] is True
    hidden = {"phone": "010-****-5678", "title": "***", "tags": "***", "x": None}
    assert masked["profiles"] == [{"service": "s", "role": "host", **hidden}]
