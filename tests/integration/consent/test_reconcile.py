"""A store held against the ledger: right after any history, and every way to tamper with it is found and repaired."""

import asyncio
import random
import uuid
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest

from services.devstack.provision import AFFILIATES
from services.propagator.reconcile import loop
from tests.integration.consent.harness import Service, a_token, bearer
from tests.integration.consent.sides import Side
from tests.integration.consent.test_rights import PATH, VERIFIED, ask, asked, step

HOST = {"service": "hypermeeting", "role": "host", "department": "개발", "title": "팀장", "phone": "010-1234-5678"}


async def lives(service: Service, seed: int, commands: int) -> list[str]:
    """Let a few members live at random; return their references."""
    chance, members, asked_for = random.Random(seed), {}, set[str]()
    for _ in range(commands):
        if len(members) < 3 or chance.random() < 0.2:
            sharing = {a: True for a in ("tmax-os", "tmax-anc") if chance.random() < 0.6}
            profiles = [HOST] if chance.random() < 0.5 else []
            consents = {"collection": True, "sharing": sharing, "marketing": {"use": chance.random() < 0.5}}
            made = await service.sign_up(consents=consents, profiles=profiles)
            members[made["member_ref"]] = made["seq"]
            continue
        ref = chance.choice(sorted(members))
        if chance.random() < 0.3:
            await suspension(service, ref, chance, asked_for)
            members[ref] = (await service.http.get(f"/v1/members/{ref}")).json()["seq"]
            continue
        answer = await one_change(service, ref, members[ref], chance)
        if answer.is_success:
            members[ref] = answer.json()["seq"]
    return sorted(members)


async def suspension(service: Service, ref: str, chance: random.Random, asked_for: set[str]) -> None:
    """Have processing suspended, whole or in part, or one such request of anybody released."""
    if asked_for and chance.random() < 0.5:
        request_id = chance.choice(sorted(asked_for))
        asked_for.remove(request_id)
        await service.post(f"{PATH}/{request_id}/release", VERIFIED)
        return
    named = {"items": ["name"], "purposes": ["P1.5"]} if chance.random() < 0.7 else {}
    if named and chance.random() < 0.5:
        named = {"items": ["hypermeeting.phone", "email"]}
    answer = await ask(service, ref, "suspension", **named)
    if answer.is_success:
        request_id = answer.json()["id"]
        for verb, body in (("verify", VERIFIED), ("decide", {"outcome": "granted"})):
            await service.post(f"{PATH}/{request_id}/{verb}", body)
        asked_for.add(request_id)


async def one_change(service: Service, ref: str, seq: int, chance: random.Random) -> httpx.Response:
    kind = chance.choice(["name", "email", "share", "unshare", "market", "unmarket", "request", "cancel", "confirm"])
    if kind in {"name", "email"}:
        value = f"이름 {chance.random()}" if kind == "name" else f"m{uuid.uuid4().hex[:10]}@example.com"
        return await service.patch(ref, seq, {kind: value})
    if kind in {"share", "unshare"}:
        body: dict[str, Any] = {"granted": kind == "share", "recipients": [chance.choice(["tmax-os", "tmax-anc"])]}
        return await service.put(ref, seq, "sharing", body)
    if kind in {"market", "unmarket"}:
        body = {"granted": kind == "market", "senders": [chance.choice(AFFILIATES)], "channel": "use"}
        return await service.put(ref, seq, "marketing", body)
    path = {"request": "withdrawal", "cancel": "withdrawal/cancel", "confirm": "withdrawal/confirm"}[kind]
    return await service.post(f"/v1/members/{ref}/{path}")


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_store_fed_in_full_is_what_the_ledger_says(silent: Service, sides: dict[str, Side], seed: int) -> None:
    await lives(silent, seed, 60)
    for side in sides.values():
        await side.feed()
        found = await side.cycle()
        assert (found.drifts, found.in_flight, found.ranges_differed) == ([], 0, 0)
        assert found.members == await side.owner.fetchval(
            "SELECT count(*) FROM (SELECT member_ref FROM member UNION SELECT member_ref FROM processed_member) t"
        )


