"""Issues certificates: reads the case, asks the keyring whether it is true, signs it, and has the audit service prove
its fact and its end.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import structlog

from schemas.receipts import REGISTER_TYPE
from services.consent.erasure import certificate, handlers, store
from services.consent.erasure.certificate import Signer
from services.consent.handlers import Consent
from services.keyring.keyring import KeyDestroyedError
from services.policy.erasure import catalogue
from services.runtime.problem import Problem
from services.runtime.settings import Settings

TIMEOUT_S: Final = 5.0
REASON: Final = "certificate"
"""Why the log is looked at: outside the dev profile it refuses whoever does not say."""
PAGE: Final = "1000"
"""Of a member's register entries on its destruction: there are a handful."""
KEYS_FILE: Final = "certificate.jwks"
Proof = tuple[str, int]
"""A C2SP tlog-proof, and the size of the tree it is over."""
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

    def audit(self) -> httpx.AsyncClient | None:
        """Return a client of the audit service that says why it looks, which may be required; None without one."""
        if self.audit_url is None or self.token is None:
            return None
        headers = {"Authorization": f"Bearer {self.token}", "X-Reason": REASON}
        return httpx.AsyncClient(base_url=self.audit_url, headers=headers, timeout=TIMEOUT_S, trust_env=False)


@dataclass(frozen=True)
class Issued:
    """A certificate: what it says, its signature, and the proofs of its fact and of its last step in the register.

    A proof is None while it cannot be had.
    """

    document: dict[str, Any]
    jws: str
    proof: str | None
    entry: str | None

    def shown(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"certificate": self.document, "jws": self.jws, "proof": self.proof, "entry": self.entry}


async def issue(consent: Consent, issuer: Issuer, ref: str) -> Issued:
    """Return the certificate of a case (7.3).

    Problem 404 for none, 409 `not_erased_yet` before its end, 409 `key_not_destroyed` when the keyring contradicts the
    case, 503 without a key of our own.
    """
    signer = issuer.required()
    row = await handlers.read(consent, ref)
    if row["state"] != "erased":
        ko, en = "아직 파기가 끝나지 않았습니다.", "The destruction is not done yet."
        raise Problem(409, "not_erased_yet", ko, en)
    await _refuse_undestroyed(consent, row)
    told = certificate.document(row, catalogue().classes[row["class"]], consent.rules.version)
    return Issued(told, signer.sign(told), *await _proofs(issuer, row))


async def _refuse_undestroyed(consent: Consent, row: Mapping[str, Any]) -> None:
    """Whoever may write the case can say that it is over; what is destroyed, the keyring alone knows."""
    found = (await consent.keyring.data_keys([row["member_ref"]]))[row["member_ref"]]
    if isinstance(found, KeyDestroyedError):
        return
    log.error("erased_with_its_key", erasure_id=row["erasure_id"])
    ko = "파기 건은 끝났다고 되어 있으나 회원 키의 파기가 확인되지 않아 확인서를 발급할 수 없습니다."
    en = "The case says erased, but the member's key is not destroyed: no certificate."
    raise Problem(
        409,
        "key_not_destroyed",
        f"{ko} 누가 상태를 바꾸었는지 감사 기록에서 확인해 주세요.",
        f"{en} See the audit log for what happened to the case.",
    )


async def _proofs(issuer: Issuer, row: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the proofs of the fact and of the register's entry `erased`, over one checkpoint where both are there."""
    client = issuer.audit() if row["leaf_index"] is not None else None
    if client is None:
        return None, None
    async with client as audit:
        entry = await _tried(_entry(audit, row))
        over = {"tree_size": str(entry[1])} if entry else {}
        fact = await _tried(_proof(audit, row["leaf_index"], over))
    return fact[0] if fact else None, entry[0] if entry else None


async def _tried(asking: Awaitable[Proof | None]) -> Proof | None:
    """A certificate does not wait for the log: without a proof it says so, and can be asked for again."""
    try:
        return await asking
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        log.warning("proof_unavailable", error=type(error).__name__)
        return None


async def _entry(audit: httpx.AsyncClient, row: Mapping[str, Any]) -> Proof | None:
    """Prove the case's entry `erased`, the first one when there are several: the others came after."""
    asked = {"member_ref": row["member_ref"], "type": REGISTER_TYPE, "kind": store.KIND, "limit": PAGE}
    says = {"subject": row["erasure_id"], "state": "erased"}
    for one in (await _get(audit, "/v1/audit/entries", asked))["entries"]:
        if says.items() <= one["body"]["data"].items():
            return await _proof(audit, one["index"], {})
    return None


async def _proof(audit: httpx.AsyncClient, index: int, over: Mapping[str, str]) -> Proof:
    found = await _get(audit, f"/v1/audit/entries/{index}/proof", over)
    return certificate.tlog_proof(found), int(found["tree_size"])


async def _get(audit: httpx.AsyncClient, path: str, asked: Mapping[str, str]) -> Any:
    answer = await audit.get(path, params=dict(asked))
    answer.raise_for_status()
    return answer.json()
