"""Somebody to be attacked: a member with one of everything, each object by the path that names it."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from services.consent.messages import opt_out
from services.consent.messages.opt_out import OptOut
from tests.integration.consent.harness import a_token, bearer
from tests.security.apis import Apis
from tests.security.places import World

HOST = {"service": "hypermeeting", "role": "host", "phone": "010-1234-5678", "department": "연구1팀", "title": "책임"}
ADMIN = {"service": "hypermeeting", "role": "admin", "customer_name": "한빛상사"}
SHA = "ab" * 32
OCCURRED = "2026-10-01T10:00:00+09:00"
OFFICER = bearer(a_token("officer-1", "compliance"))
SECOND = bearer(a_token("officer-2", "cpo"))


async def settle(apis: Apis) -> World:
    """Make the member and one of each object about it."""
    return World(await _Maker(apis).all())


class _Maker:
    def __init__(self, apis: Apis) -> None:
        self.service = apis.service
        self.retention = apis.pair.http

    async def made(self, path: str, body: Any, status: int = 201, **kwargs: Any) -> dict[str, Any]:
        answer = await self.service.post(path, body, **kwargs)
        assert answer.status_code == status, (path, answer.text)
        return dict(answer.json())

    async def all(self) -> dict[str, str]:
        signed = await self.service.sign_up(
            profiles=[ADMIN], consents={"collection": True, "sharing": {"tmax-os": True}}
        )
        ref = str(signed["member_ref"])
        ids = {
            "member": ref,
            "change_id": str(signed["change_id"]),
            "affiliate": "tmax-os",
            "kid": f"tmax-os.{ref}.1",
            "recipient": "tmax-os",
            "processor": "tmax-os",
            "purpose": "sharing",
            "kind": "yearly_use_notice",
            "version": "2021-02-22",
            "index": "0",
            "replay": str(uuid.uuid4()),
            "letter": str(uuid.uuid4()),
        }
        ids |= await self.of_consent(ref) | await self.of_rights(ref) | await self.of_those_who_left()
        ids["now"] = datetime.now(UTC).isoformat()
        await self.made("/v1/replays", {"replay_id": ids["replay"], "sha256": SHA, "reason": "drill", "summary": {}})
        return ids

    async def of_consent(self, ref: str) -> dict[str, str]:
        under = str((await self.service.sign_up(profiles=[HOST]))["member_ref"])
        await self.made(f"/v1/members/{ref}/account-members", {"member_ref": under})
        given = {"recipient": "demo-partner", "items": ["email"], "purpose": "delivery", "basis": "consent"}
        await self.made(f"/v1/members/{ref}/disclosures", given)
        await self.made(f"/v1/members/{ref}/records", {"class": "payment", "occurred_at": OCCURRED, "fields": {}})
        email = f"c{uuid.uuid4().hex}@example.com"
        corrected = await self.service.http.patch(
            f"/v1/members/{ref}", json={"email": email}, headers={"If-Match": "*"}
        )
        assert corrected.status_code == 200, corrected.text
        notices = (await self.service.http.get("/v1/notices?recipient=demo-partner")).json()["notices"]
        text = {"subject": "complaint", "member_ref": ref, "text": "문의합니다"}
        inquiry = await self.made("/v1/inquiries", text)
        wanted = OptOut(ref, "tmax-os", "email", datetime.now(UTC) + timedelta(days=1))
        return {
            "member_ref": under,
            "notice_id": str(notices[-1]["notice_id"]),
            "inquiry": str(inquiry["id"]),
            "token": opt_out.token_of(self.service.consent.index_key, wanted),
        }

    async def of_rights(self, ref: str) -> dict[str, str]:
        asked = await self.made("/v1/rights-requests", {"member_ref": ref, "type": "access", "channel": "fax"})
        path = f"/v1/rights-requests/{asked['id']}"
        headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "text/plain"}
        attached = await self.service.http.post(
            f"{path}/evidence", params={"kind": "form-11"}, content=b"paper", headers=headers
        )
        assert attached.status_code == 201, attached.text
        paper = {"kind": "written_request", "number": "2026-1", "issued_on": "2026-11-20", "names": ["name"]}
        investigation = {
            "agency": "police",
            "basis": "telecom_business_act_83",
            "purpose": "investigation",
            "paper": paper | {"states": ["reason", "relation", "scope"]},
            "items": ["name"],
            "received_at": "2026-11-23T09:00:00+09:00",
            "member_ref": ref,
        }
        entered = await self.made("/v1/investigation-requests", investigation, headers=OFFICER)
        return {
            "request_id": str(asked["id"]),
            "evidence_id": str(attached.json()["id"]),
            "investigation": str(entered["id"]),
        }

    async def of_those_who_left(self) -> dict[str, str]:
        left = str((await self.service.sign_up())["member_ref"])
        for step, status in (("withdrawal", 202), ("withdrawal/confirm", 200)):
            await self.made(f"/v1/members/{left}/{step}", None, status)
        case = await self.service.http.get(f"/v1/erasures/{left}")
        assert case.status_code == 200, case.text
        held = await self.retention.put(f"/v1/retention/holds/{left}", json={"reason": "suit"}, headers=OFFICER)
        assert held.status_code == 204, held.text
        return {"erasure": str(case.json()["erasure_id"]), "left": left}


LETTER = {"topic": "dongui.facts.v1", "code": "bad_json"}
BODIES: dict[tuple[str, str], Any] = {
    ("PATCH", "/v1/members/{ref}"): {"name": "새이름"},
    ("POST", "/v1/members/{ref}/reveals"): {"reason": "inquiry", "reference": "T-1"},
    ("PUT", "/v1/members/{ref}/consents/{purpose}"): {"granted": False, "notice_version": "2021-02-22"},
    ("POST", "/v1/members/{ref}/disclosures"): {
        "recipient": "demo-partner",
        "items": ["email"],
        "purpose": "delivery",
        "basis": "consent",
    },
    ("POST", "/v1/keys"): {"kids": ["{kid}"]},
    ("POST", "/v1/members/{ref}/records"): {"class": "payment", "occurred_at": OCCURRED, "fields": {"amount": 1}},
    ("POST", "/v1/notices/{notice_id}/acknowledgement"): {"outcome": "corrected"},
    ("POST", "/v1/notices/{notice_id}/manual"): {"channel": "post", "sent_at": "{now}", "evidence": "letter-1"},
    ("POST", "/v1/members/{ref}/guardian"): {"guardian": {"name": "홍판서", "contact": "010-0000-0000"}},
    ("POST", "/v1/members/{ref}/guardian/confirm"): {
        "method": "paper",
        "guardian": {"name": "홍판서", "contact": "010-0000-0000"},
    },
    ("POST", "/v1/members/{ref}/messages"): {"sender": "tmax-os", "title": "새 소식", "text": "회의가 쉬워집니다."},
    ("POST", "/v1/members/{ref}/source-notices"): {"sender": "tmax-os"},
    ("PUT", "/v1/members/{ref}/messages/{kind}"): {"wanted": False},
    ("POST", "/v1/rights-requests"): {"member_ref": "{member}", "type": "suspension", "channel": "web"},
    ("POST", "/v1/rights-requests/{request_id}/verify"): {"method": "id_card", "verified_by": "kim"},
    ("POST", "/v1/rights-requests/{request_id}/decide"): {"outcome": "granted"},
    ("POST", "/v1/rights-requests/{request_id}/defer"): {"reason": "third_party_review"},
    ("POST", "/v1/rights-requests/{request_id}/release"): {"method": "id_card", "verified_by": "kim"},
    ("POST", "/v1/rights-requests/{request_id}/done"): {"told_by": "fax"},
    ("POST", "/v1/rights-requests/{request_id}/evidence"): b"a paper",
    ("POST", "/v1/members/{ref}/activity"): {},
    ("POST", "/v1/members/{ref}/account-members"): {"member_ref": "{member_ref}"},
    ("POST", "/v1/investigation-requests"): {
        "agency": "police",
        "basis": "telecom_business_act_83",
        "purpose": "investigation",
        "paper": {"kind": "written_request", "number": "2026-1", "issued_on": "2026-11-20"},
        "items": ["name"],
        "received_at": "2026-11-23T09:00:00+09:00",
        "member_ref": "{member}",
    },
    ("POST", "/v1/investigation-requests/{ref}/decide"): {"provide": [], "form": "written"},
    ("POST", "/v1/investigation-requests/{ref}/paper"): {"number": "2026-2"},
    ("POST", "/v1/investigation-reports"): {"half": "2026H1", "reference": "R-1"},
    ("POST", "/v1/processors/{processor}/checks"): {"outcome": "satisfactory", "reference": "C-1"},
    ("POST", "/v1/inquiries"): {"subject": "complaint", "member_ref": "{member}", "text": "문의"},
    ("POST", "/v1/inquiries/{ref}/answer"): {"text": "답변"},
    ("POST", "/v1/inquiries/{ref}/done"): {"told_by": "phone"},
    ("POST", "/v1/erasures/{ref}/approve"): {"reason": "checked"},
    ("POST", "/v1/erasures/{ref}/hold"): {"reason": "litigation"},
    ("POST", "/v1/replays/{replay_id}/approve"): {"sha256": SHA},
    ("POST", "/v1/replays/{replay_id}/progress"): {"sha256": SHA, "state": "running", "done": 0, "total": 1},
    ("POST", "/v1/affiliates/{affiliate}/holdings"): {"members": ["{member}"]},
    ("POST", "/v1/affiliates/{affiliate}/backfill"): {"dry_run": True},
    ("POST", "/v1/dead-letters/{letter_id}/redriven"): {"topic": "dongui.facts.v1", "code": "bad_json"},
    ("POST", "/v1/dead-letters/{letter_id}/discard"): {
        "topic": "dongui.facts.v1",
        "code": "bad_json",
        "reason": "junk",
    },
    ("POST", "/v1/audit/accesses"): {"action": "reveal", "member_ref": "{member}"},
    ("PUT", "/v1/retention/holds/{member_ref}"): {"reason": "suit"},
}
QUERIES: dict[str, dict[str, str]] = {
    "/v1/decisions": {"recipient": "tmax-os", "purpose": "P1.1", "member_ref": "{member}"},
    "/v1/affiliates/{affiliate}/digests": {"salt": "0123456789abcdef"},
    "/v1/rights-requests/{request_id}/evidence": {"kind": "form-11"},
    "/v1/messages": {"member_ref": "{member}"},
    "/v1/rights-requests": {"member_ref": "{member}"},
    "/v1/notices": {"recipient": "demo-partner"},
    "/v1/affected": {"from": "2026-01-01T00:00:00+09:00", "recipient": "tmax-os"},
    "/v1/audit/entries": {"member_ref": "{member}"},
    "/v1/audit/export": {"member_ref": "{member}"},
    "/v1/retention/records": {"member_ref": "{left}", "reason": "case-7"},
}


def filled(world: World, value: Any) -> Any:
    """Return a body or query with the objects' names put in."""
    if isinstance(value, dict):
        return {name: filled(world, one) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(world, one) for one in value]
    if isinstance(value, str) and value.startswith("{") and value[1:-1] in world.ids:
        return world.ids[value[1:-1]]
    return value


def with_left(world: World, template: str) -> World:
    """Return the world as the retention service knows it: its member is one who left."""
    if not template.startswith("/v1/retention/"):
        return world
    return replace(world, ids=world.ids | {"member_ref": world.ids["left"], "member": world.ids["left"]})
