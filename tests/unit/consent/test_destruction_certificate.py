"""The certificate of a destruction: what it says, that any JOSE library verifies it, and that the page escapes."""

import base64
import hashlib
import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.audit import tree
from services.audit.checkpoint import Checkpoint, sign, verifier_of
from services.audit.verify import verify_proof
from services.consent.erasure import certificate
from services.consent.erasure.issue import Issuer
from services.policy.erasure import catalogue

SEED = bytes(range(32))
ROW: dict[str, Any] = {
    "erasure_id": "0198a000-0000-7000-8000-000000000001",
    "member_ref": "0198a000-0000-7000-8000-000000000002",
    "selected_at": datetime(2026, 11, 23, 1, tzinfo=UTC),
    "due_on": date(2026, 11, 30),
    "standing_version": "2021-02-22",
    "approved_at": None,
    "approved_by": None,
    "started_at": datetime(2026, 11, 24, 1, tzinfo=UTC),
    "shredded_at": datetime(2026, 11, 24, 1, 0, 5, tzinfo=UTC),
    "forced": False,
    "records": 2,
    "records_owed": 0,
    "recipients": [{"id": "tmax-cloud", "kind": "affiliate", "stage": "applied", "at": "x"}],
    "change_id": "0198a000-0000-7000-8000-000000000003",
    "seq": 4,
    "leaf_index": 17,
}


def certified(**changes: Any) -> dict[str, Any]:
    return certificate.document(ROW | changes, catalogue().classes["withdrawal"], "2021-02-22")


def test_a_certificate_says_who_by_reference_when_on_whose_word_and_how() -> None:
    told = certified()
    assert told["member_ref"] == ROW["member_ref"]
    assert (told["selected_at"], told["due_on"]) == ("2026-11-23T10:00:00+09:00", "2026-11-30")
    assert told["destroyed_at"] == "2026-11-24T10:00:05+09:00"
    assert told["approval"] == {"standing_version": "2021-02-22", "own": None}
    assert told["recipients"] == [{"id": "tmax-cloud", "stage": "applied"}]
    assert told["fact"] == {"change_id": ROW["change_id"], "seq": 4, "leaf_index": 17}
    assert (told["statutory_records_kept"], told["statutory_records_owed"]) == (2, 0)
    owed = certified(records_owed=1, forced=True)
    assert (owed["statutory_records_kept"], owed["statutory_records_owed"]) == (1, 1)
    assert "별도 보관 대기 1건" in certificate.page(owed, "a.b.c")
    own = certified(approved_at=datetime(2026, 11, 25, 1, tzinfo=UTC), approved_by="officer-b")["approval"]["own"]
    assert own == {"by": "officer-b", "at": "2026-11-25T10:00:00+09:00"}


def test_the_signature_is_ed25519_over_the_canonical_json_and_breaks_with_one_letter() -> None:
    told = certified()
    head, body, signature = certificate.Signer(SEED).sign(told).split(".")
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key()
    public.verify(decoded(signature), f"{head}.{body}".encode())
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert decoded(body) == canonical
    assert json.loads(decoded(head))["alg"] == "Ed25519"
    with pytest.raises(InvalidSignature):
        public.verify(decoded(signature), f"{head}.{body[:-2]}AA".encode())


def test_the_published_key_is_the_public_half_alone() -> None:
    (key,) = certificate.Signer(SEED).jwks()["keys"]
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
    assert (key["kty"], key["crv"], decoded(key["x"])) == ("OKP", "Ed25519", public)
    assert "d" not in key


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        certificate.Signer(b"short")


def test_the_proof_is_one_that_the_audit_verifier_reads() -> None:
    body = b'{"data":{"change":"erased"}}'
    other = hashlib.sha256(b"\x00other").digest()
    leaf = tree.leaf_hash(body)
    root = hashlib.sha256(b"\x01" + leaf + other).digest()
    verifier = verifier_of("log.example/1", SEED)
    found = {
        "index": 0,
        "body_base64": base64.b64encode(body).decode(),
        "path": [base64.b64encode(other).decode()],
        "checkpoint": sign(Checkpoint("log.example/1", 2, root), SEED),
    }
    report = verify_proof(certificate.tlog_proof(found).encode(), verifier)
    assert (report.ok, report.size) == (True, 2)
    spoilt = found | {"body_base64": base64.b64encode(b"{}").decode()}
    assert not verify_proof(certificate.tlog_proof(spoilt).encode(), verifier).ok


def test_the_page_is_korean_and_escapes_what_it_shows() -> None:
    page = certificate.page(certified(approved_at=ROW["selected_at"], approved_by="<b>officer</b>"), "a.b.c")
    assert page.startswith('<!doctype html><html lang="ko">')
    assert "개인정보 파기 확인서" in page
    assert "&lt;b&gt;officer" in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "사전 승인 2021-02-22"),
        ({"standing_version": None, "forced": True}, "법정 기한에 시행"),
        ({"leaf_index": None}, "봉인 대기"),
        ({"records": 0}, "0건"),
    ],
)
def test_the_page_tells_what_is_not_ordinary(changes: dict[str, Any], words: str) -> None:
    assert words in certificate.page(certified(**changes), "a.b.c")


async def test_the_log_is_told_why_its_proofs_are_asked_for() -> None:
    """Found in review: outside the dev profile it refuses whoever does not say, and no certificate got its proofs."""
    client = Issuer(None, "http://audit", "token").audit()
    assert client is not None
    assert client.headers["X-Reason"] == "certificate"
    await client.aclose()
    assert Issuer(None, "http://audit").audit() is None


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
