"""Members full of values that are found nowhere else, and the command line that looks for them."""

import asyncio
import json
import os
import secrets
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from services.devstack.system import System
from tests.support.kept import KEPT

PATIENCE_S = 90.0


@dataclass
class Canaries:
    """Values of one test run. Every text holds `marker` or `hangul`; a telephone is one of `phones`."""

    marker: str = field(default_factory=lambda: f"zq{secrets.token_hex(6)}")
    phones: list[str] = field(default_factory=list)

    @property
    def hangul(self) -> str:
        """A Korean name nobody has: the marker's digits as syllables."""
        return "".join(chr(0xAC00 + 587 * int(digit, 16) + 13) for digit in self.marker[2:10])

    def phone(self) -> str:
        self.phones.append(f"010-{secrets.randbelow(9000) + 1000}-{secrets.randbelow(9000) + 1000}")
        return self.phones[-1]

    def text(self, what: str) -> str:
        return f"{what} {self.marker} {self.hangul}"

    def write(self, path: Path) -> Path:
        """Write the file that `dongui erasure scan --canaries` reads."""
        path.write_text("\n".join([self.marker, self.hangul, *self.phones]) + "\n", encoding="utf-8")
        return path


class World:
    """One running system as its members, its staff and its operators meet it."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.described = system.described()
        self._client = httpx.AsyncClient(base_url=self.described["consent_url"], limits=KEPT, timeout=30)

    async def close(self) -> None:
        await self._client.aclose()

    async def ask(
        self, method: str, path: str, body: Any = None, *, by: str = "service", seq: int | None = None, **more: Any
    ) -> Any:
        """Send one request, which must be accepted; return its JSON."""
        headers = {"Authorization": f"Bearer {self.described['tokens'][by]}"} | more.pop("headers", {})
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        if seq is not None:
            headers["If-Match"] = f'"{seq}"'
        answer = await self._client.request(method, path, json=body, headers=headers, **more)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def sign_up(self, canaries: Canaries, number: int) -> str:
        """Sign up a member every value of whom is a canary, with every consent; return the reference."""
        host = {"service": "hypermeeting", "role": "host", "phone": canaries.phone()}
        host |= {"department": canaries.text("부서"), "title": canaries.text("직책")}
        consents = {"collection": True, "sharing": {"tmax-os": True, "tmax-anc": True}}
        consents["marketing"] = {"use": True, "email": True, "sms": False, "night": False}
        body = {
            "email": f"{canaries.marker}.{number}@example.kr",
            "password": f"{canaries.marker} battery staple {number}",
            "name": f"{canaries.hangul}{number}",
            "profiles": [host, {"service": "wapl", "role": "member", "title": canaries.text("책임")}],
            "consents": consents,
            "notice_version": "2021-02-22",
        }
        return str((await self.ask("POST", "/v1/members", body))["member_ref"])

    async def live(self, canaries: Canaries, ref: str) -> str:
        """Give the member a past: disclosures, corrections, notices, an inquiry, a right, a record; return a change."""
        given = {"recipient": "demo-partner", "items": ["email", "hypermeeting.phone"], "purpose": "P1.1"}
        await self.ask("POST", f"/v1/members/{ref}/disclosures", given | {"basis": "consent"})
        phone = {"profiles": [{"service": "hypermeeting", "phone": canaries.phone()}]}
        await self.ask("PATCH", f"/v1/members/{ref}", phone, seq=1)
        email = {"email": f"{canaries.marker}.{ref[-6:]}@example.kr", "name": canaries.text("이름")}
        changed = await self.ask("PATCH", f"/v1/members/{ref}", email, seq=2)
        asked = {"subject": "privacy", "member_ref": ref, "text": canaries.text("문의")}
        inquiry = await self.ask("POST", "/v1/inquiries", asked)
        await self.ask(
            "POST", f"/v1/inquiries/{inquiry['id']}/answer", {"text": canaries.text("답변")}, by="compliance"
        )
        await self._right(canaries, ref)
        record = {"class": "payment", "occurred_at": (datetime.now(UTC) - timedelta(days=9)).isoformat()}
        fields = {"name": canaries.text("주문자"), "order_id": f"{canaries.marker}-1", "amount": 1000}
        await self.ask("POST", f"/v1/members/{ref}/records", record | {"fields": fields})
        return str(changed["change_id"])

    async def _right(self, canaries: Canaries, ref: str) -> None:
        """A correction that was asked for in writing and refused, with a document and the words that were wanted."""
        wanted = {"member_ref": ref, "type": "correction", "channel": "written"}
        wanted |= {"changes": {"name": canaries.text("원하는 이름")}}
        right = await self.ask("POST", "/v1/rights-requests", wanted)
        path = f"/v1/rights-requests/{right['id']}"
        document = canaries.text("신분증 사본").encode()
        await self.ask(
            "POST", f"{path}/evidence?kind=identity", content=document, headers={"Content-Type": "text/plain"}
        )
        refused = {"outcome": "refused", "ground": "not_verified"}
        await self.ask("POST", f"{path}/decide", refused, by="compliance")

    async def leave(self, ref: str) -> None:
        """Withdraw and confirm."""
        await self.ask("POST", f"/v1/members/{ref}/withdrawal")
        await self.ask("POST", f"/v1/members/{ref}/withdrawal/confirm")

    async def destroy(self, ref: str) -> None:
        """Let the destruction that the withdrawal selected run now."""
        await self.ask("POST", f"/v1/erasures/{ref}/execute", by="cpo")

    async def state(self, ref: str) -> str:
        return str((await self.ask("GET", f"/v1/erasures/{ref}"))["state"])

    async def settled(self, change_ids: Sequence[str]) -> None:
        """Wait until every recipient has answered these changes and the log has sealed them."""

        async def all_sealed() -> bool:
            found = [await self.ask("GET", f"/v1/changes/{change_id}") for change_id in change_ids]
            return all(one["complete"] and one["sealed_at"] for one in found)

        await until(all_sealed)

    def variables(self) -> dict[str, str]:
        """What `dongui` finds in the environment of an operator of this system."""
        told = self.described
        return {
            "DONGUI_PROFILE": "dev",
            "DONGUI_DATA_DIR": str(self.system.base_dir),
            "DONGUI_KAFKA": told["kafka"],
            "DONGUI_CONSENT_URL": told["consent_url"],
            "DONGUI_AUDIT_URL": told["audit_url"],
            "DONGUI_SERVICE_TOKEN": told["tokens"]["service"],
            "DONGUI_OWNER_DSNS": json.dumps(self.system.installation.owner_dsns()),
        }

    async def dongui(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command line in a process of its own; return (status, stdout, stderr)."""
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.cli", *arguments),
            env=inherited | self.variables(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def scan(self, file: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Search everywhere for the values of a file; return (status, report)."""
        names = ("consent", "audit", "notices", "retention", *(f"propagator-{a}" for a in ("tmax-cloud", "tmax-anc")))
        metrics = [part for name in names for part in ("--metrics", f"{self.system.url(name)}/metrics")]
        command = ("erasure", "scan", "--canaries", str(file), *metrics, *arguments, "--format", "json")
        status, out, err = await self.dongui(*command)
        assert out, err
        return status, json.loads(out)


async def until(check: Callable[[], Awaitable[bool]], timeout_s: float = PATIENCE_S) -> None:
    """Wait until a check is true; fail after `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not await check():
            await asyncio.sleep(0.2)
