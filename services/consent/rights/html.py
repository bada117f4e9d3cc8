"""Pure: an answer as one Korean HTML page that prints on A4. Every value is escaped; no script, no link, no image."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

STYLE = """
body{font-family:"Noto Sans KR","Malgun Gothic",sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;
 color:#111;line-height:1.5}
h1{font-size:1.35rem;text-align:center}h2{font-size:1.05rem;margin-top:1.6rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{border:1px solid #767676;padding:.3rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
th{background:#f0f0f0}
@page{size:A4;margin:18mm}
@media print{body{margin:0;max-width:none;padding:0}tr,h2{break-inside:avoid}h2{break-after:avoid}
 th{background:none}}
"""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
OUTCOMES = {"granted": "요구대로 처리", "partial": "일부 처리", "refused": "거절"}
TYPES = {"access": "열람", "correction": "정정", "deletion": "삭제", "suspension": "처리정지"}
Rows = Iterable[Sequence[Any]]


def page(document: Mapping[str, Any]) -> str:
    """Return the page of an answer (services.consent.rights.answer.document)."""
    title = escape(str(document["form"]["title"]))
    parts = [_result(document), *_withheld(document), *_blocks(document.get("blocks", {})), *_objection(document)]
    return (
        '<!doctype html><html lang="ko"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{STYLE}</style></head>'
        f"<body><main><h1>{title}</h1>{''.join(parts)}<p>{escape(document['controller']['ko'])}</p></main></body></html>"
    )


def _result(document: Mapping[str, Any]) -> str:
    rows = [
        ("접수 번호", document["id"]),
        ("요구", TYPES[document["type"]]),
        ("접수 일시", document["received_at"]),
        ("결정 일시", document["decided_at"]),
        ("결과", OUTCOMES[document["outcome"]]),
    ]
    if ground := document.get("ground"):
        rows.append(("사유", f"{ground['ko']} (개인정보 보호법 {ground['statute']})"))
    if statute := document.get("statute"):
        rows.append(("근거 법령", statute["ko"]))
    return _table("처리 결과", ("구분", "내용"), rows)


def _withheld(document: Mapping[str, Any]) -> Iterable[str]:
    if items := document.get("withheld_items"):
        yield _table("처리하지 않은 항목", ("항목",), [(i["ko"],) for i in items])


def _blocks(blocks: Mapping[str, Any]) -> Iterable[str]:
    if not blocks:
        return
    yield _table("1. 개인정보의 항목과 내용", ("항목", "내용"), [(i["ko"], i["content"]) for i in blocks["items"]])
    yield _table("2. 수집·이용의 목적", ("조항", "목적"), [(p["clause"], p["ko"]) for p in blocks["purposes"]])
    periods = [(p["what"], p["until"], p["statute"]) for p in blocks["periods"]]
    yield _table("3. 보유 및 이용 기간", ("대상", "기간", "근거"), periods)
    provisions = [
        (p["at"], p["recipient"]["ko"], p["role"]["ko"], _names(p["items"]), p["purpose"]["ko"], p["basis"])
        for p in blocks["third_parties"]
    ]
    head = ("일시", "받는 자", "구분", "항목", "목적", "근거")
    yield _table("4. 제3자 제공 현황", head, provisions)
    consent_head = ("동의", "상대", "채널", "동의 일시", "종료", "방법", "고지 내용")
    yield _table("5. 개인정보 처리에 동의한 사실과 내용", consent_head, map(_consent, blocks["consents"]))


def _consent(c: Mapping[str, Any]) -> Sequence[Any]:
    party = c["party"]["ko"] if c["party"] else ""
    told = (c["purpose"]["ko"], party, c["channel"], c["given_at"])
    return *told, c["ended_at"] or "유효", c["collected_via"], _notice(c)


def _notice(consent: Mapping[str, Any]) -> str:
    lines = "; ".join(f"{line['label']}: {line['text']}" for line in consent["notice"])
    return f"v{consent['notice_version']} {lines}"


def _names(items: Iterable[Mapping[str, str]]) -> str:
    return ", ".join(i["ko"] for i in items)


def _objection(document: Mapping[str, Any]) -> Iterable[str]:
    if objection := document.get("objection"):
        yield f"<h2>이의제기 방법</h2><p>{escape(objection['ko'])}</p>"


def _table(title: str, head: Sequence[str], rows: Rows) -> str:
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in rows)
    empty = f'<tr><td colspan="{len(head)}">없음</td></tr>'
    return f"<h2>{escape(title)}</h2><table><thead><tr>{cells}</tr></thead><tbody>{body or empty}</tbody></table>"


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return escape(", ".join(map(str, value)))
    return escape(str(value)) if value is not None else ""
