"""Disclosures to third parties: who, what, for what, on what basis."""

from typing import Any

import pytest

from services.policy.decide import validate_disclosure
from services.policy.disclosure import may_have
from services.policy.model import load

RULES = load()


def found(
    recipient: str = "demo-partner",
    items: tuple[str, ...] = ("email",),
    purpose: str = "P1.1",
    basis: str = "consent",
) -> list[tuple[str, str]]:
    return [(v.pointer, v.code) for v in validate_disclosure(RULES, recipient, items, purpose, basis)]


def test_an_email_may_go_to_a_registered_third_party_with_consent() -> None:
    assert found() == []


@pytest.mark.parametrize("recipient", ["nobody", "tmax-os", "tmax-cloud"])
def test_only_a_registered_third_party_may_be_named(recipient: str) -> None:
    assert found(recipient=recipient) == [("/recipient", "unknown_third_party")]


@pytest.mark.parametrize("item", ["password_hash", "password", "account.password_hash"])
def test_a_password_is_never_disclosed(item: str) -> None:
    assert found(items=("email", item)) == [("/items/1", "item_not_disclosable")]


@pytest.mark.parametrize("purpose", ["P1.1", "p1.5", "service", "delivery", "partner_service", "상담", "제휴 서비스"])
def test_a_third_party_has_a_purpose_of_its_own(purpose: str) -> None:
    assert found(purpose=purpose) == []


@pytest.mark.parametrize("purpose", ["P1.6", "P2", "p9.9"])
def test_a_purpose_number_that_the_policy_does_not_have_is_refused(purpose: str) -> None:
    (violation,) = validate_disclosure(RULES, "demo-partner", ("email",), purpose, "consent")
    assert (violation.pointer, violation.code) == ("/purpose", "unknown_purpose")
    assert violation.known == ("P1.1", "P1.2", "P1.3", "P1.4", "P1.5")


@pytest.mark.parametrize(
    "basis",
    [
        "consent",
        "Consent",
        "동의",
        "consent:sharing",
        "third_party_consent",
        "PIPA 17(1)1",
        "17-1-1",
        "17①1",
        "개인정보 보호법 제17조 제1항 제1호",
        "law",
        "legal_obligation",
        "17-1-2",
        "15-1-6",
        "pipa 18-2-2",
        "18-2-3",
        "clause 3.3(1)",
        "consent given in writing",
        "동의서 2026-11",
    ],
)
def test_a_basis_that_the_law_gives_is_accepted_in_its_usual_spellings(basis: str) -> None:
    assert found(basis=basis) == []


@pytest.mark.parametrize(
    "basis",
    [
        "contract",
        "Contract",
        "계약",
        "15-1-4",
        "PIPA 15(1)4",
        "art18_2_5",
        "art18_2_6",
        "art18_2_7",
        "ART18_2_8",
        "art18_2_9",
        "law: PIPA 18(2)7",
        "18②7",
        "수사",
        "15-1-3",
    ],
)
def test_a_contract_and_what_is_for_public_institutions_is_no_basis(basis: str) -> None:
    assert found(basis=basis) == [("/basis", "refused_basis")]


@pytest.mark.parametrize("basis", ["whatever", "because", "99-1-1", "friendship"])
def test_another_basis_is_unknown_and_the_answer_names_those_there_are(basis: str) -> None:
    (violation,) = validate_disclosure(RULES, "demo-partner", ("email",), "P1.1", basis)
    assert (violation.pointer, violation.code) == ("/basis", "unknown_basis")
    assert "consent" in violation.known
    assert "contract" not in violation.known


def test_every_fault_is_told_at_once() -> None:
    codes = [code for _, code in found("nobody", ("password",), "P7", "contract")]
    assert codes == ["unknown_third_party", "item_not_disclosable", "unknown_purpose", "refused_basis"]


@pytest.mark.parametrize(
    ("status", "may"),
    [
        ("active", True),
        ("withdrawal_requested", True),
        ("pending_guardian", False),
        ("suspended", False),
        ("withdrawn", False),
        ("erased", False),
    ],
)
def test_the_present_value_goes_to_nobody_of_a_child_that_waits_or_one_suspended_or_gone(
    status: Any, may: bool
) -> None:
    assert may_have(RULES, "email", status, ()) is may
    assert not may_have(RULES, "email", status, {"email"})
