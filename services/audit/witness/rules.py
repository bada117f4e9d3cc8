"""What a witness answers to one `add-checkpoint` request: C2SP tlog-witness, step by step. Pure."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from services.audit import checkpoint, tree
from services.audit.checkpoint import Checkpoint, CheckpointError, Verifier

PROOF_LINES_MAX = 63
Evidence = Literal["split", "unproven"]
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True)
class Request:
    """One request, parsed: the size the log thinks we know, the consistency proof from there, the signed note."""

    old: int
    path: tuple[bytes, ...]
    note: str


@dataclass(frozen=True)
class Verdict:
    """The HTTP status; for 200 the checkpoint to cosign, for a stale size what we know. `code` is stable.

    `evidence` says what a request is worth keeping as: `split` when the log's own signature contradicts what we
    cosigned before, `unproven` when it seems to (422: the proof, which anybody can make up, may be at fault).
    """

    status: int
    code: str
    head: Checkpoint | None = None
    known_size: int | None = None
    evidence: Evidence | None = None


def parse(body: bytes) -> Request:
    """Read a request; raise ValueError when it is not of the form."""
    text = body.decode()
    head, separator, note = text.partition("\n\n")
    first, *proof = head.split("\n")
    old = _OLD.fullmatch(first)
    if not separator or old is None or len(proof) > PROOF_LINES_MAX:
        raise ValueError("not an add-checkpoint request")
    try:
        path = tuple(base64.b64decode(line, validate=True) for line in proof)
    except binascii.Error as error:
        raise ValueError("a proof line is not base64") from error
    if any(len(value) != tree.HASH_BYTES for value in path):
        raise ValueError("a proof line is no hash")
    return Request(int(old[1]), path, note)


def judge(request: Request, logs: Mapping[str, Verifier], known: Mapping[str, Checkpoint]) -> Verdict:
    """Return what to answer. `logs` are the keys by origin; `known` what was last cosigned for each."""
    origin = request.note.partition("\n")[0]
    if origin not in logs:
        return Verdict(404, "unknown_log")
    try:
        head = checkpoint.open_checkpoint(request.note, logs[origin])
    except CheckpointError as error:
        return Verdict(403 if error.code in {"unknown_key", "bad_signature"} else 400, error.code)
    if request.old > head.size:
        return Verdict(400, "old_size_too_large")
    last = known.get(origin, Checkpoint(origin, 0, tree.EMPTY_ROOT))
    if request.old != last.size:
        return _stale(head, last)
    return _grown(request, head, last)


def _stale(head: Checkpoint, last: Checkpoint) -> Verdict:
    """The log did not know our size, unless it signed another root for it. An old note may be sent by anybody."""
    forked = head.size == last.size and head.root != last.root
    return Verdict(409, "size_conflict", known_size=last.size, evidence="split" if forked else None)


def _grown(request: Request, head: Checkpoint, last: Checkpoint) -> Verdict:
    if head.size == last.size and head.root != last.root:
        return Verdict(409, "split_view", known_size=last.size, evidence="split")
    if last.size == 0:
        consistent = not request.path
    else:
        consistent = tree.verify_consistency((last.size, head.size), last.root, head.root, request.path)
    if not consistent:
        return Verdict(422, "inconsistent", evidence="unproven")
    return Verdict(200, "cosigned", head=head)