async def test_a_changed_a_deleted_and_an_inserted_row_are_found_in_one_cycle_and_repaired(
    silent: Service, sides: dict[str, Side]
) -> None:
    refs = [(await silent.sign_up(profiles=[HOST]))["member_ref"] for _ in range(3)]
    side, stranger = sides["tmax-os"], str(uuid.uuid4())
    await side.feed()
    before = await side.rows()
    await side.owner.execute("UPDATE member SET email = 'x@example.com', seq = 99 WHERE member_ref = $1", refs[0])
    await side.owner.execute("DELETE FROM member WHERE member_ref = $1", refs[1])
    await side.owner.execute("UPDATE processed_member SET items = '{}' WHERE member_ref = $1", refs[2])
    await side.owner.execute(
        "INSERT INTO member (member_ref, seq, email, applied_at) VALUES ($1, 1, 'y@example.com', now())", stranger
    )
    found = await side.cycle()
    assert {d.member_ref: (d.why, d.rows) for d in found.drifts} == {
        refs[0]: ("row_changed", {"member": ("seq", "email")}),
        refs[1]: ("row_deleted", {"member": ("(row)",)}),
        refs[2]: ("row_changed", {"processed_member": ("items",)}),
        stranger: ("row_inserted", {"member": ("(row)",)}),
    }
    assert found.repaired == 0
    repaired = await side.cycle(repair=True)
    assert repaired.repaired == 4
    assert await side.rows() == before
    assert (await side.cycle()).drifts == []
    entry = await side.owner.fetchval("SELECT payload FROM outbox WHERE type = 'kr.dongui.register.v1'")
    assert orjson.loads(entry)["codes"] == {"affiliate": "tmax-os", "repaired": "4", "drift": "4"}


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_deletion_is_found_wherever_in_a_range_it_is(
    silent: Service, sides: dict[str, Side], place: int
) -> None:
    refs = sorted([(await silent.sign_up())["member_ref"] for _ in range(3)])
    side = sides["tmax-os"]
    await side.feed()
    await side.owner.execute("DELETE FROM member WHERE member_ref = $1", refs[place])
    assert [(d.member_ref, d.why) for d in (await side.cycle()).drifts] == [(refs[place], "row_deleted")]


async def test_a_suspension_in_part_is_no_drift_is_made_again_as_such_and_neither_is_its_release(
    silent: Service, sides: dict[str, Side]
) -> None:
    consents = {"collection": True, "sharing": True, "marketing": {"use": True}}
    ref = (await silent.sign_up(profiles=[HOST], consents=consents))["member_ref"]
    side, read = sides["tmax-os"], "SELECT name, marketing, suspended FROM member"
    request_id = await asked(silent, ref, "suspension", items=["name", "hypermeeting.phone"], purposes=["P1.5"])
    for each in sides.values():
        await each.feed()
        assert (await each.cycle()).ranges_differed == 0
    before, parts = await side.rows(), ["P1.5", "hypermeeting.phone", "name"]
    assert tuple(await side.owner.fetchrow(read)) == (None, None, parts)
    hidden = 'items = items || \'{"phone": "010-1234-5678"}\', suspended = NULL'
    await side.owner.execute("UPDATE member SET name = '되살린 이름', suspended = NULL")
    await side.owner.execute(f"UPDATE processed_member SET {hidden}")
    (found,) = (await side.cycle()).drifts
    assert (found.member_ref, found.why, found.rows) == (
        ref,
        "row_changed",
        {"member": ("name", "suspended"), "processed_member": ("items", "suspended")},
    )
    assert (await side.cycle(repair=True)).repaired == 1
    assert await side.rows() == before
    await side.owner.execute("DELETE FROM member")
    assert (await side.cycle(repair=True)).repaired == 1
    assert await side.rows() == before
    await step(silent, request_id, "withdraw")
    for each in sides.values():
        await each.feed()
        assert (await each.cycle()).ranges_differed == 0
    assert (await side.owner.fetchval("SELECT items FROM processed_member"))["phone"] == HOST["phone"]
    assert (await side.owner.fetchrow(read))["suspended"] is None


