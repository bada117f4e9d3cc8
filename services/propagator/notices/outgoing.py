"""Records that leave by the outbox of the notices database: receipts and dead letters, each once.

Their ids are made from what they are about, so that the same statement made twice is one record.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import cast

from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.receipts import RECEIPT_TYPE, Receipt, Stage
from schemas.topics import NOTICES, RECEIPTS, dlq_of
from services.propagator.answers import ERROR_HEADER, NAMESPACE, ORIGIN_HEADER
from services.propagator.notices.model import Outcome
from services.propagator.notices.store import SQL, Job, Subject
from services.runtime import outbox
from services.runtime.outbox import Record
from services.runtime.postgres import Connection

SOURCE = "/dongui/propagator/notices"


def receipt(
    about: Subject, stage: Stage, at: datetime, *, outcome: str | None = None, reason: str | None = None
) -> Record:
    """Return the receipt of one third party about one change; `at` is aware."""
    said = Receipt(
        change_id=about.change_id,
        member_ref=about.member_ref,
        seq=about.seq,
        recipient=about.recipient,
        kind="third_party",
        stage=stage,
        at=at,
        outcome=cast("Outcome | None", outcome),
        reason=reason,
        superseded_by=about.superseded_by,
    )
    statement = f"{about.recipient}/{stage}/{outcome or ''}"
    if about.superseded_by:
        statement += f"/{about.superseded_by}"
    envelope = Envelope(
        id=str(uuid.uuid5(uuid.UUID(about.change_id), statement)),
        type=RECEIPT_TYPE,
        source=SOURCE,
        subject=about.member_ref,
        sequence=about.seq,
        previous=0,
        time=at,
        dataschema="urn:dongui:receipt:v1",
        content_type="application/json",
        change_id=about.change_id,
    )
    payload = codec.encode_clear(said, envelope)
    return Record(envelope.id, RECEIPTS, about.member_ref, envelope.type, payload, to_headers(envelope))


def dead_letter(job: Job, code: str) -> Record:
    """Return the dead letter of a notice that was taken in: its bytes and headers as they came, and why."""
    record_id = str(uuid.uuid5(NAMESPACE, f"{job.origin}/{code}"))
    headers = job.headers | {ERROR_HEADER: code, ORIGIN_HEADER: job.origin}
    return Record(record_id, dlq_of(NOTICES), job.member_ref, headers["ce_type"], job.sealed, headers)


async def append_new(tx: Connection, records: Sequence[Record]) -> None:
    """Append those records that were never said before, in the caller's transaction."""
    wanted = {r.id: r for r in records}
    new = {row["id"] for row in await tx.fetch(SQL["say"], sorted(wanted))} if wanted else set()
    await outbox.append(tx, [record for record_id, record in wanted.items() if record_id in new])
