"""Grants in part: of each type the rest is refused with its ground, and the effect is the part's alone, in every store.

And the answer: made at the decision, the same at every later reading, gone with the member's key.
"""

import uuid
from typing import Any

from schemas.events import Projection, Stop
from schemas.topics import NOTICES
from tests.integration.consent.harness import Service, a_token, bearer
from tests.integration.consent.test_rights import (
    HOST,
    PATH,
    VERIFIED,
    WAPL,
    ask,
    asked,
    facts,
    status_of,
    step,
)

MARKETING = {"collection": True, "sharing": True, "marketing": {"use": True, "email": True}}


async def decision(service: Service, ref: str, recipient: str, **question: str) -> tuple[bool, str]:
    params = {"member_ref": ref, "recipient": recipient, "purpose": "P1.1"} | question
    found = (await service.http.get("/v1/decisions", params=params)).json()
    return found["allowed"], found["rule"]


async def test_a_suspension_of_items_and_purposes_stops_these_in_every_store_and_nothing_else(service: Service) -> None:
    ref = (await service.sign_up(profiles=[WAPL, HOST], consents=MARKETING))["member_ref"]
    before = service.consent.clock().isoformat()
    request_id = await asked(service, ref, "suspension", items=["wapl.title"], purposes=["P1.5"])
    assert await status_of(service, ref) == "active"
    fact = (await facts(service))[-1]
    assert (fact.change, fact.note, fact.suspended) == ("suspended", "in_part", ("P1.5", "wapl.title"))
    for affiliate, parts in {
        "tmax-cloud": ("P1.5",),
        "tmax-os": ("P1.5",),
        "tmax-anc": ("P1.5", "wapl.title"),
    }.items():
        stop = (await service.sent_to(affiliate))[-1]
        assert isinstance(stop, Stop)
        assert (stop.stop, stop.suspended) == ("suspended", parts), affiliate
    assert await decision(service, ref, "tmax-anc", item="wapl.title") == (False, "5.1-suspend-part")
    assert await decision(service, ref, "tmax-anc", item="title") == (False, "5.1-suspend-part")
    assert await decision(service, ref, "tmax-anc", item="title", at=before) == (True, "4.3-process")
    assert await decision(service, ref, "tmax-os", item="title") == (True, "4.3-process")
    mail = {"purpose": "marketing", "channel": "email"}
    assert await decision(service, ref, "tmax-os", **mail) == (False, "5.1-suspend-part")
    given = {"recipient": "demo-partner", "items": ["wapl.title"], "purpose": "P1.1", "basis": "consent"}
    refused = await service.post(f"/v1/members/{ref}/disclosures", given)
    assert (refused.status_code, refused.json()["suspended"]) == (409, ["wapl.title"])
    name = await service.patch(ref, 2, {"name": "새 이름"})
    assert name.status_code == 200
    told = (await service.sent_to("tmax-anc"))[-1]
    assert isinstance(told, Projection)
    assert told.member is not None
    assert told.processed is not None
    assert (told.member.name, told.processed.items.keys(), told.suspended, told.marketing) == (
        "새 이름",
        {"email", "name", "office_phone"},
        ("P1.5", "wapl.title"),
        None,
    )
    await step(service, request_id, "decide", {"outcome": "granted"})
    await step(service, request_id, "release", VERIFIED)
    back = (await service.sent_to("tmax-anc"))[-1]
    assert isinstance(back, Projection)
    assert back.processed is not None
    assert back.marketing is not None
    assert (back.processed.items["title"], back.suspended, back.marketing.email) == ("책임", (), True)
    assert await decision(service, ref, "tmax-os", **mail) == (True, "1.5-send")
    ledger = (await service.http.get(f"/v1/members/{ref}/disclosures")).json()["disclosures"]
    again = [row for row in ledger if row["items"] == ["title"]]
    assert [(row["recipient"], row["role"]) for row in again] == [("tmax-anc", "processor")]


async def test_of_a_whole_suspension_a_part_is_granted_and_the_rest_refused_with_its_ground(service: Service) -> None:
    ref = (await service.sign_up(profiles=[WAPL]))["member_ref"]
    request_id = await asked(service, ref, "suspension")
    assert await status_of(service, ref) == "suspended"
    part = {"outcome": "partial", "items": ["title"], "purposes": ["P1.3"]}
    assert (await step(service, request_id, "decide", part, 422))["code"] == "ground_required"
    done = await step(service, request_id, "decide", part | {"ground": "contract"})
    assert (done["outcome"], done["granted_items"], done["granted_purposes"]) == ("partial", ["wapl.title"], ["P1.3"])
    assert done["ground"]["statute"] == "37조 2항 4호"
    assert "이의" in done["objection"]["ko"]
    assert await status_of(service, ref) == "active"
    back = (await service.sent_to("tmax-anc"))[-1]
    assert isinstance(back, Projection)
    assert back.processed is not None
    assert (back.suspended, "title" in back.processed.items) == (("P1.3", "wapl.title"), False)
    answer = (await service.http.get(f"{PATH}/{request_id}/answer")).json()
    withheld = {i["item"] for i in answer["withheld_items"]}
    assert {"email", "P1.1", "wapl.office_phone"} <= withheld
    assert not withheld & {"P1.3", "wapl.title", "wapl.role"}
    await step(service, request_id, "release", VERIFIED)
    assert (await decision(service, ref, "tmax-anc", item="title"))[0] is True


