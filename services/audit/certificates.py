"""Verifies certificates offline: the signature, then every statement against the leaves and the signed checkpoint.

A file is JSON: `{"certificate", "jws"}` of a change (`kr.dongui.convergence.v1`), `{"certificate", "jws", "proof",
"entry"}` of a destruction (an older one has no `entry`). Trusted are the log's verifier key and the certificates'
public keys (JWKS); whoever signs a certificate is not believed where the log says something else.
"""

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from services.audit import destruction, tree
from services.audit.checkpoint import Checkpoint, CheckpointError, Verifier, open_checkpoint
from services.audit.proofs import parse_proof
from services.audit.verify import Report, verify_proof
from services.audit.walk import MALFORMED

CONVERGENCE: Final = "kr.dongui.convergence.v1"
DESTRUCTION: Final = "kr.dongui.destruction.v1"
TYPES: Final = {CONVERGENCE: "dongui-convergence+jws", DESTRUCTION: "dongui-destruction+jws"}
FIELDS: Final = {CONVERGENCE: {"certificate", "jws"}, DESTRUCTION: {"certificate", "jws", "proof"}}
LATER: Final = {CONVERGENCE: frozenset[str](), DESTRUCTION: frozenset({"entry"})}
"""Fields that certificates of earlier days do not have."""
ANSWERS: Final = frozenset({"applied", "superseded", "skipped_destroyed", "refused"})
BYTES_MAX: Final = 8 * 1024 * 1024
Json = Mapping[str, Any]


class BadKeysError(Exception):
    """The file is no JWKS of Ed25519 keys."""


@dataclass(frozen=True)
class Keys:
    """The public keys that certificates are signed with, by key id."""

    by_id: Mapping[str, bytes]

    @classmethod
    def parse(cls, text: str) -> "Keys":
        """Read a JWKS; raise BadKeysError."""
        try:
            return cls({key["kid"]: _public(key) for key in json.loads(text)["keys"]})
        except MALFORMED as error:
            raise BadKeysError from error


def _public(key: Json) -> bytes:
    if (key["kty"], key["crv"]) != ("OKP", "Ed25519"):
        raise ValueError
    return _base64url(key["x"])


def is_certificate(path: Path) -> bool:
    """Say whether a file is a certificate rather than a proof or an export. Raises OSError."""
    if path.stat().st_size > BYTES_MAX:
        return False
    try:
        found = json.loads(path.read_bytes())
    except MALFORMED:
        return False
    return isinstance(found, dict) and "certificate" in found


def verify_certificate(data: bytes, verifier: Verifier, keys: Keys, outside: Sequence[str] = ()) -> Report:
    """Verify one certificate. `outside` are checkpoints kept elsewhere; one of another size cannot be compared."""
    report = Report("certificate", entries=0)
    try:
        found = json.loads(data, object_pairs_hook=_once)
        told = found["certificate"]
        kind = told["certificate"]
        if kind not in TYPES or set(found) - LATER[kind] != FIELDS[kind]:
            raise ValueError
        _check_signature(report, found, TYPES[kind], keys)
        _OF_KIND[kind](report, found, verifier, outside)
    except MALFORMED:
        report.add("bad_certificate_file")
    return report


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A name twice in one object would be read in two ways by two readers."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError
        found[name] = value
    return found


def _check_signature(report: Report, found: Json, typ: str, keys: Keys) -> None:
    """The JWS holds, by a key we know, and says what the readable part says: byte for byte in one spelling."""
    signed, _, signature = found["jws"].rpartition(".")
    head, _, payload = signed.partition(".")
    header = json.loads(_base64url(head), object_pairs_hook=_once)
    public = keys.by_id.get(header["kid"])
    if public is None:
        report.add("unknown_certificate_key")
        return
    if set(header) != {"alg", "kid", "typ"} or (header["alg"], header["typ"]) != ("Ed25519", typ):
        report.add("bad_certificate_header")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(_base64url(signature), signed.encode())
    except InvalidSignature:
        report.add("bad_certificate_signature")
    if _spelt(json.loads(_base64url(payload), object_pairs_hook=_once)) != _spelt(found["certificate"]):
        report.add("certificate_differs_from_signature")


