"""Pure: a register entry as the outbox record that carries it to the audit log, whichever process writes it."""

from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.receipts import REGISTER_TYPE, RegisterEntry
from schemas.topics import RECEIPTS
from services.runtime.outbox import Record


def carrier(entry: RegisterEntry, source: str) -> Record:
    """Return the record of an entry; `source` is the CloudEvents source of the process that says it."""
    envelope = Envelope(
        id=entry.entry_id,
        type=REGISTER_TYPE,
        source=source,
        subject=entry.key,
        sequence=1,
        previous=0,
        time=entry.at,
        dataschema="urn:dongui:register:v1",
        content_type="application/json",
    )
    payload = codec.encode_clear(entry, envelope)
    return Record(envelope.id, RECEIPTS, envelope.subject, envelope.type, payload, to_headers(envelope))
