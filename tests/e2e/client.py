"""What the end-to-end tests hold: HTTP as each kind of caller, each store, the third party, the mail server, the log.

Everything is asked of public surfaces; expected rows are written in the tests by hand.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from services.devstack.system import System
from services.runtime import postgres
from tests.support.expected import AFFILIATES
from tests.support.kept import KEPT
from tests.support.mail import MailServer
from tests.support.oracle import received_from

NOTICE = "2021-02-22"
HOST = {"service": "hypermeeting", "role": "host", "phone": "010-1234-5678", "department": "연구1팀", "title": "책임"}
WAPL = {"service": "wapl", "role": "member", "title": "책임", "photo": "p.png"}
IDENTIFIED = {"method": "id_card", "verified_by": "kim"}
WAIT_S = 40.0
Row = dict[str, Any] | None


class Client:
    """One installation, seen from outside."""

    def __init__(self, system: System, mail: MailServer) -> None:
        self.system, self.mail = system, mail
        self.described = system.described()
        self._http = httpx.AsyncClient(limits=KEPT, timeout=30)
        self._pools: dict[str, asyncpg.Pool] = {}

    async def close(self) -> None:
        await asyncio.gather(self._http.aclose(), *(pool.close() for pool in self._pools.values()))

    async def pool(self, name: str) -> asyncpg.Pool:
        """Open an affiliate's store, `audit` or `consent` as its process role sees it."""
        if name not in self._pools:
            databases = self.described["databases"]
            dsn = databases["affiliates"].get(name) or databases[name]
            self._pools[name] = await postgres.open_pool(dsn, size=2, application="dongui-e2e")
        return self._pools[name]

    def token(self, role: str, sub: str = "") -> str:
        """Return a token of the installation's own issuer."""
        return self.system.installation.issuer.token(sub or f"e2e-{role}", role)

    async def answer(self, method: str, path: str, body: Any = None, **how: Any) -> httpx.Response:
        """Send one request; `role` and `sub` say who asks, `etag` which version of the member, `service` whom.

        `traceparent` puts the request into a trace.
        """
        headers = {"Authorization": f"Bearer {self.token(how.get('role', 'service'), how.get('sub', ''))}"}
        headers |= {"Accept": how.get("accept", "application/json"), "Accept-Language": "en"}
        headers |= {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        headers |= {"If-Match": f'"{how["seq"]}"'} if "seq" in how else {}
        headers |= {"traceparent": how["traceparent"]} if "traceparent" in how else {}
        url = self.described[how.get("service", "consent_url")] + path
        return await self._http.request(method, url, json=body, headers=headers, params=how.get("params"))

    async def ask(self, method: str, path: str, body: Any = None, **how: Any) -> Any:
        """Send one request that must succeed; return its JSON."""
        found = await self.answer(method, path, body, **how)
        assert found.is_success, f"{method} {path}: {found.status_code} {found.text}"
        return found.json()

    async def sign_up(self, **changes: Any) -> dict[str, Any]:
        """Sign one person up; return the answer with the e-mail address, once everybody has followed."""
        body = {
            "email": f"{uuid.uuid4().hex[:12]}@example.kr",
            "password": "correct horse battery",
            "name": "홍길동",
            "profiles": [],
            "consents": {"collection": True, "sharing": True},
            "notice_version": NOTICE,
        } | changes
        made: dict[str, Any] = await self.ask("POST", "/v1/members", body)
        await self.followed(made["change_id"])
        return made | {"email": body["email"]}

    async def consent(self, ref: str, purpose: str, seq: int, **body: Any) -> dict[str, Any]:
        """Give or take back a consent; return the answer once everybody has followed."""
        path = f"/v1/members/{ref}/consents/{purpose}"
        made: dict[str, Any] = await self.ask("PUT", path, {"notice_version": NOTICE} | body, seq=seq)
        await self.followed(made["change_id"])
        return made

    async def request(self, ref: str, type_: str, **fields: Any) -> str:
        """Enter a rights request; return its id."""
        body = {"member_ref": ref, "type": type_, "channel": "written"} | fields
        return str((await self.ask("POST", "/v1/rights-requests", body, role="compliance"))["id"])

    async def step(self, request_id: str, verb: str, body: Any = None, **how: Any) -> dict[str, Any]:
        """Move a rights request; return it once everybody has followed what it changed."""
        path = f"/v1/rights-requests/{request_id}/{verb}"
        moved: dict[str, Any] = await self.ask("POST", path, body, **{"role": "compliance"} | how)
        for change_id in moved.get("change_ids") or []:
            await self.followed(change_id)
        return moved

    async def followed(self, change_id: str) -> dict[str, Any]:
        """Wait until every recipient has answered a change and the log has sealed it; return it."""

        async def whole() -> Any:
            found = await self.ask("GET", f"/v1/changes/{change_id}")
            return found if found["complete"] and found["sealed_at"] else None

        change: dict[str, Any] = await until(whole)
        return change

    async def members(self, ref: str) -> dict[str, Row]:
        """Return each affiliate's `member` row of a person (3.2)."""
        statement = "SELECT email, name, status, marketing FROM member WHERE member_ref = $1"
        return {a: _plain(await (await self.pool(a)).fetchrow(statement, ref)) for a in AFFILIATES}

    async def processed(self, ref: str) -> dict[str, Row]:
        """Return each affiliate's `processed_member` row of a person (4.3)."""
        statement = "SELECT service, role, items, status FROM processed_member WHERE member_ref = $1"
        return {a: _plain(await (await self.pool(a)).fetchrow(statement, ref)) for a in AFFILIATES}

    async def decision(self, ref: str, recipient: str, **question: str) -> dict[str, Any]:
        """Ask whether a recipient may use something."""
        asked = {"recipient": recipient, "purpose": "P1.1", "member_ref": ref} | question
        found: dict[str, Any] = await self.ask("GET", "/v1/decisions", params=asked)
        return found

    async def told(self, change_id: str) -> list[dict[str, Any]]:
        """Return what the third party was told about a change."""
        received = await received_from(f"{self.described['partner_url']}/received")
        return [n["data"] for n in received if n["data"]["change_id"] == change_id]

    async def mails(self, address: str, count: int = 1) -> list[Any]:
        """Wait for mails to an address; return all of them."""

        async def arrived() -> Any:
            found = self.mail.to(address)
            return found if len(found) >= count else None

        return list(await until(arrived))

    async def entries(self, member_ref: str) -> list[dict[str, Any]]:
        """Return the audit log's entries about a person."""
        found = await self.ask(
            "GET", "/v1/audit/entries", service="audit_url", params={"member_ref": member_ref, "limit": 1000}
        )
        return list(found["entries"])

    async def export(self, path: Path) -> str:
        """Write the whole log to a file; return its text."""
        found = await self.answer("GET", "/v1/audit/export", service="audit_url", role="compliance")
        assert found.is_success, found.text
        path.write_text(found.text, encoding="utf-8")
        return found.text


async def until(look: Callable[[], Awaitable[Any]], timeout_s: float = WAIT_S) -> Any:
    """Return the first true answer of `look`; TimeoutError when there is none in time."""
    async with asyncio.timeout(timeout_s):
        while not (found := await look()):
            await asyncio.sleep(0.1)
        return found


def _plain(row: asyncpg.Record | None) -> Row:
    return dict(row) if row is not None else None
