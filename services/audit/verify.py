"""The verifier: recomputes every hash of an exported file, with no network and no database.

It imports nothing of this system but the tree and the checkpoint format, so that a flaw in the log's
own code cannot hide in it. What it trusts is one verifier key, and checkpoints kept elsewhere.

Files it reads:

* A proof (`audit prove`, extension `.tlog-proof`): C2SP tlog-proof@v1. The `extra` line is the base64 of
  the entry's exact body, so the leaf hash is recomputed and never believed.
* An export (`audit export`): NDJSON. First `{"kind":"export","version":1,"origin"}`, then in any order
  `{"kind":"entry","index","leaf_hash","body"}` in order of index (`leaf_hash` base64, `body` the exact
  text) and `{"kind":"checkpoint","size","note"}`.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.audit import tree
from services.audit.checkpoint import Checkpoint, CheckpointError, Verifier, open_checkpoint

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
EXPORT_VERSION = 1
LINE_BYTES_MAX = 4 * 1024 * 1024
FINDINGS_MAX = 100
PATH_MAX = 63

_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `index` is the first bad leaf; it lies in [index, until) when until is given."""

    code: str
    index: int | None = None
    until: int | None = None


@dataclass
class Report:
    """What was looked at and what is wrong with it. `size` is the number of leaves covered."""

    kind: str
    entries: int = 0
    size: int = 0
    checkpoints: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    @property
    def first_bad_index(self) -> int | None:
        """The smallest index any finding names."""
        return min((f.index for f in self.findings if f.index is not None), default=None)

    def add(self, code: str, index: int | None = None, until: int | None = None) -> None:
        """Note a finding; beyond FINDINGS_MAX they are no longer of use."""
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(code, index, until))


def verify_file(path: Path, verifier: Verifier, outside: Sequence[str] = ()) -> Report:
    """Verify a proof or an export, told apart by the first line. `outside` are notes kept elsewhere.

    Raises OSError when the file cannot be read; all else that is wrong is in the report.
    """
    with path.open("rb") as file:
        first = file.readline(LINE_BYTES_MAX)
    if first.rstrip(b"\n") == PROOF_HEADER.encode():
        return verify_proof(path.read_bytes(), verifier, outside)
    return verify_export(path, verifier, outside)


def format_proof(index: int, body: bytes, path: Sequence[bytes], note: str) -> str:
    """Return the text of a proof file."""
    hashes = "".join(f"{base64.b64encode(value).decode()}\n" for value in path)
    extra = base64.b64encode(body).decode()
    return f"{PROOF_HEADER}\nextra {extra}\nindex {index}\n{hashes}\n{note}"


def verify_proof(data: bytes, verifier: Verifier, outside: Sequence[str] = ()) -> Report:
    """Verify one proof: leaf hash from the body, path to the root, signature of the checkpoint."""
    report = Report("proof", entries=1)
    try:
        index, body, path, note = _parse_proof(data.decode())
    except (ValueError, binascii.Error):
        report.add("bad_proof_file")
        return report
    head = _opened(report, note, verifier)
    if head is None:
        return report
    report.size = head.size
    if not tree.verify_inclusion(tree.leaf_hash(body), index, head.size, path, head.root):
        report.add("not_included", index)
    for other in _opened_all(report, outside, verifier, "bad_outside_checkpoint"):
        _compare_heads(report, head, other)
    return report


def _compare_heads(report: Report, head: Checkpoint, other: Checkpoint) -> None:
    """One proof can be compared with a checkpoint of its own size only; anything else is not verified."""
    if other.size != head.size:
        report.add("outside_checkpoint_of_other_size")
    elif other.root != head.root:
        report.add("outside_checkpoint_differs")


def _parse_proof(text: str) -> tuple[int, bytes, list[bytes], str]:
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or len(lines) < 3 or lines[0] != PROOF_HEADER:
        raise ValueError
    index = _INDEX.fullmatch(lines[2])
    if index is None or not lines[1].startswith("extra ") or len(lines) > 3 + PATH_MAX:
        raise ValueError
    body = base64.b64decode(lines[1].removeprefix("extra "), validate=True)
    path = [base64.b64decode(line, validate=True) for line in lines[3:]]
    return int(index[1]), body, path, note


def verify_export(path: Path, verifier: Verifier, outside: Sequence[str] = ()) -> Report:
    """Verify a whole log: every leaf, every root, every checkpoint in the file and every one from outside.

    All roots come from one pass over the same leaves, so checkpoints that all hold are consistent.
    """
    report = Report("export")
    try:
        heads = _heads(report, path, verifier, outside)
        _walk(report, path, heads)
    except (ValueError, KeyError, TypeError, binascii.Error):
        report.add("bad_export_file")
    return report


