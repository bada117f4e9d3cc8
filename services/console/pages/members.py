"""One member: found by reference or e-mail, its timeline, how it was at an instant, who holds what, values masked."""

import asyncio
import uuid
from datetime import date, datetime
from typing import Any

from fastapi import APIRouter, Response

from services.console import charts, words
from services.console.apis import RefusedError
from services.console.desk import Form, Sent, Somebody, Visit, to
from services.console.model import OFFICERS, REASONS, ROUTINE, STAFF
from services.runtime.clock import KST

router = APIRouter()


@router.get("/members")
async def find(visit: Somebody, ref: str = "") -> Response:
    """Show the search, or go to the member of a reference."""
    visit.require(*STAFF)
    asked = ref.strip()
    if not asked:
        return _search(visit)
    try:
        return to(f"/members/{uuid.UUID(asked)}")
    except ValueError:
        return _search(visit, fault="not_an_id", asked=asked[:80])


def _search(visit: Visit, *, fault: str | None = None, asked: str = "", error: RefusedError | None = None) -> Response:
    status = 422 if fault or error else 200
    return visit.page("members.html", status=status, fault=fault, asked=asked, refusal=error, reasons=REASONS)


@router.post("/members")
async def search(visit: Somebody, form: Sent) -> Response:
    """Find a member by e-mail, for a reason that the audit log keeps; the address is in no URL."""
    visit.require(*OFFICERS)
    body = {"email": form.text("email", 254), **form.given("reason", "reference")}
    try:
        found = await visit.api.post("consent", "/v1/members/searches", body)
    except RefusedError as error:
        return _search(visit, error=error)
    return to(f"/members/{found['member_ref']}")


@router.get("/members/{ref}")
async def show(visit: Somebody, ref: uuid.UUID, on: str = "") -> Response:
    """Show a member; `on` is a day in Korea or an instant there, as of which consents and holders are shown."""
    visit.require(*STAFF)
    context = await _member(visit, ref, on)
    await _note(visit, ref)
    return visit.page("member.html", **context)


async def _note(visit: Visit, ref: uuid.UUID) -> None:
    """Have it written down that this person looked at this member, before the page goes out."""
    try:
        await visit.asking(ROUTINE).post("audit", "/v1/audit/accesses", {"action": "member", "member_ref": str(ref)})
    except RefusedError as error:
        if error.status not in {404, 405}:  # an audit service that takes no such notes
            raise


async def _member(visit: Visit, ref: uuid.UUID, on: str) -> dict[str, Any]:
    at, fault = _as_of(on, visit.desk.gate.clock())
    api = visit.api
    member, changes, ledger, messages, then = await asyncio.gather(
        api.get("consent", f"/v1/members/{ref}"),
        api.listed("consent", f"/v1/members/{ref}/changes", "changes"),
        api.get("consent", f"/v1/members/{ref}/disclosures"),
        api.listed("consent", "/v1/messages", "messages", member_ref=ref),
        api.get("consent", f"/v1/members/{ref}/as-of", at=at.isoformat()),
    )
    requests = await _requests(visit, ref)
    found = charts.holders(then["disclosures"], then["holding"])
    return {
        "member": member,
        "timeline": _timeline(changes, ledger["disclosures"], messages, requests),
        "then": then,
        "on": on,
        "date_fault": fault,
        "holders": found,
        "map_height": charts.map_height(found),
        "reasons": REASONS,
        "revealed": None,
    }


async def _requests(visit: Visit, ref: uuid.UUID) -> list[Any]:
    if visit.known.role == "sre":  # runs the system and handles no request
        return []
    return await visit.api.listed("consent", "/v1/rights-requests", "requests", member_ref=ref)


def _as_of(text: str, now: datetime) -> tuple[datetime, bool]:
    """Return (instant, whether the text was no day or instant): a day means its end; later than now means now."""
    if not text:
        return now, False
    try:
        day_only = len(text) == len("2026-01-01")
        at = words.at_end_of(date.fromisoformat(text)) if day_only else datetime.fromisoformat(text)
    except ValueError:
        return now, True
    local = at if at.tzinfo else at.replace(tzinfo=KST)
    return min(local, now), False


def _timeline(
    changes: list[Any], disclosures: list[Any], messages: list[Any], requests: list[Any]
) -> list[dict[str, Any]]:
    """Return everything that happened to a member, the newest first."""
    outside = [d for d in disclosures if d["change_id"] is None]
    events = [
        *({"at": c["accepted_at"], "kind": "change", "what": c["change"], "of": c} for c in changes),
        *({"at": d["at"], "kind": "disclosure", "what": d["recipient"], "of": d} for d in outside),
        *({"at": m["queued_at"], "kind": "message", "what": m["kind"], "of": m} for m in messages),
        *({"at": r["received_at"], "kind": "request", "what": r["type"], "of": r} for r in requests),
    ]
    return sorted(events, key=lambda event: words.instant(event["at"]), reverse=True)


@router.post("/members/{ref}/reveal")
async def reveal(visit: Somebody, ref: uuid.UUID, form: Sent) -> Response:
    """Show the values, for a reason: the API writes both down."""
    visit.require(*OFFICERS)
    return await _revealed(visit, ref, form)


async def _revealed(visit: Visit, ref: uuid.UUID, form: Form) -> Response:
    alone = visit.request.headers.get("hx-request") == "true"
    try:
        values = await visit.api.post("consent", f"/v1/members/{ref}/reveals", form.given("reason", "reference"))
    except RefusedError as error:
        if alone:
            member = await visit.api.get("consent", f"/v1/members/{ref}")
            return visit.refused("parts/values.html", error, member=member, revealed=None, reasons=REASONS)
        return visit.refused("member.html", error, **await _member(visit, ref, ""))
    if alone:
        return visit.page("parts/values.html", member=values, revealed=values, reasons=REASONS)
    context = await _member(visit, ref, "")
    return visit.page("member.html", **{**context, "revealed": values, "member": {**context["member"], **values}})
