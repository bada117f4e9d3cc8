"""What the log keeps of an investigators' entry; what is expected is `sha256sum` of the JSON written out by hand."""

from datetime import UTC, datetime
from typing import Any

from services.consent.registers.investigations import digest

ROW: dict[str, Any] = {
    "position": 7,
    "investigation_id": "0190c4a0-0000-7000-8000-000000000001",
    "received_at": datetime(2026, 11, 23, tzinfo=UTC),
    "recorded_by": "officer-1",
    "agency": "police",
    "basis": "telecom_business_act_83",
    "purpose": "investigation",
    "paper": {"kind": "written_request", "number": "2026-7"},
    "member_ref": "0190c4a0-0000-7000-8000-000000000002",
    "requested": ["name", "phone", "ip"],
    "allowed": ["name", "phone"],
    "denied": {"ip": "outside_statute"},
    "refusal": None,
    "state": "open",
    "provided": [],
    "form": None,
    "restrictions": [],
    "decided_at": None,
    "decided_by": None,
    "keep_until": None,
    "paper_number": None,
    "paper_received_at": None,
    "salt": None,
}
WITHOUT_SALT = "8fe30c6ead14d016e165ec3a5d07639b831ebb222d6d1284d5d025320919ef7d"
SALTED_WITH_ONES = "ab90ccaf9a0cede3050c50ebf0f0463ac5c876e225c55cfb2d48c2dc45595e4d"


def test_a_row_from_before_is_proven_as_it_was() -> None:
    assert digest(ROW) == WITHOUT_SALT


def test_the_salt_is_proven_with_the_row() -> None:
    assert digest(ROW | {"salt": b"\x01" * 32}) == SALTED_WITH_ONES


def test_equal_rows_with_salts_of_their_own_have_nothing_in_common() -> None:
    assert digest(ROW | {"salt": b"\x02" * 32}) not in {WITHOUT_SALT, SALTED_WITH_ONES}


def test_what_is_proven_cannot_change() -> None:
    salted = ROW | {"salt": b"\x01" * 32}
    assert digest(salted | {"state": "denied"}) != digest(salted)
