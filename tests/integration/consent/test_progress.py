"""Where a change is: receipts come back, a seal completes what has no recipient, lag is told."""

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.receipts import RECEIPT_TYPE, Receipt
from schemas.topics import RECEIPTS
from services.runtime import kafka
from tests.integration.consent.harness import Service

AFFILIATES = ("tmax-cloud", "tmax-os", "tmax-anc")


def a_receipt(made: dict[str, Any], recipient: str, stage: Any = "applied", **changes: Any) -> Receipt:
    kind: Any = "audit" if recipient == "audit" else "affiliate"
    return Receipt(
        change_id=made["change_id"],
        member_ref=made["member_ref"],
        seq=made["seq"],
        recipient=recipient,
        kind=kind,
        stage=stage,
        at=datetime.now(UTC),
        **changes,
    )


async def send(service: Service, *receipts: Receipt, noise: tuple[bytes | None, ...] = ()) -> None:
    producer = await kafka.producer(service.settings)
    topic = service.settings.topic_prefix + RECEIPTS
    try:
        for value in noise:
            await producer.send_and_wait(topic, value=value, key=b"noise")
        for receipt in receipts:
            envelope = envelope_of(receipt)
            headers = [(k, v.encode()) for k, v in to_headers(envelope).items()]
            value = codec.encode_clear(receipt, envelope)
            await producer.send_and_wait(topic, value=value, key=receipt.member_ref.encode(), headers=headers)
    finally:
        await producer.stop()


def envelope_of(receipt: Receipt) -> Envelope:
    return Envelope(
        id=str(uuid.uuid4()),
        type=RECEIPT_TYPE,
        source="/dongui/propagator/test",
        subject=receipt.member_ref,
        sequence=receipt.seq,
        previous=0,
        time=receipt.at,
        dataschema="urn:dongui:receipt:v1",
        content_type="application/json",
    )


async def shown_when(service: Service, change_id: str, **wanted: Any) -> dict[str, Any]:
    """Return the change once it shows what is wanted; fail with what it showed."""
    found: dict[str, Any] = {}
    for _ in range(200):
        found = (await service.http.get(f"/v1/changes/{change_id}")).json()
        stages = {r["id"]: r["stage"] for r in found["recipients"]}
        if wanted.items() <= (stages | {"complete": found["complete"], "leaf": found["leaf_index"]}).items():
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(found)


async def test_a_change_is_accepted_then_relayed_then_answered(service: Service) -> None:
    made = await service.sign_up()
    shown = await shown_when(service, made["change_id"], **dict.fromkeys(AFFILIATES, "relayed"))
    assert shown["complete"] is False
    relayed_ledger = await service.pool.fetchval("SELECT count(*) FROM disclosure WHERE relayed_at IS NOT NULL")
    assert relayed_ledger == 3
    await send(service, a_receipt(made, "tmax-cloud"), a_receipt(made, "tmax-os", "superseded"))
    await shown_when(
        service, made["change_id"], **{"tmax-os": "superseded", "tmax-cloud": "applied", "complete": False}
    )
    await send(service, a_receipt(made, "tmax-anc"))
    await shown_when(service, made["change_id"], **{"tmax-anc": "applied", "complete": True})
    applied = await service.pool.fetch("SELECT recipient FROM disclosure WHERE applied_at IS NOT NULL")
    assert {row["recipient"] for row in applied} == {"tmax-cloud", "tmax-anc"}


async def test_a_redrive_replaces_a_refusal_and_nothing_replaces_an_answer(service: Service) -> None:
    made = await service.sign_up()
    refused = a_receipt(made, "tmax-os", "refused", reason="bad_jwe")
    await send(service, refused, refused)
    shown = await shown_when(service, made["change_id"], **{"tmax-os": "refused"})
    assert next(r for r in shown["recipients"] if r["id"] == "tmax-os")["reason"] == "bad_jwe"
    applied = a_receipt(made, "tmax-os")
    await send(service, applied, a_receipt(made, "tmax-os", "superseded"), refused, applied)
    await send(service, a_receipt(made, "tmax-anc"))
    await shown_when(service, made["change_id"], **{"tmax-os": "applied", "tmax-anc": "applied"})


async def test_a_change_without_recipients_is_complete_when_sealed(service: Service) -> None:
    made = await service.sign_up()
    nothing = (await service.patch(made["member_ref"], 1, {"name": "홍길동"})).json()
    shown = await shown_when(service, nothing["change_id"], complete=False)
    assert shown["recipients"] == []
    seal = a_receipt(made | nothing, "audit", "sealed", leaf_index=7)
    await send(service, seal, seal)
    await shown_when(service, nothing["change_id"], complete=True, leaf=7)


async def test_noise_and_unknown_changes_on_the_receipts_topic_stop_nothing(service: Service) -> None:
    made = await service.sign_up()
    stranger = a_receipt(made | {"change_id": str(uuid.uuid4())}, "tmax-os")
    await send(service, stranger, a_receipt(made, "tmax-os"), noise=(None, b"", b"{", b"\xff" * 100))
    await shown_when(service, made["change_id"], **{"tmax-os": "applied"})


async def test_the_status_tells_what_is_open_per_recipient(service: Service) -> None:
    made = await service.sign_up()
    await service.post(f"/v1/members/{made['member_ref']}/withdrawal")
    await send(service, a_receipt(made, "tmax-os"))
    await shown_when(service, made["change_id"], **{"tmax-os": "applied"})
    found = {r["recipient"]: r for r in (await service.http.get("/v1/status")).json()["recipients"]}
    assert {a: found[a]["changes"] for a in AFFILIATES} == {"tmax-cloud": 2, "tmax-os": 1, "tmax-anc": 2}
    assert all(row["oldest_withdrawal_at"] is not None for row in found.values())
    assert all(0 <= row["seconds"] < 60 for row in found.values())