@dataclass
class _Heads:
    """Checkpoints to be met, by size; the roots claimed for one size should be one."""

    by_size: dict[int, set[bytes]] = field(default_factory=dict)
    outside: set[int] = field(default_factory=set)

    def add(self, head: Checkpoint) -> None:
        self.by_size.setdefault(head.size, set()).add(head.root)


def _heads(report: Report, path: Path, verifier: Verifier, outside: Sequence[str]) -> _Heads:
    found = _Heads()
    notes = [str(line["note"]) for line in _lines(path, "checkpoint")]
    for head in _opened_all(report, notes, verifier, "bad_checkpoint"):
        found.add(head)
    for head in _opened_all(report, outside, verifier, "bad_outside_checkpoint"):
        found.add(head)
        found.outside.add(head.size)
    report.checkpoints = len(found.by_size)
    if not found.by_size:
        report.add("no_checkpoint")
    return found


def _walk(report: Report, path: Path, heads: _Heads) -> None:
    """Recompute the tree leaf by leaf and compare it at the size of each checkpoint."""
    grown, good = tree.Frontier(), 0
    for line in _lines(path, "entry"):
        if not _is_next(report, line, grown.size):
            break
        leaf = tree.leaf_hash(str(line["body"]).encode())
        if leaf != base64.b64decode(line["leaf_hash"], validate=True):
            report.add("body_changed", grown.size)
        grown.push(leaf)
        good = _compare_roots(report, grown, heads, good)
    report.entries = grown.size
    report.size = grown.size
    _check_end(report, grown.size, good, heads)


def _is_next(report: Report, line: dict[str, Any], expected: int) -> bool:
    """Return whether this is the entry that has to come; after a hole nothing can be recomputed."""
    index = line["index"]
    if index == expected:
        return True
    report.add("entry_missing" if int(index) > expected else "entry_out_of_order", expected)
    return False


def _compare_roots(report: Report, grown: tree.Frontier, heads: _Heads, good: int) -> int:
    """Compare at this size; return the largest size up to which the log is known to be good."""
    claimed = heads.by_size.get(grown.size)
    if claimed is None:
        return good
    if claimed == {grown.root()}:
        return grown.size if report.ok else good
    if len(claimed) > 1:
        report.add("checkpoints_contradict", good, grown.size)
    elif not any(f.code == "root_differs" for f in report.findings):
        report.add("root_differs", *_narrowed(report, good, grown.size))
    return good


def _narrowed(report: Report, good: int, size: int) -> tuple[int, int]:
    """Where the first bad leaf is: exactly, when a changed body named it; else after the last good root."""
    exact = [f.index for f in report.findings if f.code == "body_changed" and f.index is not None]
    return (min(exact), min(exact) + 1) if exact else (good, size)


def _check_end(report: Report, size: int, good: int, heads: _Heads) -> None:
    """A checkpoint beyond the end says that leaves are gone; leaves beyond all of them are unproved.

    Which leaf is gone is sure only when the end itself is proved: one from the middle may be missing.
    """
    largest = max(heads.by_size, default=0)
    if largest > size and report.ok:
        report.add("truncated", good, size + 1)
    if largest < size and heads.by_size:
        report.add("tail_not_signed", largest, size)


def _opened(report: Report, note: str, verifier: Verifier) -> Checkpoint | None:
    try:
        return open_checkpoint(note, verifier)
    except CheckpointError as error:
        report.add(error.code)
        return None


def _opened_all(report: Report, notes: Sequence[str], verifier: Verifier, code: str) -> Iterator[Checkpoint]:
    for note in notes:
        try:
            yield open_checkpoint(note, verifier)
        except CheckpointError:
            report.add(code)


def _lines(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of one kind; raise ValueError when a line is no object, is too long, or is cut."""
    with path.open("rb") as file:
        header = _object(file.readline(LINE_BYTES_MAX))
        if header.get("kind") != "export" or header.get("version") != EXPORT_VERSION:
            raise ValueError
        read: Callable[[], bytes] = lambda: file.readline(LINE_BYTES_MAX)  # noqa: E731
        for line in iter(read, b""):
            found = _object(line)
            if found["kind"] not in {"entry", "checkpoint"}:
                raise ValueError
            if found["kind"] == kind:
                yield found


def _object(line: bytes) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise ValueError
    found = json.loads(line)
    if not isinstance(found, dict):
        raise TypeError
    return found