async def test_a_part_released_under_a_whole_suspension_and_a_request_to_leave_is_no_drift(
    silent: Service, sides: dict[str, Side]
) -> None:
    """The suspension stays in every store: a request to leave does not lift it, and no part is given back under it."""
    ref = (await silent.sign_up(profiles=[HOST]))["member_ref"]
    part = await asked(silent, ref, "suspension", items=["name"])
    await step(silent, part, "decide", {"outcome": "granted"})
    whole = await asked(silent, ref, "suspension")
    assert (await silent.post(f"/v1/members/{ref}/withdrawal")).status_code == 202
    assert (await step(silent, part, "release", VERIFIED))["state"] == "released"
    assert (await silent.http.get(f"/v1/members/{ref}")).json()["suspended"] == ["name"]
    for side in sides.values():
        await side.feed()
        assert (await side.cycle()).ranges_differed == 0
    read = "SELECT m.status, m.name, p.status AS stands, p.items ? 'name' AS named FROM member m, processed_member p"
    assert tuple(await sides["tmax-os"].owner.fetchrow(read)) == ("suspended", None, "suspended", False)
    await step(silent, whole, "withdraw")
    for side in sides.values():
        await side.feed()
        assert (await side.cycle()).ranges_differed == 0
    assert tuple(await sides["tmax-os"].owner.fetchrow(read)) == (
        *("withdrawal_requested", "홍길동"),
        *("withdrawal_requested", True),
    )


async def test_a_suspension_stands_in_a_store_that_only_processes_and_is_made_again_there(
    silent: Service, sides: dict[str, Side]
) -> None:
    ref = (await silent.sign_up(profiles=[HOST], consents={"collection": True, "sharing": {}}))["member_ref"]
    side, read = sides["tmax-os"], "SELECT seq, status, items ->> 'name' AS name FROM processed_member"
    await asked(silent, ref, "suspension")
    await side.feed()
    assert tuple(await side.owner.fetchrow(read)) == (2, "suspended", "홍길동")
    assert (await side.cycle()).ranges_differed == 0
    assert (await silent.patch(ref, 2, {"name": "새 이름"})).status_code == 200
    await side.feed()
    assert tuple(await side.owner.fetchrow(read)) == (3, "suspended", "새 이름")
    assert (await side.cycle()).ranges_differed == 0
    await side.owner.execute("UPDATE processed_member SET status = NULL")
    (found,) = (await side.cycle(repair=True)).drifts
    assert (found.member_ref, found.why, found.rows) == (ref, "row_changed", {"processed_member": ("status",)})
    assert tuple(await side.owner.fetchrow(read)) == (3, "suspended", "새 이름")


async def test_the_ledgers_last_member_is_found_when_its_row_is_gone(silent: Service, sides: dict[str, Side]) -> None:
    ref, side = (await silent.sign_up())["member_ref"], sides["tmax-os"]
    await side.feed()
    await side.owner.execute("DELETE FROM member")
    assert [(d.member_ref, d.why) for d in (await side.cycle()).drifts] == [(ref, "row_deleted")]


@pytest.mark.f(19)
async def test_a_lost_record_is_a_gap_that_reconcile_closes_and_answers(
    silent: Service, sides: dict[str, Side]
) -> None:
    made = await silent.sign_up()
    ref, side = made["member_ref"], sides["tmax-os"]
    lost = (await silent.patch(ref, 1, {"name": "잃은 이름"})).json()["change_id"]
    last = (await silent.patch(ref, 2, {"name": "마지막 이름"})).json()["change_id"]
    await side.feed(skip=lambda place: place == 1)
    assert await side.owner.fetchval("SELECT count(*) FROM gap") == 1
    assert [d.why for d in (await side.cycle()).drifts] == ["gap"]
    await side.cycle(repair=True)
    assert await side.owner.fetchval("SELECT count(*) FROM gap") == 0
    rows = await side.owner.fetch(
        "SELECT payload FROM outbox WHERE aggregatetype = 'dongui.receipts.v1' ORDER BY position"
    )
    told = [orjson.loads(r["payload"]) for r in rows]
    answers = {r["change_id"]: r["stage"] for r in told if "change_id" in r}
    assert answers == {made["change_id"]: "applied", lost: "superseded", last: "applied"}


