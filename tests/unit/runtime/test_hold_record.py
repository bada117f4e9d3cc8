"""A step of a legal hold is taken whole or not at all: its codes are free, the tables that keep it are not."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from schemas.receipts import RegisterEntry
from services.runtime.hold_record import HoldStep, steps
from services.runtime.register_record import carrier

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
REF, HOLD, ENTRY = (f"0190c4a0-0000-7000-8000-00000000000{n}" for n in (1, 2, 3))
REASON = {"place": "retention", "reason": "file-2026-7"}


def told(state: str = "held", codes: Mapping[str, str] = REASON, member_ref: str | None = REF, **changes: str) -> Any:
    """Return a record of the receipts topic."""
    entry = RegisterEntry(
        entry_id=ENTRY,
        member_ref=member_ref,
        kind=changes.get("kind", "legal_hold"),
        subject=HOLD,
        state=state,
        at=AT,
        actor="staff",
        codes=dict(codes),
    )
    record = carrier(entry, "/dongui/test")
    headers = [(name, text.encode()) for name, text in record.headers.items()]
    return SimpleNamespace(value=record.payload, headers=headers, partition=0, offset=0)


def test_a_hold_and_its_lift_are_read_in_order() -> None:
    found = list(steps([told(), told("lifted", {"place": "retention"})], "retention"))
    assert found == [HoldStep(HOLD, REF, True, "file-2026-7", AT), HoldStep(HOLD, REF, False, "", AT)]


@pytest.mark.parametrize(
    "record",
    [
        told(codes={"place": "retention"}),
        told(member_ref=None),
        told("lifted", member_ref=None),
        told("paused"),
        told(codes={"place": "consent", "reason": "litigation"}),
        told(codes={"reason": "litigation"}),
        told(kind="erasure"),
    ],
    ids=["no reason", "nobody", "lift of nobody", "another step", "the other place", "no place", "another kind"],
)
def test_what_says_too_little_or_is_not_meant_is_skipped_and_the_next_one_is_read(record: Any) -> None:
    assert [step.hold_id for step in steps([record, told()], "retention")] == [HOLD]


def test_what_is_skipped_is_logged_by_the_id_of_its_entry_and_nothing_else() -> None:
    with capture_logs() as lines:
        assert list(steps([told(codes={"place": "retention"})], "retention")) == []
    assert lines == [{"event": "hold_ill_formed", "log_level": "error", "entry_id": ENTRY}]
