"""Routes of the refusal link: a page that asks, and the click. Anybody who has the link, no token; nothing personal."""

from html import escape
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse

from services.consent.messages import opt_out
from services.consent.messages.opt_out import OptOut
from services.policy.marketing import advertising
from services.policy.messages import load
from services.runtime.problem import Problem
from services.runtime.web import PROBLEM

router = APIRouter(tags=["messages"])
Token = Annotated[str, Path(max_length=400, pattern=r"^[A-Za-z0-9_-]+$")]
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
}
STYLE = """
body{font-family:"Noto Sans KR","Malgun Gothic",sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem;
 color:#111;line-height:1.6}
button{font:inherit;padding:.6rem 1.2rem}
"""
PAGES: dict[int | str, dict[str, Any]] = {
    "4XX": {**PROBLEM, "content": {"text/html": {"schema": {"type": "string"}}, **PROBLEM["content"]}}
}


@router.get(opt_out.PATH + "{token}", response_class=HTMLResponse, responses=PAGES)
async def ask(request: Request, token: Token) -> HTMLResponse:
    """Return a Korean page that says what the link refuses, with the button that does. Changes nothing."""
    consent = request.app.state.consent
    try:
        wanted = opt_out.opened(consent.index_key, token, consent.clock())
    except Problem as problem:
        return _refused(problem)
    if not await opt_out.standing(consent, wanted):
        return _page("이미 수신하지 않습니다", f"<p>{_named(wanted)} 광고는 보내 드리지 않습니다.</p>")
    button = '<form method="post"><button type="submit">수신거부</button></form>'
    return _page("광고 수신거부", f"<p>{_named(wanted)} 광고를 더 이상 받지 않으시겠습니까? 무료입니다.</p>{button}")


@router.post(opt_out.PATH + "{token}", response_class=HTMLResponse, responses=PAGES)
async def refuse(request: Request, token: Token) -> HTMLResponse:
    """Withdraw the consent of the link's sender and channel (RFC 8058): at once, and again without further effect."""
    consent = request.app.state.consent
    try:
        wanted = opt_out.opened(consent.index_key, token, consent.clock())
    except Problem as problem:
        return _refused(problem)
    await opt_out.take_back(consent, wanted)
    told = f"<p>{_named(wanted)} 광고 수신을 거부하셨습니다. 처리 결과는 따로 안내해 드립니다.</p>"
    return _page("수신거부가 처리되었습니다", told)


def _named(wanted: OptOut) -> str:
    company = load().companies.get(wanted.sender)
    return escape(f"{company.ko if company else wanted.sender}의 {advertising().media[wanted.channel].ko}")


def _refused(problem: Problem) -> HTMLResponse:
    operator = load().companies[load().operator]
    contact = f"<p>문의: {escape(operator.contact)}</p>"
    return _page("처리할 수 없는 링크입니다", f"<p>{escape(problem.detail_ko)}</p>{contact}", problem.status)


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    html = (
        '<!doctype html><html lang="ko"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>"
    )
    return HTMLResponse(html, status, HEADERS)
