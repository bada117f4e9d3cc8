"""What the console is looked at with: a member with a past, requests in several states, records, a destruction."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

NOTICE = "2021-02-22"
HOST = {"service": "hypermeeting", "role": "host", "phone": "010-1234-5678", "department": "연구1팀", "title": "책임"}
RECORDS = (("payment", "2024-03-02"), ("contract", "2023-01-15"), ("dispute", "2025-06-30"), ("visit", "2026-10-20"))
Ask = Callable[..., Awaitable[Any]]
"""`ask(method, path, body=None, seq=None)` as a service; the JSON of a success."""


@dataclass(frozen=True)
class Told:
    """Where things are: the member with its last change, a request not yet verified, one that waits for its decision,
    a member whose account was deleted on request."""

    ref: str
    email: str
    change_id: str
    received: str
    verified: str
    deleted: str


async def sign_up(ask: Ask, name: str = "홍길동", **more: Any) -> tuple[str, str]:
    """Sign somebody up; return (reference, e-mail)."""
    email = f"gildong.{uuid.uuid4().hex[:8]}@example.kr"
    body = {
        "email": email,
        "password": "correct horse battery",
        "name": name,
        "profiles": [HOST],
        "consents": {"collection": True, "sharing": True, "marketing": {"use": True, "email": True}},
        "notice_version": NOTICE,
        **more,
    }
    return str((await ask("POST", "/v1/members", body))["member_ref"]), email


async def tell(ask: Ask) -> Told:
    """Make all of it."""
    ref, email = await sign_up(ask)
    given = {"items": ["email", "hypermeeting.phone"], "purpose": "partner_service", "basis": "consent"}
    await ask("POST", f"/v1/members/{ref}/disclosures", {"recipient": "demo-partner", **given})
    for class_, day in RECORDS:
        body = {"class": class_, "occurred_at": f"{day}T10:00:00+09:00", "fields": {}}
        await ask("POST", f"/v1/members/{ref}/records", body)
    seq = (await ask("GET", f"/v1/members/{ref}"))["seq"]
    changed = {"profiles": [{**HOST, "phone": "010-9876-5432"}]}
    change = (await ask("PATCH", f"/v1/members/{ref}", changed, seq=seq))["change_id"]
    received = await _request(ask, ref, "access", "email")
    verified = await _request(ask, ref, "suspension", "written", verify=True)
    deletion, leaver = await leaving(ask)
    await ask("POST", f"/v1/rights-requests/{deletion}/decide", {"outcome": "granted"})
    return Told(ref, email, change, received, verified, leaver)


async def leaving(ask: Ask) -> tuple[str, str]:
    """Sign somebody up whose request to delete everything waits for its decision; return (request, member)."""
    ref, _ = await sign_up(ask, "성춘향")
    return await _request(ask, ref, "deletion", "phone", verify=True), ref


async def _request(ask: Ask, ref: str, type_: str, channel: str, *, verify: bool = False) -> str:
    body = {"member_ref": ref, "type": type_, "channel": channel}
    made = str((await ask("POST", "/v1/rights-requests", body))["id"])
    if verify:
        who = {"method": "id_card", "verified_by": "kim"}
        await ask("POST", f"/v1/rights-requests/{made}/verify", who)
    return made
