"""Pure: does a certificate of destruction hold? Signature, canonical form, the proof of the very fact it names, and
that the register's entry of its end says the same.

Needs no network and no database: the certificate, the public key it was signed for, and the log's verifier key.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import orjson
import rfc8785
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, import_key

from services.audit.checkpoint import Verifier
from services.audit.destruction import BORNE_OUT, differing
from services.audit.verify import verify_proof

ALGORITHM: Final = "Ed25519"
TYPE: Final = "dongui-destruction+jws"
NO_PROOF: Final = "proof_missing"
"""No fault of the certificate: the log had not sealed the fact yet when it was issued; ask for it again."""


def findings(issued: Mapping[str, Any], keys: Mapping[str, Any], verifier: Verifier) -> list[str]:
    """Return the codes of what does not hold, none when all does. `issued` is the answer of `…/certificate`."""
    try:
        document, text, proof = dict(issued["certificate"]), str(issued["jws"]), issued["proof"]
        fact, ref = dict(document["fact"]), document["member_ref"]
    except (KeyError, TypeError, ValueError):
        return ["bad_certificate_file"]
    found = _signature(document, text, keys)
    if proof is None:
        return [*found, NO_PROOF]
    entry = issued.get("entry")
    return found + (_proof(fact, ref, proof, verifier) or _entry(document, proof, entry, verifier))


def unchecked(issued: Mapping[str, Any]) -> list[str]:
    """Return what a certificate says on its signer's word alone: it has no proof of the register's entry yet."""
    return [] if issued.get("entry") is not None else list(BORNE_OUT)


def _signature(document: dict[str, Any], text: str, keys: Mapping[str, Any]) -> list[str]:
    try:
        signed = jws.deserialize_compact(
            text, KeySet([import_key(key) for key in keys["keys"]]), algorithms=[ALGORITHM]
        )
    except (JoseError, ValueError, KeyError, TypeError):
        return ["bad_signature"]
    if signed.protected.get("typ") != TYPE:
        return ["signed_as_something_else"]
    return [] if signed.payload == rfc8785.dumps(document) else ["certificate_changed"]


def _proof(fact: dict[str, Any], ref: str, proof: str, verifier: Verifier) -> list[str]:
    report = verify_proof(proof.encode(), verifier)
    if not report.ok:
        return [finding.code for finding in report.findings]
    said = _said(proof)
    wanted = {"change": "erased", "change_id": fact.get("change_id"), "member_ref": ref, "seq": fact.get("seq")}
    return [] if {name: said.get(name) for name in wanted} == wanted else ["proof_of_another_fact"]


def _entry(document: dict[str, Any], proof: str, entry: str | None, verifier: Verifier) -> list[str]:
    """Return the parts that the register's entry contradicts; of a certificate without it, none."""
    if entry is None:
        return []
    try:
        report = verify_proof(entry.encode(), verifier)
        if not report.ok:
            return [finding.code for finding in report.findings]
        return [f"{name}_differs" for name in differing(document, _said(proof), _said(entry))]
    except (AttributeError, KeyError, TypeError, ValueError):
        return ["bad_certificate_file"]


def _said(proof: str) -> dict[str, Any]:
    """Return what the proven entry says; the proof was verified before, so its second line is the body."""
    try:
        body = orjson.loads(base64.b64decode(proof.split("\n")[1].removeprefix("extra "), validate=True))
    except (ValueError, IndexError, binascii.Error):
        return {}
    found = body.get("data") if isinstance(body, dict) else None
    return found if isinstance(found, dict) else {}