async def test_a_change_on_its_way_is_no_drift_and_one_that_never_comes_is(
    silent: Service, sides: dict[str, Side]
) -> None:
    ref = (await silent.sign_up())["member_ref"]
    side = sides["tmax-os"]
    await side.feed()
    change = (await silent.put(ref, 1, "sharing", {"granted": False, "recipients": ["tmax-os"]})).json()["change_id"]
    young = await side.cycle(grace=timedelta(minutes=5))
    assert (young.drifts, young.in_flight) == ([], 1)
    old = await side.cycle(repair=True)
    assert [(d.why, d.store_seq, d.ledger_seq) for d in old.drifts] == [("not_applied", 1, 2)]
    assert await side.owner.fetchval("SELECT count(*) FROM member") == 0
    rows = await side.owner.fetch("SELECT payload FROM outbox WHERE type = 'kr.dongui.receipt.v1' ORDER BY position")
    assert (orjson.loads(rows[-1]["payload"])["change_id"], orjson.loads(rows[-1]["payload"])["stage"]) == (
        change,
        "applied",
    )
    await side.feed()
    assert (await side.cycle()).drifts == []


async def test_a_suppressed_member_is_not_brought_back(silent: Service, sides: dict[str, Side]) -> None:
    ref = (await silent.sign_up())["member_ref"]
    side = sides["tmax-os"]
    await side.feed()
    await side.owner.execute("INSERT INTO suppressed VALUES ($1, now())", ref)
    await side.owner.execute("DELETE FROM member WHERE member_ref = $1", ref)
    await side.cycle(repair=True)
    assert await side.owner.fetchval("SELECT count(*) FROM member") == 0


@pytest.mark.f(30)
async def test_an_affiliate_sees_no_other_affiliates_ledger(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    other, salt = bearer(a_token("tmax-anc", "affiliate")), "0" * 16
    for path in (f"digests?salt={salt}", "holdings", "unanswered"):
        answer = await silent.http.get(f"/v1/affiliates/tmax-os/{path}", headers=other)
        assert answer.status_code == 403
    answer = await silent.http.post("/v1/affiliates/tmax-os/holdings", json={"members": [ref]}, headers=other)
    assert answer.status_code == 403


async def test_the_loop_finds_and_repairs_within_one_cycle_and_leaves_strangers_to_a_person(
    silent: Service, sides: dict[str, Side]
) -> None:
    ref, stranger, side = (await silent.sign_up())["member_ref"], str(uuid.uuid4()), sides["tmax-os"]
    await side.feed()
    await side.owner.execute("DELETE FROM member WHERE member_ref = $1", ref)
    await side.owner.execute("INSERT INTO member (member_ref, seq, applied_at) VALUES ($1, 1, now())", stranger)
    settings = silent.settings.model_copy(
        update={"consent_url": silent.url, "reconcile_interval_s": 0.2, "reconcile_grace_s": 0.0}
    )
    stop = asyncio.Event()
    running = asyncio.create_task(loop.run(settings, side.propagator, a_token("tmax-os", "affiliate"), stop))
    try:
        async with asyncio.timeout(60):
            while not await side.owner.fetchval("SELECT count(*) FROM member WHERE member_ref = $1", ref):
                await asyncio.sleep(0.1)
    finally:
        stop.set()
        await running
    assert await side.owner.fetchval("SELECT count(*) FROM member WHERE member_ref = $1", stranger) == 1
