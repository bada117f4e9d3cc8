"""Issues certificates: reads the case, signs it, and asks the audit service for the proof of its fact."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import structlog

from services.consent.erasure import certificate, handlers
from services.consent.erasure.certificate import Signer
from services.consent.handlers import Consent
from services.policy.erasure import catalogue
from services.runtime.problem import Problem
from services.runtime.settings import Settings

TIMEOUT_S: Final = 5.0
KEYS_FILE: Final = "certificate.jwks"
log = structlog.get_logger("certificates")


@dataclass(frozen=True)
class Issuer:
    """What issuing needs; without `audit_url` and `token` a certificate goes without its proof."""

    signer: Signer | None = None
    audit_url: str | None = None
    token: str | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "Issuer":
        """Read the signing key. Raises OSError, ValueError for a file that cannot be used."""
        path, token = settings.certificate_signing_key_file, settings.audit_token
        return cls(
            signer=Signer.of_file(path) if path else None,
            audit_url=settings.audit_url,
            token=token.get_secret_value() if token else None,
        )

    def publish(self, path: Path) -> None:
        """Write the public key (JWKS) for who verifies offline; where nothing can be written the API still tells it."""
        if self.signer is None:
            return
        partial = path.with_name(f".{path.name}.part")
        try:
            partial.write_bytes(orjson.dumps(self.signer.jwks()))
            partial.replace(path)
        except OSError as error:
            log.warning("certificate_keys_unwritten", error=type(error).__name__)

    def required(self) -> Signer:
        """Return the signer; Problem 503 when this installation has no key for certificates."""
        if self.signer is None:
            ko, en = "확인서 서명 키가 설정되지 않았습니다.", "No key for certificates is set up."
            raise Problem(503, "certificate_key_missing", ko, en)
        return self.signer


@dataclass(frozen=True)
class Issued:
    """A certificate: what it says, its signature, and the proof of its fact, None while that cannot be had."""

    document: dict[str, Any]
    jws: str
    proof: str | None

    def shown(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"certificate": self.document, "jws": self.jws, "proof": self.proof}


async def issue(consent: Consent, issuer: Issuer, ref: str) -> Issued:
    """Return the certificate of a case. Problem 404 for none, 409 before the key is destroyed, 503 without a key."""
    signer = issuer.required()
    row = await handlers.read(consent, ref)
    if row["state"] != "erased":
        ko, en = "아직 파기가 끝나지 않았습니다.", "The destruction is not done yet."
        raise Problem(409, "not_erased_yet", ko, en)
    told = certificate.document(row, catalogue().classes[row["class"]], consent.rules.version)
    return Issued(told, signer.sign(told), await _proof(issuer, row))


async def _proof(issuer: Issuer, row: Mapping[str, Any]) -> str | None:
    """A certificate does not wait for the log: without a proof it says so, and can be asked for again."""
    if issuer.audit_url is None or issuer.token is None or row["leaf_index"] is None:
        return None
    path = f"/v1/audit/entries/{row['leaf_index']}/proof"
    headers = {"Authorization": f"Bearer {issuer.token}"}
    try:
        async with httpx.AsyncClient(base_url=issuer.audit_url, timeout=TIMEOUT_S, trust_env=False) as client:
            answer = await client.get(path, headers=headers)
            answer.raise_for_status()
            return certificate.tlog_proof(answer.json())
    except (httpx.HTTPError, ValueError, KeyError) as error:
        log.warning("proof_unavailable", error=type(error).__name__)
        return None
