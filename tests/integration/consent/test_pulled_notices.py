"""Clause 5.7: a notice carries values only where they may go; its own third party pulls the rest, on the record."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from schemas.events import Notice
from schemas.receipts import DisclosureRecord, RegisterEntry
from schemas.topics import NOTICES, RECEIPTS
from services.policy.shapes import Delivery, ThirdParty
from services.propagator.notices.model import body_of
from tests.integration.consent.harness import Service, a_token, bearer

PARTNER = bearer(a_token("demo-partner", "third_party"))
OTHER = bearer(a_token("printer", "third_party"))
OFFICER = bearer(a_token("officer-a", "compliance"))


def new_mail() -> str:
    return f"m{uuid.uuid4().hex[:12]}@example.com"


async def corrected(service: Service, basis: str, mail: str) -> tuple[str, dict[str, Any]]:
    """A member whose e-mail the partner was given on a basis, corrected: the reference and the notice as listed."""
    ref = (await service.sign_up())["member_ref"]
    given = {"recipient": "demo-partner", "items": ["email"], "purpose": "delivery", "basis": basis}
    assert (await service.post(f"/v1/members/{ref}/disclosures", given)).status_code == 201
    change = (await service.patch(ref, 1, {"email": mail})).json()["change_id"]
    listed = (await service.http.get("/v1/notices", headers=PARTNER)).json()["notices"]
    return ref, next(n for n in listed if n["change_id"] == change)


async def pull(service: Service, notice: dict[str, Any], headers: dict[str, str] = PARTNER) -> Any:
    return await service.http.get(f"/v1/notices/{notice['notice_id']}", headers=headers)


async def sent(service: Service, notice: dict[str, Any]) -> dict[str, Any]:
    """Return the `data` of the webhook that is made of what is on the topic."""
    found = [n for n in await service.shapes(NOTICES) if isinstance(n, Notice)]
    (one,) = (n for n in found if n.notice_id == notice["notice_id"])
    return dict(orjson.loads(body_of(one))["data"])


async def items_given(service: Service, ref: str) -> list[tuple[str, list[str], list[str]]]:
    """Return (purpose, items, stale items) of the partner's ledger rows."""
    found = (await service.http.get(f"/v1/members/{ref}/disclosures")).json()["disclosures"]
    return [(d["purpose"], d["items"], d["stale_items"]) for d in found if d["recipient"] == "demo-partner"]


@contextlib.contextmanager
def delivering(service: Service, delivery: Delivery) -> Iterator[None]:
    """The policy's data say how the partner is told."""
    known = service.consent.rules
    party = ThirdParty(id="demo-partner", ko="데모 파트너", en="Demo partner", delivery=delivery)
    object.__setattr__(service.consent, "rules", replace(known, third_parties={"demo-partner": party}))
    try:
        yield
    finally:
        object.__setattr__(service.consent, "rules", known)


async def test_who_was_given_an_item_by_consent_gets_the_value_with_the_notice(service: Service) -> None:
    mail = new_mail()
    ref, notice = await corrected(service, "consent", mail)
    data = await sent(service, notice)
    assert (data["items"], data["values"]) == (["email"], {"email": mail})
    assert not {"withheld", "pull"} & data.keys()
    assert await items_given(service, ref) == [("delivery", ["email"], ["email"]), ("correction", ["email"], [])]
    assert (await pull(service, notice)).json()["values"] == {"email": mail}


async def test_who_was_given_it_otherwise_is_told_only_and_pulls_with_its_own_token(service: Service) -> None:
    first, last = new_mail(), new_mail()
    ref, notice = await corrected(service, "law", first)
    data = await sent(service, notice)
    assert (data["sequence"], data["items"], data["values"], data["withheld"]) == (2, ["email"], {}, ["email"])
    assert data["pull"] == f"/v1/notices/{notice['notice_id']}"
    assert await items_given(service, ref) == [("delivery", ["email"], ["email"]), ("correction", [], [])]
    assert (await service.patch(ref, 2, {"email": last})).status_code == 200
    answer = await service.http.get(data["pull"], headers=PARTNER)
    assert answer.headers["Cache-Control"] == "no-store"
    told = answer.json()
    assert (told["sequence"], told["items"], told["values"], told["withheld"]) == (2, ["email"], {"email": last}, [])
    said = await service.shapes(RECEIPTS)
    (entry,) = (s for s in said if isinstance(s, RegisterEntry))
    assert (entry.kind, entry.state, entry.subject) == ("notice", "pulled", notice["notice_id"])
    assert entry.codes == {"by": "demo-partner", "values": "1"}
    row = [s for s in said if isinstance(s, DisclosureRecord)][-1]
    assert (row.purpose, row.basis, row.items) == ("correction", "5.7-notify", ("email",))
    assert last not in str(said)
    assert (await items_given(service, ref))[-1] == ("correction", ["email"], [])


