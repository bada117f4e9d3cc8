"""Exports as files: the whole log, or a selection of entries each with its proof. Read and verified offline. Pure.

* The whole log: NDJSON. First `{"kind":"export","version":1,"origin"}`, then in any order `{"kind":"entry","index",
  "leaf_hash","body"}` in order of index (`leaf_hash` base64, `body` the exact text) and `{"kind":"checkpoint","size",
  "note"}`.
* A selection: NDJSON. First `{"kind":"selection","version":1,"checkpoint"}` with a signed note, then `{"kind":
  "entry","index","body","path"}` with the inclusion path to that checkpoint (base64).
* The same selection as CSV for a Korean Excel (services/audit/sheet.py).
"""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from services.audit import sheet, tree
from services.audit.checkpoint import Checkpoint
from services.audit.proofs import Trust, opened, opened_all
from services.audit.walk import MALFORMED, Heads, Report, Walk

EXPORT_VERSION = 1
SELECTION = "selection"
LINE_BYTES_MAX = 4 * 1024 * 1024


def check_export(path: Path, trust: Trust) -> Report:
    """Verify a whole log: every leaf, every root, every checkpoint in the file and every one from outside.

    All roots come from one pass over the same leaves, so checkpoints that all hold are consistent.
    """
    report = Report("export")
    try:
        walk = Walk(report, _heads(report, path, trust), iter(trust.leaves))
        for line in _lines(path, "entry"):
            leaf = base64.b64decode(line["leaf_hash"], validate=True)
            if walk.take(int(line["index"]), leaf, str(line["body"]).encode()) is None:
                break
        walk.end()
    except MALFORMED:
        report.add("bad_export_file")
    return report


def _heads(report: Report, path: Path, trust: Trust) -> Heads:
    found = Heads()
    notes = [str(line["note"]) for line in _lines(path, "checkpoint")]
    for head in opened_all(report, notes, trust.key, "bad_checkpoint"):
        found.add(head)
    for head in opened_all(report, trust.outside, trust.key, "bad_outside_checkpoint"):
        found.add(head)
    report.checkpoints = len(found.by_size)
    if not found.by_size:
        report.add("no_checkpoint")
    return found


def check_selection(path: Path, trust: Trust) -> Report:
    """Verify entries that each come with a proof to one checkpoint."""
    report = Report(SELECTION)
    try:
        head = opened(report, str(_header(path)["checkpoint"]), trust)
        for line in _lines(path, "entry"):
            hashes = [base64.b64decode(value, validate=True) for value in line["path"]]
            _include(report, head, int(line["index"]), str(line["body"]).encode(), hashes)
    except MALFORMED:
        report.add("bad_selection_file")
    return report


def check_sheet(path: Path, trust: Trust) -> Report:
    """Verify the same selection from its CSV file, as it was downloaded: Excel changes what it saves."""
    report = Report(SELECTION)
    try:
        note, rows = sheet.parse(path.read_text(encoding="utf-8-sig"))
        head = opened(report, note, trust)
        for row in rows:
            _include(report, head, row.index, row.body.encode(), row.path)
    except MALFORMED:
        report.add("bad_selection_file")
    return report


def _include(report: Report, head: Checkpoint | None, index: int, body: bytes, path: list[bytes]) -> None:
    report.entries += 1
    if head is None:
        return
    report.size = head.size
    if not tree.verify_inclusion(tree.leaf_hash(body), index, head.size, path, head.root):
        report.add("not_included", index)


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return _object(file.readline(LINE_BYTES_MAX))


def _lines(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of one kind; raise ValueError when a line is no object, is too long, or is cut."""
    with path.open("rb") as file:
        header = _object(file.readline(LINE_BYTES_MAX))
        if header.get("kind") not in {"export", SELECTION} or header.get("version") != EXPORT_VERSION:
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
