"""Which clauses an entry is found by: from the rules a fact names, its consents, and the kind of the record."""

from datetime import UTC, datetime

import pytest

from schemas.events import Addressee, ConsentItem, Fact
from schemas.receipts import Receipt, RegisterEntry
from services.audit.clauses import clauses_of

AT = datetime(2026, 11, 24, tzinfo=UTC)
ID = "00000000-0000-4000-8000-000000000001"


def fact(change: str, rules: tuple[str, ...] = (), purposes: tuple[str, ...] = ()) -> Fact:
    consents = tuple(ConsentItem(purpose=p, granted=True, notice_version="1") for p in purposes)
    return Fact.model_validate(
        {
            "change": change,
            "change_id": ID,
            "member_ref": ID,
            "seq": 1,
            "at": AT,
            "actor": "member",
            "channel": "web",
            "consents": consents,
            "addressees": (Addressee(id="tmax-os", kind="affiliate", rules=rules),),
            "policy_version": "1",
        }
    )


@pytest.mark.parametrize(
    ("change", "rules", "purposes", "clauses"),
    [
        ("corrected", ("3.2-share", "4.3-process"), (), ("3.2", "4.3", "5.1")),
        ("consent_changed", ("1.5-marketing",), ("marketing",), ("1.5",)),
        ("consent_changed", ("3.2-revoke",), ("sharing", "collection"), ("3.1", "3.2")),
        ("erased", ("7.1-erase",), (), ("7.1",)),
    ],
)
def test_a_fact_is_about_its_change_its_rules_and_its_consents(change, rules, purposes, clauses) -> None:
    assert clauses_of(fact(change, rules, purposes)) == clauses


@pytest.mark.parametrize(("kind", "clause"), [("affiliate", "3.2"), ("third_party", "5.7"), ("retention", "7.2")])
def test_a_receipt_is_about_what_its_recipient_is_told_by(kind, clause) -> None:
    receipt = Receipt(
        change_id=ID, member_ref=ID, seq=1, recipient="tmax-os", kind=kind, stage="applied", at=AT, record_id=None
    )
    assert clauses_of(receipt) == (clause,)


@pytest.mark.parametrize(
    ("kind", "codes", "clauses"),
    [
        ("inquiry", {}, ("10.2",)),
        ("staff_access", {}, ("8.1",)),
        ("legal_hold", {}, ("7.1",)),
        ("inquiry", {"clause": "9.3"}, ("9.3",)),  # what says its clause itself
        ("something_new", {}, ()),
    ],
)
def test_a_register_entry_is_about_its_kinds_clause(kind, codes, clauses) -> None:
    entry = RegisterEntry(entry_id=ID, kind=kind, subject=ID, state="open", at=AT, actor="staff", codes=codes)
    assert clauses_of(entry) == clauses
