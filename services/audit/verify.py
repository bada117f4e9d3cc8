"""The verifier: recomputes every hash of a file, with no network and no database.

It imports nothing of this system but pure code of the log's own formats, so that a flaw in the log's storage cannot
hide in it. What it trusts is one verifier key, and what was kept elsewhere: checkpoints, witnesses' keys, leaf hashes.
What a file is, is told by its first line: a proof (services/audit/proofs.py), an export or selection (exports.py), or
the page of an entry (certificate.py). Certificates of changes and destructions have a reader of their own
(certificates.py), for they are signed by another key.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from services.audit import certificate
from services.audit.checkpoint import Verifier
from services.audit.exports import EXPORT_VERSION, LINE_BYTES_MAX, SELECTION, check_export, check_selection, check_sheet
from services.audit.proofs import PROOF_HEADER, Trust, check_proof, format_proof, verify_proof
from services.audit.sheet import FIRST_LINE
from services.audit.walk import MALFORMED, Finding, Report

Reader = Callable[[Path, Trust], Report]


def verify_file(
    path: Path,
    verifier: Verifier,
    outside: Sequence[str] = (),
    *,
    witnesses: Sequence[Verifier] = (),
    leaves: Iterable[bytes] = (),
) -> Report:
    """Verify a file of any kind this log gives out. `outside` are notes and `leaves` leaf hashes kept elsewhere.

    Raises OSError when the file cannot be read; all else that is wrong is in the report.
    """
    return _reader(path)(path, Trust(verifier, outside, witnesses, leaves))


def _reader(path: Path) -> Reader:
    with path.open("rb") as file:
        first = file.readline(LINE_BYTES_MAX).decode(errors="replace").removeprefix("\ufeff").strip()
    if first == PROOF_HEADER:
        return _proof
    if first == FIRST_LINE:
        return check_sheet
    if first == certificate.FIRST_LINE:
        return certificate.check_page
    return check_selection if _told(first).get("kind") == SELECTION else check_export


def _told(text: str) -> dict[str, Any]:
    """Return a JSON object, empty for what is none."""
    try:
        found = json.loads(text)
    except MALFORMED:
        return {}
    return found if isinstance(found, dict) else {}


def _proof(path: Path, trust: Trust) -> Report:
    return check_proof(path.read_bytes(), trust)


__all__ = ["EXPORT_VERSION", "Finding", "Report", "Trust", "Verifier", "format_proof", "verify_file", "verify_proof"]
