"""Disclosures to third parties, and the notices a correction owes them (clause 5.7)."""

import uuid

import pytest

from schemas.events import Notice
from schemas.receipts import DisclosureRecord, Receipt
from schemas.topics import NOTICES, RECEIPTS
from tests.integration.consent.harness import Service, a_token, bearer

HOST = {"service": "hypermeeting", "role": "host", "phone": "010-1234-5678", "department": "연구1팀", "title": "책임"}
PARTNER = bearer(a_token("demo-partner", "third_party"))


def a_disclosure(*items: str, **changes: object) -> dict[str, object]:
    return {"recipient": "demo-partner", "items": list(items), "purpose": "delivery", "basis": "consent"} | changes


async def test_a_disclosure_is_recorded_by_item_and_told_to_the_log(service: Service) -> None:
    ref = (await service.sign_up(profiles=[HOST]))["member_ref"]
    answer = await service.post(f"/v1/members/{ref}/disclosures", a_disclosure("email", "phone"))
    assert answer.status_code == 201, answer.text
    found = (await service.http.get(f"/v1/members/{ref}/disclosures")).json()["disclosures"][-1]
    assert (found["recipient"], found["kind"], found["role"]) == ("demo-partner", "third_party", "recipient")
    assert found["items"] == ["email", "hypermeeting.phone"]
    (record,) = await service.shapes(RECEIPTS)
    assert isinstance(record, DisclosureRecord)
    assert record.items == ("email", "hypermeeting.phone")
    assert (await service.http.get(f"/v1/members/{ref}")).json()["seq"] == 1, "no value changed, no version"


async def test_a_correction_owes_one_notice_to_each_holder_of_the_old_value(service: Service) -> None:
    ref = (await service.sign_up(email="old@example.com"))["member_ref"]
    await service.post(f"/v1/members/{ref}/disclosures", a_disclosure("email"))
    await service.patch(ref, 1, {"name": "이름만"})
    assert await service.shapes(NOTICES) == [], "the third party has no name"
    change = (await service.patch(ref, 2, {"email": "new@example.com"})).json()["change_id"]
    (notice,) = await service.shapes(NOTICES)
    assert isinstance(notice, Notice)
    assert (notice.recipient, notice.items, notice.values) == ("demo-partner", ("email",), {"email": "new@example.com"})
    await service.patch(ref, 3, {"email": "new@example.com"})
    assert len(await service.shapes(NOTICES)) == 1, "it has the present value already"
    shown = (await service.http.get(f"/v1/changes/{change}")).json()
    assert [r["id"] for r in shown["recipients"] if r["kind"] == "third_party"] == ["demo-partner"]


async def test_a_third_party_pulls_its_notices_and_acknowledges_them(service: Service) -> None:
    ref = (await service.sign_up())["member_ref"]
    await service.post(f"/v1/members/{ref}/disclosures", a_disclosure("email"))
    change = (await service.patch(ref, 1, {"email": "new@example.com"})).json()["change_id"]
    (notice,) = (await service.http.get("/v1/notices", headers=PARTNER)).json()["notices"]
    assert (notice["change_id"], notice["items"]) == (change, ["email"])
    assert "new@example.com" not in str(notice)
    path = f"/v1/notices/{notice['notice_id']}/acknowledgement"
    stranger = bearer(a_token("another-partner", "third_party"))
    assert (await service.http.post(path, json={"outcome": "corrected"}, headers=stranger)).status_code == 404
    for _ in range(2):
        answer = await service.http.post(path, json={"outcome": "corrected"}, headers=PARTNER)
        assert answer.status_code == 200, answer.text
    receipts = [s for s in await service.shapes(RECEIPTS) if isinstance(s, Receipt)]
    assert [(r.recipient, r.stage, r.outcome) for r in receipts] == [("demo-partner", "applied", "corrected")]
    shown = (await service.http.get(f"/v1/changes/{change}")).json()["recipients"]
    assert {r["stage"] for r in shown if r["id"] == "demo-partner"} == {"applied"}


async def test_a_third_party_sees_its_own_notices_only(silent: Service) -> None:
    assert (await silent.http.get("/v1/notices?recipient=other", headers=PARTNER)).status_code == 403
    assert (await silent.http.get("/v1/notices")).status_code == 422
    assert (await silent.http.get("/v1/notices?recipient=demo-partner")).status_code == 200
    assert (await silent.http.get("/v1/notices", headers=bearer(a_token("m", "member")))).status_code == 403
    missing = await silent.http.post(
        f"/v1/notices/{uuid.uuid4()}/acknowledgement", json={"outcome": "corrected"}, headers=PARTNER
    )
    assert (missing.status_code, missing.json()["code"]) == (404, "notice_not_found")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (a_disclosure("email", recipient="unheard-of"), "unknown_third_party"),
        (a_disclosure("password_hash"), "item_not_disclosable"),
        (a_disclosure("phone"), "item_absent"),
        (a_disclosure("email", basis="contract"), "refused_basis"),
        (a_disclosure("email", purpose="P9.9"), "unknown_purpose"),
    ],
)
async def test_a_disclosure_that_may_not_be_is_refused(silent: Service, body: dict[str, object], code: str) -> None:
    ref = (await silent.sign_up())["member_ref"]
    answer = await silent.post(f"/v1/members/{ref}/disclosures", body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, code)
    assert await silent.pool.fetchval("SELECT count(*) FROM disclosure WHERE kind = 'third_party'") == 0


async def test_nothing_new_is_disclosed_while_a_withdrawal_is_pending(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    await silent.post(f"/v1/members/{ref}/withdrawal")
    answer = await silent.post(f"/v1/members/{ref}/disclosures", a_disclosure("email"))
    assert (answer.status_code, answer.json()["code"]) == (409, "member_not_active")
    nobody = await silent.post(f"/v1/members/{uuid.uuid4()}/disclosures", a_disclosure("email"))
    assert nobody.status_code == 404


async def test_only_the_service_records_disclosures(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    mine = bearer(a_token(ref, "member"))
    assert (await silent.http.get(f"/v1/members/{ref}/disclosures", headers=mine)).status_code == 200
    answer = await silent.post(f"/v1/members/{ref}/disclosures", a_disclosure("email"), headers=mine)
    assert answer.status_code == 403
