"""One valid sample of every shape of the contract, and envelopes that fit them."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from schemas.base import Marketing
from schemas.envelope import Envelope
from schemas.events import (
    Addressee,
    ConsentItem,
    Fact,
    MemberPart,
    Notice,
    ProcessedPart,
    Projection,
    StatutoryRecord,
    Stop,
    Suppression,
)
from schemas.receipts import DisclosureRecord, Receipt, RegisterEntry

AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MEMBER = "01a20f2a-a131-762e-ae9c-05d2a679804e"
CHANGE = "01a20f2a-a131-762e-ae9c-05d2a679804f"
OTHER = "01a20f2a-a131-762e-ae9c-05d2a6798050"
NO = Marketing(use=False, email=False, sms=False, night=False)

FACT = Fact(
    change="corrected",
    change_id=CHANGE,
    member_ref=MEMBER,
    seq=3,
    at=AT,
    actor="member",
    channel="web",
    items=("email",),
    commitments={"email": "c2VjcmV0"},
    consents=(ConsentItem(purpose="sharing", granted=True, recipient="tmax-os", notice_version="2021-02-22"),),
    addressees=(Addressee(id="tmax-os", kind="affiliate", roles=("recipient",), rules=("share",)),),
    policy_version="2021-02-22",
)
PROJECTION = Projection(
    change_id=CHANGE,
    member_ref=MEMBER,
    seq=3,
    prev=1,
    at=AT,
    member=MemberPart(
        email="hong@example.com", name="홍길동", password_hash="$argon2id$v=19$", status="active", signed_up_at=AT
    ),
    marketing=NO,
    processed=ProcessedPart(service="hypermeeting", role="host", items={"phone": "010", "friends": ["a", "b"]}),
)
STOP = Stop(
    stop="withdrawn", change_id=CHANGE, member_ref=MEMBER, seq=3, prev=1, at=AT, roles=("processor", "recipient")
)
NOTICE = Notice(
    notice_id=OTHER,
    change_id=CHANGE,
    member_ref=MEMBER,
    recipient="demo-partner",
    seq=3,
    corrected_at=AT,
    items=("email",),
    values={"email": "new@example.com"},
)
RECEIPT = Receipt(
    change_id=CHANGE, member_ref=MEMBER, seq=3, recipient="tmax-os", kind="affiliate", stage="applied", at=AT
)
DISCLOSURE = DisclosureRecord(
    disclosure_id=OTHER,
    member_ref=MEMBER,
    recipient="demo-partner",
    kind="third_party",
    role="recipient",
    items=("email",),
    purpose="delivery",
    basis="consent",
    at=AT,
)
REGISTER = RegisterEntry(
    entry_id=OTHER,
    member_ref=MEMBER,
    kind="rights_request",
    subject=CHANGE,
    state="received",
    at=AT,
    actor="staff",
    codes={"type": "access", "due_on": "2026-12-04"},
)
SUPPRESSION = Suppression(member_ref=MEMBER, at=AT)
RECORD = StatutoryRecord(
    record_id=OTHER,
    change_id=CHANGE,
    member_ref=MEMBER,
    seq=3,
    record_class="payment",
    occurred_at=AT,
    destroy_on=date(2031, 11, 25),
    rule="ecommerce.payment",
    party={"name": "홍길동"},
    fields={"amount": "12000"},
)

_ENVELOPE = Envelope(
    id=OTHER,
    type="kr.dongui.member.corrected.v1",
    source="/dongui/consent",
    subject=MEMBER,
    sequence=3,
    previous=1,
    time=AT,
    dataschema="",
    content_type="application/json",
    change_id=CHANGE,
)


def an_envelope(shape: str, **changes: Any) -> Envelope:
    """Return the envelope of a sample by the shape's name, with changes."""
    own: dict[str, dict[str, Any]] = {
        "fact": {"previous": 2},
        "projection": {"content_type": "application/jose"},
        "notice": {"content_type": "application/jose"},
        "record": {"type": "kr.dongui.record.v1", "content_type": "application/jose"},
        "stop": {"type": "kr.dongui.member.withdrawn.v1"},
        "receipt": {"type": "kr.dongui.receipt.v1"},
        "disclosure": {"type": "kr.dongui.disclosure.v1", "change_id": None},
        "register": {"type": "kr.dongui.register.v1", "change_id": None},
        "suppression": {"type": "kr.dongui.member.erased.v1", "change_id": None},
    }
    named = {"dataschema": f"urn:dongui:{shape}:v1"}
    return replace(_ENVELOPE, **(named | own[shape] | changes))


CLEAR = {
    "fact": FACT,
    "stop": STOP,
    "receipt": RECEIPT,
    "disclosure": DISCLOSURE,
    "register": REGISTER,
    "suppression": SUPPRESSION,
}
SEALED = {"projection": PROJECTION, "notice": NOTICE, "record": RECORD}
KIDS = {
    "projection": f"tmax-os.{MEMBER}.1",
    "notice": f"demo-partner.{MEMBER}.1",
    "record": f"retention.{MEMBER}.1",
}
