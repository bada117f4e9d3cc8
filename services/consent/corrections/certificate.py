"""Pure: the convergence certificate of one change, as a document to be signed and as a Korean page that prints on A4.

It holds what it says and what proves it: the fact and each recipient's receipt as leaves of the audit log, with their
paths to one signed checkpoint. No value of the member is in it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any, Final

from services.consent.erasure.certificate import sheet, signature, table, time_of

KIND: Final = "kr.dongui.convergence.v1"
TYPE: Final = "dongui-convergence+jws"
CHANGES: Final = {
    "signed_up": "가입",
    "corrected": "정정",
    "withdrawal_requested": "탈퇴 요청",
    "withdrawn": "탈퇴",
    "consent_changed": "동의 변경",
    "suspended": "처리정지",
    "released": "처리정지 해제",
    "erased": "파기",
}
KINDS: Final = {"affiliate": "관계사", "third_party": "제3자"}
RESULTS: Final = {
    "applied": "반영함",
    "corrected": "정정함",
    "not_held": "보유하지 않음",
    "refused": "거절함",
    "superseded": "이후 변경으로 대체",
    "skipped_destroyed": "회원 파기됨",
}
WAYS: Final = {"answer": "통지에 대한 응답", "callback": "제3자 호출", "staff": "담당자 확인"}


@dataclass(frozen=True)
class Leaf:
    """An entry of the audit log: its index, its exact body, and its path (base64) to the certificate's checkpoint."""

    index: int
    body: str
    path: tuple[str, ...]

    def shown(self) -> dict[str, Any]:
        """Return it as the document has it."""
        return {"index": self.index, "body": self.body, "path": list(self.path)}


@dataclass(frozen=True)
class Answer:
    """What one recipient answered to one change, and the leaf that proves it."""

    change_id: str
    stage: str
    outcome: str | None
    reason: str | None
    receipt: Leaf

    def shown(self) -> dict[str, Any]:
        """Return it as the document has it."""
        told = {"stage": self.stage, "outcome": self.outcome, "reason": self.reason}
        return {name: value for name, value in told.items() if value is not None} | {"receipt": self.receipt.shown()}


@dataclass(frozen=True)
class Recipient:
    """One recipient's part. `newer` is the answer to the change that overtook this one; `entry` is staff's."""

    id: str
    kind: str
    at: datetime
    answer: Answer
    via: str | None = None
    evidence: str | None = None
    entry: Leaf | None = None
    newer: Answer | None = None

    @property
    def result(self) -> str:
        """The last word: the newer answer's where this change was overtaken."""
        last = self.newer or self.answer
        return last.outcome or last.stage

    def shown(self) -> dict[str, Any]:
        """Return it as the document has it."""
        told = {"id": self.id, "kind": self.kind, "result": self.result, "at": time_of(self.at), **self.answer.shown()}
        extra: dict[str, Any] = {"answered_via": self.via, "evidence": self.evidence}
        extra["staff_entry"] = self.entry.shown() if self.entry else None
        extra["answered_by"] = {"change_id": self.newer.change_id, **self.newer.shown()} if self.newer else None
        return told | {name: value for name, value in extra.items() if value is not None}


def document(
    change: Mapping[str, Any], recipients: Sequence[Recipient], fact: Leaf, checkpoint: str, policy_version: str
) -> dict[str, Any]:
    """Return what is certified of an answered change (a row of `certificate_change`)."""
    refused = sorted(r.id for r in recipients if r.result == "refused")
    return {
        "certificate": KIND,
        "change": {
            "change_id": change["change_id"],
            "member_ref": change["member_ref"],
            "seq": change["seq"],
            "change": change["name"],
            "items": change["fact"]["items"],
            "accepted_at": time_of(change["accepted_at"]),
        },
        "policy_version": policy_version,
        "result": "refused_by_some" if refused else "converged",
        "refused_by": refused,
        "completed_at": time_of(max((r.at for r in recipients), default=change["accepted_at"])),
        "recipients": [r.shown() for r in recipients],
        "fact": fact.shown(),
        "checkpoint": checkpoint,
    }


def page(told: Mapping[str, Any], jws_text: str, names: Mapping[str, str]) -> str:
    """Return the Korean page; `names` gives the Korean name of recipients and items where there is one."""
    what = CHANGES[told["change"]["change"]]
    parts = [
        table("변경 내역", ("구분", "내용"), _summary(told, what, names)),
        table(
            "통지받은 곳과 결과", ("곳", "구분", "결과", "일시", "답변"), [_row(r, names) for r in told["recipients"]]
        ),
        table("감사 기록의 증명", ("기록", "번호"), _leaves(told)),
        f"<h2>감사 기록 체크포인트 (C2SP, Ed25519)</h2><pre>{escape(told['checkpoint'])}</pre>",
        signature(jws_text),
    ]
    return sheet(f"{what} 반영 확인서", parts)


def _summary(told: Mapping[str, Any], what: str, names: Mapping[str, str]) -> Iterable[tuple[str, Any]]:
    change, refused = told["change"], told["refused_by"]
    everyone = "통지받은 모든 곳이 반영하였거나 보유하지 않음"
    return [
        ("변경 번호", change["change_id"]),
        ("회원 참조 번호", f"{change['member_ref']} ({change['seq']}번째 변경)"),
        ("변경", what),
        ("항목", ", ".join(_named(item, names) for item in change["items"]) or "없음"),
        ("접수 일시", change["accepted_at"]),
        ("완료 일시", told["completed_at"]),
        ("결과", f"거절한 곳: {', '.join(_named(r, names) for r in refused)}" if refused else everyone),
        ("처리방침", f"{told['policy_version']} (제5조 7항)"),
    ]


def _row(one: Mapping[str, Any], names: Mapping[str, str]) -> Sequence[str]:
    reason = one.get("reason") or one.get("answered_by", {}).get("reason")
    result = RESULTS.get(one["result"], one["result"]) + (f" ({reason})" if reason else "")
    result += " (이후 통지로 답함)" if "answered_by" in one else ""
    way = WAYS.get(one.get("answered_via", ""), "처리 결과")
    evidence = f": {one['evidence']}" if "evidence" in one else ""
    return _named(one["id"], names), KINDS[one["kind"]], result, one["at"], way + evidence


def _leaves(told: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    yield "변경 사실", told["fact"]["index"]
    for one in told["recipients"]:
        yield f"{one['id']} 수령증", one["receipt"]["index"]
        if entry := one.get("staff_entry"):
            yield f"{one['id']} 담당자 입력", entry["index"]
        if newer := one.get("answered_by"):
            yield f"{one['id']} 이후 통지의 수령증", newer["receipt"]["index"]


def _named(name: str, names: Mapping[str, str]) -> str:
    return f"{names[name]} ({name})" if name in names else name
