"""Lists that staff look at, from either end: what came last is on the first page, however much there is."""

from typing import Any

import pytest

from services.consent.corrections import register
from services.consent.messages import handlers as messages
from services.consent.rights import store as rights
from tests.integration.consent.harness import Service, a_token, bearer

STAFF = bearer(a_token("kim", "compliance"))
PARTNER = bearer(a_token("demo-partner", "third_party"))


async def page(service: Service, path: str, **params: Any) -> dict[str, Any]:
    answer = await service.http.get(path, params=params, headers=STAFF)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def requests(service: Service, ref: str) -> list[str]:
    """Three requests: one taken back, one just come, one refused and not yet told."""
    made = []
    for asked in ({"type": "access"}, {"type": "correction", "changes": {"name": "이"}}, {"type": "suspension"}):
        answer = await service.post("/v1/rights-requests", {"member_ref": ref, "channel": "fax", **asked})
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["id"])
    await service.post(f"/v1/rights-requests/{made[0]}/withdraw")
    refusal = {"outcome": "refused", "ground": "not_verified"}
    answer = await service.post(f"/v1/rights-requests/{made[2]}/decide", refusal)
    assert answer.json()["state"] == "decided", answer.text
    return made


async def test_requests_are_listed_from_either_end_and_open_ones_alone(
    silent: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights, "PAGE", 2)
    taken_back, come, refused = await requests(silent, (await silent.sign_up())["member_ref"])
    first = await page(silent, "/v1/rights-requests", order="newest")
    assert [r["id"] for r in first["requests"]] == [refused, come]
    second = await page(silent, "/v1/rights-requests", order="newest", cursor=first["next"])
    assert ([r["id"] for r in second["requests"]], second["next"]) == ([taken_back], None)
    still = await page(silent, "/v1/rights-requests", state="open")
    assert [(r["id"], r["state"]) for r in still["requests"]] == [(come, "received"), (refused, "decided")]
    oldest = await page(silent, "/v1/rights-requests")
    assert [r["id"] for r in oldest["requests"]] == [taken_back, come]


async def test_notices_are_listed_from_either_end_with_the_number_of_those_without_an_answer(
    silent: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register, "PAGE", 2)
    ref = (await silent.sign_up())["member_ref"]
    disclosure = {"recipient": "demo-partner", "items": ["email"], "purpose": "delivery", "basis": "consent"}
    await silent.post(f"/v1/members/{ref}/disclosures", disclosure)
    for seq in (1, 2, 3):
        await silent.patch(ref, seq, {"email": f"n{seq}@example.com"})
    first = await page(silent, "/v1/notices", order="newest")
    assert ([n["seq"] for n in first["notices"]], first["unanswered"]) == ([4, 3], 3)
    second = await page(silent, "/v1/notices", order="newest", after=first["next"])
    assert ([n["seq"] for n in second["notices"]], second["unanswered"]) == ([2], 3)
    path = f"/v1/notices/{first['notices'][1]['notice_id']}/acknowledgement"
    assert (await silent.http.post(path, json={"outcome": "corrected"}, headers=PARTNER)).status_code == 200
    waiting = await page(silent, "/v1/notices", unanswered="true")
    assert ([n["seq"] for n in waiting["notices"]], waiting["unanswered"]) == ([2, 4], 2)
    assert [n["seq"] for n in (await page(silent, "/v1/notices"))["notices"]] == [2, 3]


@pytest.mark.parametrize("params", [{"order": "newest"}, {"unanswered": "true"}])
async def test_a_recipients_own_list_has_one_order(silent: Service, params: dict[str, str]) -> None:
    answer = await silent.http.get("/v1/notices", params=params, headers=PARTNER)
    assert (answer.status_code, answer.json()["code"]) == (422, "whole_list_only")


async def test_messages_are_listed_from_either_end(silent: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "PAGE", 2)
    ref, advertisement = (await silent.sign_up())["member_ref"], {"sender": "tmax-os", "title": "t", "text": "t"}
    sent = [await silent.post(f"/v1/members/{ref}/messages", advertisement) for _ in range(3)]
    made = [answer.json()["message_id"] for answer in sent]
    first = await page(silent, "/v1/messages", order="newest", member_ref=ref)
    assert [m["message_id"] for m in first["messages"]] == [made[2], made[1]]
    second = await page(silent, "/v1/messages", order="newest", member_ref=ref, cursor=first["next"])
    assert ([m["message_id"] for m in second["messages"]], second["next"]) == ([made[0]], None)
    assert (await silent.http.get("/v1/messages", params={"order": "up"}, headers=STAFF)).status_code == 422