async def test_what_was_pulled_is_found_by_the_next_correction(silent: Service) -> None:
    ref, notice = await corrected(silent, "law", new_mail())
    await pull(silent, notice)
    path = f"/v1/notices/{notice['notice_id']}/acknowledgement"
    assert (await silent.http.post(path, json={"outcome": "corrected"}, headers=PARTNER)).status_code == 200
    assert [stale for _, _, stale in await items_given(silent, ref)] == [[], [], []]
    change = (await silent.patch(ref, 2, {"email": new_mail()})).json()["change_id"]
    listed = (await silent.http.get("/v1/notices", headers=PARTNER)).json()["notices"]
    assert [n["change_id"] for n in listed] == [notice["change_id"], change]


@pytest.mark.parametrize("delivery", ["values", "notice_only"])
async def test_the_policys_word_on_a_third_party_outweighs_the_basis(service: Service, delivery: Delivery) -> None:
    mail = new_mail()
    with delivering(service, delivery):
        _, notice = await corrected(service, "law" if delivery == "values" else "consent", mail)
    assert (await sent(service, notice))["values"] == ({"email": mail} if delivery == "values" else {})


async def test_nobody_else_pulls_a_value(silent: Service) -> None:
    mail = new_mail()
    ref, notice = await corrected(silent, "law", mail)
    member = bearer(a_token(ref, "member"))
    affiliate = bearer(a_token("tmax-os", "affiliate"))
    for headers, status in ((OTHER, 404), (member, 403), (affiliate, 403), (OFFICER, 200), ({}, 200)):
        answer = await pull(silent, notice, headers)
        assert answer.status_code == status, answer.text
        assert mail not in answer.text
        assert "values" not in answer.json()
    for unknown in (str(uuid.uuid4()), "no-uuid"):
        assert (await pull(silent, {"notice_id": unknown})).json()["code"] == "notice_not_found"
    pulled = "SELECT count(*) FROM outbox WHERE type = 'kr.dongui.register.v1'"
    assert await silent.pool.fetchval(pulled) == 0


async def test_what_it_says_it_does_not_hold_or_is_suspended_is_withheld(silent: Service) -> None:
    ref, notice = await corrected(silent, "consent", new_mail())
    for suspended in (["email"], []):
        await silent.pool.execute("UPDATE member SET suspended = $2 WHERE member_ref = $1", ref, suspended)
        told = (await pull(silent, notice)).json()
        assert (bool(told["values"]), told["withheld"]) == (not suspended, suspended)
    _, other = await corrected(silent, "law", new_mail())
    path = f"/v1/notices/{other['notice_id']}/acknowledgement"
    await silent.http.post(path, json={"outcome": "not_held"}, headers=PARTNER)
    told = (await pull(silent, other)).json()
    assert (told["values"], told["withheld"]) == ({}, ["email"])


async def test_a_request_to_leave_does_not_lift_a_suspension(service: Service) -> None:
    ref, _ = await corrected(service, "consent", new_mail())
    state = "UPDATE member SET status = 'withdrawal_requested', status_before = 'suspended' WHERE member_ref = $1"
    await service.pool.execute(state, ref)
    assert (await service.patch(ref, 2, {"email": new_mail()})).status_code == 200
    notice = (await service.http.get("/v1/notices", headers=PARTNER)).json()["notices"][-1]
    assert (await sent(service, notice))["withheld"] == ["email"]
    told = (await pull(service, notice)).json()
    assert (told["values"], told["withheld"]) == ({}, ["email"])


async def test_nothing_is_pulled_after_the_member_has_left(silent: Service) -> None:
    ref, notice = await corrected(silent, "law", new_mail())
    for step in ("", "/confirm"):
        assert (await silent.post(f"/v1/members/{ref}/withdrawal{step}")).status_code in {200, 202}
    answer = await pull(silent, notice)
    assert (answer.status_code, answer.json()["code"]) == (410, "member_left")
    assert ref not in answer.text
