"""A certificate: one entry of the log as a Korean page that prints on A4, with its proof inside. Pure.

The page is made of the proof file alone, so a verifier makes it again and compares: what the page says is what the
proof says. Every value is escaped; no script, no link, no image.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from html import escape, unescape
from pathlib import Path
from typing import Any, Final

from services.audit import checkpoint
from services.audit.proofs import Trust, check_proof, parse_proof
from services.audit.walk import MALFORMED, Report

KST: Final = timezone(timedelta(hours=9))
FIRST_LINE: Final = '<!doctype html><html lang="ko" data-dongui="audit-certificate">'
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
STYLE: Final = """
body{font-family:"Noto Sans KR","Noto Sans CJK KR","Malgun Gothic",sans-serif;max-width:50rem;margin:2rem auto;
 padding:0 1rem;color:#111;line-height:1.5}
h1{font-size:1.35rem;text-align:center}h2{font-size:1.05rem;margin-top:1.6rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{border:1px solid #767676;padding:.3rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
th{background:#f0f0f0;width:30%}pre{font-size:.7rem;white-space:pre-wrap;overflow-wrap:anywhere}
@page{size:A4;margin:18mm}
@media print{body{margin:0;max-width:none;padding:0}tr,h2{break-inside:avoid}h2{break-after:avoid}th{background:none}}
"""
TYPES: Final = {
    "kr.dongui.member.signed_up.v1": "회원 가입",
    "kr.dongui.member.corrected.v1": "정정",
    "kr.dongui.member.withdrawal_requested.v1": "탈퇴 요청",
    "kr.dongui.member.withdrawn.v1": "탈퇴",
    "kr.dongui.member.consent_changed.v1": "동의 변경",
    "kr.dongui.member.suspended.v1": "처리정지",
    "kr.dongui.member.released.v1": "처리정지 해제",
    "kr.dongui.member.erased.v1": "파기",
    "kr.dongui.receipt.v1": "수령증",
    "kr.dongui.disclosure.v1": "제3자 제공",
    "kr.dongui.register.v1": "처리 기록",
    "kr.dongui.audit.access.v1": "감사 기록 열람",
    "kr.dongui.audit.undecodable.v1": "해석할 수 없는 기록",
}
FIELDS: Final = {
    "at": "일시(한국 시각)",
    "member_ref": "회원 참조 번호",
    "change_id": "변경 번호",
    "seq": "순번",
    "actor": "행위자",
    "channel": "경로",
    "recipient": "받는 곳",
    "stage": "단계",
    "outcome": "결과",
    "kind": "구분",
    "state": "상태",
    "subject": "대상 번호",
    "action": "한 일",
    "reason": "사유",
    "address": "접속지",
    "purpose": "목적",
    "basis": "근거",
    "items": "항목",
    "policy_version": "방침 버전",
}
_PROOF: Final = re.compile(r'<pre id="proof">(.*?)</pre>', re.DOTALL)


def page(proof_text: str) -> str:
    """Return the page of a proof file. Raises ValueError when it is none, or its entry is no JSON object."""
    proof = parse_proof(proof_text)
    told = json.loads(proof.body)
    head, signatures = checkpoint.split_note(proof.note)
    origin, size, root = head.split("\n")[:3]
    title = "감사 기록 확인서"
    log = [
        ("기록부", origin),
        ("기록 번호", proof.index),
        ("체크포인트의 기록 수", size),
        ("체크포인트의 해시", root),
        ("서명한 곳", ", ".join(sorted({name for name, _ in signatures}))),
    ]
    parts = [_table("기록 내용", _entry(told)), _table("기록부", log), _how(), _block("증명", proof_text, "proof")]
    return (
        f'{FIRST_LINE}\n<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n"
        f"<body><main><h1>{title}</h1>{''.join(parts)}</main></body></html>\n"
    )


def check_page(path: Path, trust: Trust) -> Report:
    """Verify the proof in a page, and that the page says what the proof says."""
    text = path.read_text(encoding="utf-8", errors="replace")
    found = _PROOF.search(text)
    proof = unescape(found[1]) if found else ""
    report = check_proof(proof.encode(), trust)
    report.kind = "certificate"
    try:
        if report.ok and page(proof) != text:
            report.add("page_differs")
    except MALFORMED:
        report.add("page_differs")
    return report


def _entry(told: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """The entry's own words, in the order of FIELDS; what is empty is left out."""
    kind = str(told["envelope"]["type"])
    data = told["data"]
    yield "종류", f"{TYPES.get(kind, '기타')} ({kind})"
    for name, label in FIELDS.items():
        value = data.get(name)
        if value not in (None, "", []):
            yield label, _shown(name, value)


def _shown(name: str, value: Any) -> str:
    if name == "at":
        return datetime.fromisoformat(str(value)).astimezone(KST).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return str(value)


def _how() -> str:
    steps = (
        "이 파일을 그대로 두고 <code>dongui audit verify 파일 --vkey 공개키파일</code> 또는 "
        "<code>python verify_proof.py 파일 공개키파일</code>을 실행합니다. 네트워크는 필요하지 않습니다."
    )
    return f"<h2>확인 방법</h2><p>{steps} 공개키는 이 문서가 아닌 다른 경로로 받은 것이어야 합니다.</p>"


def _block(title: str, text: str, name: str) -> str:
    return f'<h2>{escape(title)} (C2SP tlog-proof)</h2><pre id="{name}">{escape(text)}</pre>'


def _table(title: str, rows: Iterable[Sequence[Any]]) -> str:
    cells = "".join(f'<tr><th scope="row">{escape(str(k))}</th><td>{escape(str(v))}</td></tr>' for k, v in rows)
    return f"<h2>{escape(title)}</h2><table><tbody>{cells}</tbody></table>"
