"""Proof files: C2SP tlog-proof@v1, read, written and verified with no network and no database. Pure.

The `extra` line is the base64 of the entry's exact body, so the leaf hash is recomputed and never believed.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from services.audit import cosignature, tree
from services.audit.checkpoint import Checkpoint, CheckpointError, Verifier, open_checkpoint
from services.audit.walk import Report

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
PATH_MAX = 63

_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True)
class Trust:
    """What is believed: the log's key, witnesses' keys, and from elsewhere notes and leaf hashes (32 bytes each)."""

    key: Verifier
    outside: Sequence[str] = ()
    witnesses: Sequence[Verifier] = ()
    leaves: Sequence[bytes] = field(default=())


@dataclass(frozen=True)
class Proof:
    """One proof file, parsed and not yet believed."""

    index: int
    body: bytes
    path: tuple[bytes, ...]
    note: str


def format_proof(index: int, body: bytes, path: Sequence[bytes], note: str) -> str:
    """Return the text of a proof file."""
    hashes = "".join(f"{base64.b64encode(value).decode()}\n" for value in path)
    extra = base64.b64encode(body).decode()
    return f"{PROOF_HEADER}\nextra {extra}\nindex {index}\n{hashes}\n{note}"


def parse_proof(text: str) -> Proof:
    """Read a proof file; raise ValueError when it is not of the form."""
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or len(lines) < 3 or lines[0] != PROOF_HEADER:
        raise ValueError("not a tlog-proof")
    index = _INDEX.fullmatch(lines[2])
    if index is None or not lines[1].startswith("extra ") or len(lines) > 3 + PATH_MAX:
        raise ValueError("not a tlog-proof with the entry inside")
    try:
        body = base64.b64decode(lines[1].removeprefix("extra "), validate=True)
        path = tuple(base64.b64decode(line, validate=True) for line in lines[3:])
    except binascii.Error as error:
        raise ValueError("a line is not base64") from error
    return Proof(int(index[1]), body, path, note)


def verify_proof(data: bytes, verifier: Verifier, outside: Sequence[str] = ()) -> Report:
    """Verify one proof with the log's key alone."""
    return check_proof(data, Trust(verifier, outside))


def check_proof(data: bytes, trust: Trust) -> Report:
    """Verify one proof: leaf hash from the body, path to the root, signature of the checkpoint, cosignatures."""
    report = Report("proof", entries=1)
    try:
        proof = parse_proof(data.decode())
    except ValueError:
        report.add("bad_proof_file")
        return report
    head = opened(report, proof.note, trust)
    if head is None:
        return report
    report.size = head.size
    if not tree.verify_inclusion(tree.leaf_hash(proof.body), proof.index, head.size, proof.path, head.root):
        report.add("not_included", proof.index)
    for other in opened_all(report, trust.outside, trust.key, "bad_outside_checkpoint"):
        _compare_heads(report, head, other)
    return report


def _compare_heads(report: Report, head: Checkpoint, other: Checkpoint) -> None:
    """One proof can be compared with a checkpoint of its own size only; anything else is not verified."""
    if other.size != head.size:
        report.add("outside_checkpoint_of_other_size")
    elif other.root != head.root:
        report.add("outside_checkpoint_differs")


def opened(report: Report, note: str, trust: Trust) -> Checkpoint | None:
    """Return the checkpoint of a note, or None with a finding. A witness that is asked for must have signed it."""
    try:
        head = open_checkpoint(note, trust.key)
        report.cosigned_by = sorted({one.name for one in cosignature.cosigned(note, trust.witnesses)})
    except CheckpointError as error:
        report.add(error.code)
        return None
    if {witness.name for witness in trust.witnesses} - set(report.cosigned_by):
        report.add("not_cosigned")
    return head


def opened_all(report: Report, notes: Sequence[str], verifier: Verifier, code: str) -> Iterator[Checkpoint]:
    """Yield the checkpoints of notes that hold; add a finding for each that does not."""
    for note in notes:
        try:
            yield open_checkpoint(note, verifier)
        except CheckpointError:
            report.add(code)
