"""The demo's story: one member from sign-up to withdrawal, and after each step what every store must then hold."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from services.devstack import show
from services.devstack.environment import PARTNER
from services.devstack.population import NOTICE_VERSION, hypermeeting
from services.devstack.world import BrokenPromiseError, Stores, World

Promise = Callable[[Stores], bool]
NO_STORE: dict[str, Any] = {"member": None, "processed": None}
NEW_PHONE = "010-9876-5432"


@dataclass
class Story:
    """Tells the story and remembers each change: `changes` as they ended, `names` by change id."""

    world: World
    out: Console
    tag: str = field(default_factory=lambda: secrets.token_hex(3))
    ref: str = ""
    etag: str = ""
    seen: Stores = field(default_factory=dict)
    changes: list[dict[str, Any]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    async def tell(self) -> None:
        """Walk through the story; raise BrokenPromiseError at the first thing that is not as promised."""
        await self._sign_up()
        await self._disclose()
        await self._correct()
        await self._marketing()
        await self._revoke_sharing()
        await self._withdraw()

    def address(self, name: str) -> str:
        """Return an e-mail address that no earlier demo used."""
        return f"{name}.{self.tag}@demo.example.com"

    async def _sign_up(self) -> None:
        show.heading(
            self.out,
            "1. Sign-up (가입)",
            "홍길동 signs up once, as a host of HyperMeeting, and agrees to sharing; to no marketing.",
        )
        answer = await self.world.ask(
            "POST",
            "/v1/members",
            {
                "email": self.address("gildong"),
                "password": secrets.token_urlsafe(12),
                "name": "홍길동",
                "profiles": [hypermeeting("010-1234-5678", "팀장")],
                "consents": {"collection": True, "sharing": True},
                "notice_version": NOTICE_VERSION,
            },
        )
        self.ref = answer.json()["member_ref"]
        self.seen = await self._none()
        await self._followed("sign-up", answer, self._signed_up)

    async def _none(self) -> Stores:
        return {affiliate: dict(NO_STORE) for affiliate in self.world.pools}

    def _signed_up(self, stores: Stores) -> bool:
        everywhere = all(s["member"] and s["member"]["name"] == "홍길동" for s in stores.values())
        return everywhere and stores["tmax-os"]["processed"]["service"] == "hypermeeting"

    async def _disclose(self) -> None:
        show.heading(
            self.out,
            "2. Disclosure to a third party (제3자 제공)",
            f"Its e-mail address and phone number are given to {PARTNER}; the ledger remembers which values.",
        )
        items = ["email", "hypermeeting.phone"]
        body = {"recipient": PARTNER, "items": items, "purpose": "partner_service", "basis": "consent"}
        await self.world.ask("POST", f"/v1/members/{self.ref}/disclosures", body)
        self.out.print(f"recorded: {PARTNER} holds {', '.join(items)}")

    async def _correct(self) -> None:
        show.heading(
            self.out,
            "3. Correction (정정)",
            f"E-mail and phone are corrected once. Every store follows; {PARTNER} is told and answers (clause 5.7).",
        )
        profile = {"service": "hypermeeting", "role": "host", "phone": NEW_PHONE}
        body = {"email": self.address("gildong.hong"), "profiles": [profile]}
        answer = await self.world.ask("PATCH", f"/v1/members/{self.ref}", body, self.etag)
        change = await self._followed("correction", answer, self._corrected)
        outcomes = [r.get("outcome") for r in change["recipients"] if r["id"] == PARTNER]
        if outcomes != ["corrected"]:
            raise BrokenPromiseError(f"{PARTNER} should have answered once, with `corrected`: {outcomes}")
        await self._told_once()

    async def _told_once(self) -> None:
        """Ask the third party itself what it was told of this member."""
        told = [m for m in await self.world.partner_received() if m["data"]["member_ref"] == self.ref]
        if len(told) != 1 or told[0]["data"]["values"]["email"] != self.address("gildong.hong"):
            raise BrokenPromiseError(
                f"{PARTNER} should have been told the new address exactly once, not {len(told)} times"
            )
        items = ", ".join(told[0]["data"]["items"])
        self.out.print(f"{PARTNER} was told once ({items}), verified the signature and answered `corrected`.")

    def _corrected(self, stores: Stores) -> bool:
        email = self.address("gildong.hong")
        new = all(s["member"]["email"] == email for s in stores.values())
        return new and stores["tmax-os"]["processed"]["items"]["phone"] == NEW_PHONE

    async def _marketing(self) -> None:
        show.heading(
            self.out,
            "4. Marketing consent on and off (마케팅 동의와 철회)",
            "Use, then the e-mail channel; then the member takes it back. Silence never means yes.",
        )
        for channel in ("use", "email"):
            await self._consent(
                "marketing", f"marketing {channel} on", self._may(channel), granted=True, channel=channel
            )
        await self._consent("marketing", "marketing off", self._may_not, granted=False, channel="use")

    def _may(self, channel: str) -> Promise:
        return lambda stores: all(s["member"]["marketing"][channel] is True for s in stores.values())

    def _may_not(self, stores: Stores) -> bool:
        told = (s["member"]["marketing"] for s in stores.values())
        return all(m is None or not any(m.values()) for m in told)

    async def _revoke_sharing(self) -> None:
        show.heading(
            self.out,
            "5. Sharing revoked for one affiliate (제공 동의 철회)",
            "tmax-anc loses its row; the others are not touched.",
        )
        before = self.seen

        def promise(stores: Stores) -> bool:
            others = all(stores[a] == before[a] for a in stores if a != "tmax-anc")
            return stores["tmax-anc"]["member"] is None and others

        await self._consent("sharing", "sharing revoked", promise, granted=False, recipients=["tmax-anc"])

    async def _withdraw(self) -> None:
        show.heading(
            self.out,
            "6. Withdrawal (탈퇴)",
            "Requested: nothing new is shared. Confirmed: every personal value goes from every store.",
        )
        path = f"/v1/members/{self.ref}/withdrawal"
        await self._followed("withdrawal asked", await self.world.ask("POST", path, {}), self._requested)
        await self._followed("withdrawal", await self.world.ask("POST", f"{path}/confirm", {}), self._withdrawn)

    def _requested(self, stores: Stores) -> bool:
        held = [s["member"] for s in stores.values() if s["member"]]
        return all(m["status"] == "withdrawal_requested" and m["email"] for m in held)

    def _withdrawn(self, stores: Stores) -> bool:
        held = [s["member"] for s in stores.values() if s["member"]]
        gone = all(m["status"] == "withdrawn" and not m["email"] and not m["name"] for m in held)
        processed = [s["processed"] for s in stores.values() if s["processed"]]
        return bool(held) and gone and all(p["items"] is None for p in processed)

    async def _consent(self, purpose: str, name: str, promise: Promise, **body: Any) -> None:
        path = f"/v1/members/{self.ref}/consents/{purpose}"
        answer = await self.world.ask("PUT", path, body | {"notice_version": NOTICE_VERSION}, self.etag)
        await self._followed(name, answer, promise)

    async def _followed(self, name: str, answer: Any, promise: Promise) -> dict[str, Any]:
        """Wait for a change, show where it is and what it did in the stores, and check what was promised."""
        self.etag = answer.headers["etag"]
        change = await self.world.followed(answer.json()["change_id"])
        stores = await self.world.stores(self.ref)
        show.progress(self.out, change)
        show.difference(self.out, self.seen, stores)
        self.changes.append(change)
        self.names[change["change_id"]] = name
        self.seen = stores
        if not promise(stores):
            raise BrokenPromiseError(f"after `{name}` a store does not hold what it should")
        return change
