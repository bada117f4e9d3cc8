"""The demo's proofs: each change's entry exported to a file, then verified from the files alone."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.audit import verify
from services.audit.checkpoint import Verifier
from services.devstack.world import BrokenPromiseError, World


@dataclass(frozen=True)
class Proven:
    """A proof that holds: of which change, at which place of the log, in which file."""

    change_id: str
    index: int
    size: int
    file: Path


async def exported(world: World, changes: Sequence[dict[str, Any]], folder: Path) -> list[tuple[str, int, Path]]:
    """Write the inclusion proof of each change's fact below `folder`; return (change id, index, file)."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for change in changes:
        index = change["leaf_index"]
        found = await world.of_audit(f"/v1/audit/entries/{index}/proof")
        path = folder / f"{index}.tlog-proof"
        hashes = [base64.b64decode(value) for value in found["path"]]
        body = base64.b64decode(found["body_base64"])
        path.write_text(verify.format_proof(index, body, hashes, found["checkpoint"]), encoding="utf-8")
        written.append((change["change_id"], index, path))
    return written


def verified(files: Sequence[tuple[str, int, Path]], key_file: Path) -> list[Proven]:
    """Verify the files with the log's public key; no network, no database. Raises BrokenPromiseError."""
    key = Verifier.parse(key_file.read_text(encoding="utf-8").strip())
    proven = []
    for change_id, index, path in files:
        report = verify.verify_file(path, key)
        if not report.ok:
            raise BrokenPromiseError(f"the proof {path} does not hold: {report.findings[0].code}")
        if _change_of(path) != change_id:
            raise BrokenPromiseError(f"the proof {path} is of another change")
        proven.append(Proven(change_id, index, report.size, path))
    return proven


def _change_of(path: Path) -> str:
    extra = path.read_text(encoding="utf-8").splitlines()[1].removeprefix("extra ")
    return str(json.loads(base64.b64decode(extra))["data"]["change_id"])