def _spelt(value: Any) -> str:
    """One text for one JSON value: `1`, `1.0` and `true` are three."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _convergence(report: Report, found: Json, verifier: Verifier, outside: Sequence[str]) -> None:
    told = found["certificate"]
    try:
        head = open_checkpoint(told["checkpoint"], verifier)
    except CheckpointError as error:
        report.add(error.code)
        return
    report.size = head.size
    _check_outside(report, head, verifier, outside)
    fact = _opened(report, told["fact"], head)
    change = told["change"]
    _says(report, told["fact"], fact, {name: change[name] for name in ("change_id", "member_ref", "seq", "change")})
    _says(report, told["fact"], fact, {"items": change["items"]})
    if {a["id"] for a in fact["addressees"]} != {r["id"] for r in told["recipients"]}:
        report.add("recipient_missing", told["fact"]["index"])
    for one in told["recipients"]:
        _check_recipient(report, one, change, head)
    _check_result(report, told)


def _check_recipient(report: Report, one: Json, change: Json, head: Checkpoint) -> None:
    _check_receipt(report, one, one, change, head, change["change_id"])
    newer = one.get("answered_by")
    if newer is not None:
        _check_receipt(report, one, newer, change, head, newer["change_id"])
    if newer is None and one["kind"] == "third_party" and one["stage"] == "superseded":
        report.add("unanswered", one["receipt"]["index"])
    last = newer or one
    if one["result"] != (last.get("outcome") or last["stage"]):
        report.add("result_differs", one["receipt"]["index"])
    if one["kind"] == "affiliate" and one["stage"] == "refused":
        report.add("unanswered", one["receipt"]["index"])
    if entry := one.get("staff_entry"):
        said = _opened(report, entry, head)
        _says(report, entry, said, {"kind": "notice", "state": "answered", "member_ref": change["member_ref"]})
        _says(report, entry, said["codes"], {"outcome": one["outcome"], "evidence": one["evidence"]})


def _check_receipt(report: Report, one: Json, answer: Json, change: Json, head: Checkpoint, change_id: str) -> None:
    said = _opened(report, answer["receipt"], head)
    wanted = {"recipient": one["id"], "kind": one["kind"], "change_id": change_id, "member_ref": change["member_ref"]}
    _says(report, answer["receipt"], said, wanted)
    _says(report, answer["receipt"], said, {name: answer.get(name) for name in ("stage", "outcome", "reason")})
    newer = change_id != change["change_id"]
    if said.get("stage") not in ANSWERS or (said["seq"] <= change["seq"] if newer else said["seq"] != change["seq"]):
        report.add("unanswered", answer["receipt"]["index"])


def _check_result(report: Report, told: Json) -> None:
    refused = sorted(r["id"] for r in told["recipients"] if r["result"] == "refused")
    if told["refused_by"] != refused or told["result"] != ("refused_by_some" if refused else "converged"):
        report.add("result_differs")


def _opened(report: Report, leaf: Json, head: Checkpoint) -> dict[str, Any]:
    """Return what a leaf says; a finding when it is not in the log of the checkpoint."""
    body = str(leaf["body"]).encode()
    path = [base64.b64decode(value, validate=True) for value in leaf["path"]]
    report.entries += 1
    if not tree.verify_inclusion(tree.leaf_hash(body), int(leaf["index"]), head.size, path, head.root):
        report.add("not_included", int(leaf["index"]))
    data: dict[str, Any] = json.loads(body, object_pairs_hook=_once)["data"]
    return data


def _says(report: Report, leaf: Json, said: Json, wanted: Json) -> None:
    if any(said.get(name) != value for name, value in wanted.items()):
        report.add("log_says_otherwise", int(leaf["index"]))


def _destruction(report: Report, found: Json, verifier: Verifier, outside: Sequence[str]) -> None:
    """Each proof is a file of its own inside; without one the log has not been asked yet."""
    if found["proof"] is None:
        report.add("no_proof")
        return
    told = found["certificate"]
    _, said = _proven(report, found["proof"], verifier, outside)
    fact = told["fact"]
    wanted = {"change": "erased", "member_ref": told["member_ref"]}
    wanted |= {name: fact[name] for name in ("change_id", "seq")}
    _says(report, {"index": fact["leaf_index"]}, said, wanted)
    if found.get("entry") is None:
        report.unchecked += destruction.BORNE_OUT
        return
    index, entry = _proven(report, found["entry"], verifier, outside)
    for name in destruction.differing(told, said, entry):
        report.add(f"{name}_differs", index)


def _proven(report: Report, text: str, verifier: Verifier, outside: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """Return the index of a proof's entry and what it says; findings when it is not in the log."""
    checked = verify_proof(text.encode(), verifier, outside)
    report.entries += checked.entries
    report.size = checked.size
    report.findings += checked.findings
    proof = parse_proof(text)
    return proof.index, json.loads(proof.body)["data"]


def _check_outside(report: Report, head: Checkpoint, verifier: Verifier, outside: Sequence[str]) -> None:
    for note in outside:
        try:
            other = open_checkpoint(note, verifier)
        except CheckpointError:
            report.add("bad_outside_checkpoint")
            continue
        if other.size != head.size:
            report.add("outside_checkpoint_of_other_size")
        elif other.root != head.root:
            report.add("outside_checkpoint_differs")


def _base64url(text: str) -> bytes:
    """Decode unpadded base64url in its one spelling."""
    value = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(value).rstrip(b"=").decode() != text:
        raise ValueError
    return value


_OF_KIND: Final[Mapping[str, Callable[[Report, Json, Verifier, Sequence[str]], None]]] = {
    CONVERGENCE: _convergence,
    DESTRUCTION: _destruction,
}