async def test_two_suspensions_in_part_stand_beside_each_other_and_end_one_by_one(silent: Service) -> None:
    ref = (await silent.sign_up(profiles=[WAPL]))["member_ref"]
    first = await asked(silent, ref, "suspension", items=["name", "wapl.title"])
    narrowed = {"outcome": "partial", "items": ["title"], "ground": "law"}
    await step(silent, first, "decide", narrowed)
    second = await asked(silent, ref, "suspension", items=["title"], purposes=["P1.4"])
    await step(silent, second, "decide", {"outcome": "granted"})
    read = "SELECT suspended FROM member WHERE member_ref = $1"
    assert sorted(await silent.pool.fetchval(read, ref)) == ["P1.4", "wapl.title"]
    await step(silent, first, "release", VERIFIED)
    assert (await silent.http.get(f"/v1/members/{ref}")).json()["suspended"] == ["P1.4", "wapl.title"]
    await step(silent, second, "release", VERIFIED)
    assert await silent.pool.fetchval(read, ref) == []
    third = await asked(silent, ref, "suspension", purposes=["P1.4"])
    await step(silent, third, "withdraw")
    assert await silent.pool.fetchval(read, ref) == []


async def test_a_part_released_under_a_whole_suspension_is_given_back_with_the_whole_and_not_before(
    service: Service,
) -> None:
    """37(2): while everything is suspended nothing is given to anybody, and the ledger says when it was."""
    ref = (await service.sign_up(profiles=[WAPL], consents={"collection": True, "sharing": {}}))["member_ref"]
    part = await asked(service, ref, "suspension", items=["wapl.title"])
    await step(service, part, "decide", {"outcome": "granted"})
    whole = await asked(service, ref, "suspension")
    done = await step(service, part, "release", VERIFIED)
    assert (done["state"], await status_of(service, ref)) == ("released", "suspended")
    assert (await facts(service))[-1].change == "suspended"
    stop = (await service.sent_to("tmax-anc"))[-1]
    assert isinstance(stop, Stop)
    assert (stop.stop, stop.seq, stop.roles) == ("suspended", 3, ("processor",))
    assert await times_given(service, ref, "tmax-anc", "title") == 1
    assert (await service.patch(ref, 3, {"name": "새 이름"})).status_code == 200
    told = (await service.sent_to("tmax-anc"))[-1]
    assert isinstance(told, Projection)
    assert told.processed is not None
    assert (told.processed.status, told.suspended) == ("suspended", ("wapl.title",))
    assert (told.processed.items.keys(), told.processed.items["name"]) == ({"email", "name", "office_phone"}, "새 이름")
    await step(service, whole, "withdraw")
    back = (await service.sent_to("tmax-anc"))[-1]
    assert isinstance(back, Projection)
    assert back.processed is not None
    assert (back.processed.status, back.suspended, back.processed.items["title"]) == (None, (), "책임")
    assert await times_given(service, ref, "tmax-anc", "title") == 2


async def times_given(service: Service, ref: str, recipient: str, item: str) -> int:
    ledger = (await service.http.get(f"/v1/members/{ref}/disclosures")).json()["disclosures"]
    return sum(row["recipient"] == recipient and item in row["items"] for row in ledger)


async def test_the_new_value_of_a_suspended_account_item_is_given_to_nobody_before_its_release(
    service: Service,
) -> None:
    """37(2): what is suspended is neither used nor shared, and a correction shares it no less."""
    made = await service.sign_up(profiles=[WAPL], consents={"collection": True, "sharing": {"tmax-os": True}})
    ref, mail = made["member_ref"], f"new-{uuid.uuid4().hex[:8]}@example.com"
    request_id = await asked(service, ref, "suspension", items=["email"])
    await step(service, request_id, "decide", {"outcome": "granted"})
    assert (await service.patch(ref, 2, {"email": mail, "name": "새 이름"})).status_code == 200
    for affiliate in ("tmax-cloud", "tmax-os"):
        state = (await service.sent_to(affiliate))[-1]
        assert isinstance(state, Projection), affiliate
        assert state.member is not None
        assert (state.member.email, state.member.name, state.suspended) == (None, "새 이름", ("email",))
        assert await times_given(service, ref, affiliate, "email") == 1, "at the sign-up"
        assert await times_given(service, ref, affiliate, "name") == 2
    await step(service, request_id, "release", VERIFIED)
    for affiliate in ("tmax-cloud", "tmax-os"):
        back = (await service.sent_to(affiliate))[-1]
        assert isinstance(back, Projection), affiliate
        assert back.member is not None
        assert (back.member.email, back.suspended) == (mail, ())
        assert await times_given(service, ref, affiliate, "email") == 2


