"""Pure but for the key: the certificate of a destruction, as signed JSON and as one Korean page that prints on A4.

The JSON is RFC 8785 canonical inside a compact JWS (RFC 7515, Ed25519). No value of the member is in it: whoever holds
the reference knows whose it is, and nobody else does.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, Final

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.jwk import KeySet, OKPKey

from services.consent.rights.html import STYLE
from services.policy.erasure import Class
from services.runtime.clock import KST

ALGORITHM: Final = "Ed25519"
TYPE: Final = "dongui-destruction+jws"
SEED_BYTES: Final = 32
METHOD: Final = "key_shredded"
STAGES: Final = {
    "applied": "파기함",
    "superseded": "파기함",
    "skipped_destroyed": "파기 확인",
    "accepted": "답하지 않음",
    "relayed": "답하지 않음",
    "late": "답하지 않음",
    "refused": "처리 오류",
}


class Signer:
    """Signs certificates with one Ed25519 key; its public half is published as a JWKS."""

    def __init__(self, seed: bytes) -> None:
        """Take a 32-byte seed; raise ValueError for another length."""
        if len(seed) != SEED_BYTES:
            raise ValueError("the certificate key is 32 bytes")
        self._key = OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(seed))
        self._key.ensure_kid()

    @classmethod
    def of_file(cls, path: Path) -> "Signer":
        """Read the seed from a file; raise OSError, ValueError."""
        return cls(path.read_bytes())

    def jwks(self) -> dict[str, Any]:
        """Return the public key as a key set."""
        return dict(KeySet([self._key]).as_dict(private=False))

    def sign(self, document: Mapping[str, Any], typ: str = TYPE) -> str:
        """Return the compact JWS of a document; `typ` says which kind of certificate it is."""
        header = {"alg": ALGORITHM, "kid": self._key.kid, "typ": typ}
        return jws.serialize_compact(header, rfc8785.dumps(dict(document)), self._key, algorithms=[ALGORITHM])


def document(row: Mapping[str, Any], of: Class, policy_version: str) -> dict[str, Any]:
    """Return what is certified of an erased case (a row of `erasure_read`): the same for the same row."""
    return {
        "certificate": "kr.dongui.destruction.v1",
        "erasure_id": row["erasure_id"],
        "member_ref": row["member_ref"],
        "class": {"id": of.id, "clause": of.clause, "statute": of.statute, "ko": of.ko},
        "policy_version": policy_version,
        "selected_at": time_of(row["selected_at"]),
        "due_on": row["due_on"].isoformat(),
        "approval": _approval(row),
        "started_at": time_of(row["started_at"]),
        "destroyed_at": time_of(row["shredded_at"]),
        "method": METHOD,
        "forced": row["forced"],
        "statutory_records_kept": (row["records"] or 0) - row["records_owed"],
        "statutory_records_owed": row["records_owed"],
        "recipients": [{"id": r["id"], "stage": r["stage"]} for r in row["recipients"]],
        "fact": {"change_id": row["change_id"], "seq": row["seq"], "leaf_index": row["leaf_index"]},
    }


def _approval(row: Mapping[str, Any]) -> dict[str, Any]:
    """Whose word it ran on: the standing approval's version, the officer's, or the law's limit alone."""
    own = {"by": row["approved_by"], "at": time_of(row["approved_at"])} if row["approved_at"] else None
    return {"standing_version": row["standing_version"], "own": own}


def tlog_proof(found: Mapping[str, Any]) -> str:
    """Return the audit service's inclusion proof as a C2SP tlog-proof, which `dongui audit verify` reads offline."""
    hashes = "".join(f"{value}\n" for value in found["path"])
    head = f"c2sp.org/tlog-proof@v1\nextra {found['body_base64']}\nindex {found['index']}\n"
    return f"{head}{hashes}\n{found['checkpoint']}"


def page(told: Mapping[str, Any], jws_text: str) -> str:
    """Return the Korean page. Every value is escaped; no script, no link, no image."""
    title = "개인정보 파기 확인서"
    parts = [
        table("파기 내역", ("구분", "내용"), _summary(told)),
        _recipients(told["recipients"]),
        signature(jws_text),
    ]
    return sheet(title, parts)


def sheet(title: str, parts: Iterable[str]) -> str:
    """Return the page of a certificate from its escaped parts."""
    name = escape(title)
    return (
        '<!doctype html><html lang="ko"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{name}</title><style>{STYLE}</style></head>'
        f"<body><main><h1>{name}</h1>{''.join(parts)}</main></body></html>"
    )


def _summary(told: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    own, standing = told["approval"]["own"], told["approval"]["standing_version"]
    word = f"{own['by']} ({own['at']})" if own else f"사전 승인 {standing} (사후 확인 전)" if standing else "법정 기한"
    limit = "법정 기한에 시행 (미응답이 있거나 승인 전)" if told["forced"] else "기한 내 시행"
    return [
        ("파기 번호", told["erasure_id"]),
        ("회원 참조 번호", told["member_ref"]),
        ("사유", f"{told['class']['ko']} (방침 {told['class']['clause']}, {told['class']['statute']})"),
        ("선정 일시", told["selected_at"]),
        ("법정 기한", told["due_on"]),
        ("승인", word),
        ("파기 일시", told["destroyed_at"]),
        ("방법", "회원별 암호화 키 폐기, 각 저장소의 행 삭제 (복구 불가)"),
        ("결과", limit),
        ("법령에 따라 따로 보존한 기록", _records(told)),
        ("감사 기록", told["fact"]["leaf_index"] if told["fact"]["leaf_index"] is not None else "봉인 대기"),
    ]


def _records(told: Mapping[str, Any]) -> str:
    owed = told["statutory_records_owed"]
    waiting = f" (별도 보관 대기 {owed}건: 회원 키와 분리된 키로 암호화)" if owed else ""
    return f"{told['statutory_records_kept']}건{waiting}"


def _recipients(found: Sequence[Mapping[str, Any]]) -> str:
    return table("파기를 통지받은 곳", ("곳", "결과"), [(r["id"], STAGES.get(r["stage"], r["stage"])) for r in found])


def signature(jws_text: str) -> str:
    """Return the signature as it is printed."""
    return f'<h2>전자서명 (JWS, Ed25519)</h2><p style="overflow-wrap:anywhere"><code>{escape(jws_text)}</code></p>'


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table under its heading; every cell is escaped."""
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>" for row in rows)
    empty = f'<tr><td colspan="{len(head)}">없음</td></tr>'
    return f"<h2>{escape(title)}</h2><table><thead><tr>{cells}</tr></thead><tbody>{body or empty}</tbody></table>"


def time_of(at: datetime | None) -> str | None:
    """Return an instant as a certificate tells it: KST, to the second."""
    return at.astimezone(KST).isoformat(timespec="seconds") if at else None