async def test_what_cannot_be_suspended_is_refused_by_its_name(silent: Service) -> None:
    ref = (await silent.sign_up(profiles=[WAPL]))["member_ref"]
    for fields, code in (
        ({"items": ["wapl.role"]}, "item_not_suspendable"),
        ({"items": ["wapl.photo"]}, "item_absent"),
        ({"purposes": ["P1.9"]}, "unknown_purpose"),
    ):
        answer = await ask(silent, ref, "suspension", **fields)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert answer.json()["errors"][0]["pointer"] in {"/items/0", "/purposes/0"}
    wrong = await ask(silent, ref, "access", purposes=["P1.4"])
    assert (wrong.status_code, wrong.json()["code"]) == (422, "field_not_for_type")


async def test_a_correction_in_part_changes_and_tells_only_what_was_granted(service: Service) -> None:
    made = await service.sign_up(profiles=[HOST])
    ref, mail = made["member_ref"], f"new-{uuid.uuid4().hex[:8]}@example.com"
    given = {
        "recipient": "demo-partner",
        "items": ["email", "hypermeeting.title"],
        "purpose": "P1.1",
        "basis": "consent",
    }
    assert (await service.post(f"/v1/members/{ref}/disclosures", given)).status_code == 201
    changes = {
        "email": mail,
        "name": "가짜",
        "profiles": [{"service": "hypermeeting", "title": "이사", "phone": "02-1"}],
    }
    request_id = await asked(service, ref, "correction", changes=changes)
    part = {"outcome": "partial", "items": ["email", "phone"]}
    wrong = await step(service, request_id, "decide", part | {"ground": "law"}, 422)
    assert (wrong["code"], wrong["errors"][0]["known"]) == ("ground_not_offered", ["not_substantiated"])
    done = await step(service, request_id, "decide", part | {"ground": "not_substantiated"})
    assert (done["granted_items"], done["ground"]["statute"]) == (
        ["email", "hypermeeting.phone"],
        "36조 2항·5항, 시행령 43조 3항",
    )
    assert (await facts(service))[-1].items == ("email", "hypermeeting.phone")
    told = (await service.sent_to("tmax-os"))[-1]
    assert isinstance(told, Projection)
    assert told.member is not None
    assert told.processed is not None
    assert (told.member.email, told.member.name) == (mail, "홍길동")
    assert (told.processed.items["phone"], told.processed.items["title"]) == ("02-1", HOST["title"])
    (notice,) = await service.shapes(NOTICES)
    assert getattr(notice, "values", None) == {"email": mail}
    answer = (await service.http.get(f"{PATH}/{request_id}/answer")).json()
    assert [i["item"] for i in answer["withheld_items"]] == ["hypermeeting.title", "name"]


async def test_an_answer_stays_as_it_was_at_the_decision_and_ends_with_the_key(silent: Service) -> None:
    made = await silent.sign_up(profiles=[HOST])
    ref, me = made["member_ref"], bearer(a_token(made["member_ref"], "member"))
    mail = (await silent.http.get(f"/v1/members/{ref}")).json()["email"]
    request_id = await asked(silent, ref, "access")
    await step(silent, request_id, "decide", {"outcome": "granted"})
    path, page = f"{PATH}/{request_id}/answer", {"Accept": "text/html"}
    first = [await silent.http.get(path, headers=me), await silent.http.get(path, headers=me | page)]
    sealed = await silent.pool.fetchval("SELECT sealed FROM rights_answer WHERE request_id = $1", request_id)
    assert mail.encode() not in sealed
    assert (await silent.patch(ref, 1, {"name": "나중 이름", "email": f"x{mail}"})).status_code == 200
    assert (await silent.put(ref, 2, "sharing", {"granted": False})).status_code == 200
    later = [await silent.http.get(path, headers=me), await silent.http.get(path, headers=me | page)]
    assert [a.content for a in later] == [a.content for a in first]
    assert mail in later[0].text
    assert mail in later[1].text
    assert later[0].json()["as_of"] == later[0].json()["decided_at"]
    assert "@page{size:A4" in later[1].text
    correction = await asked(silent, ref, "correction", changes={"name": "더 나중"})
    await step(silent, correction, "decide", {"outcome": "granted"})
    await silent.consent.keyring.shred(ref)
    gone = await silent.http.get(path, headers=me)
    assert (gone.status_code, gone.json()["code"]) == (410, "destroyed")
    result: Any = (await silent.http.get(f"{PATH}/{correction}/answer")).json()
    assert (result["outcome"], "blocks" in result) == ("granted", False), "a result without values stays"
