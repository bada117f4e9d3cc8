"""An answer that never came is told again by a cycle, once; and never for what the store did not do."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.propagator.replay import executor
from services.runtime.clock import utc_now
from tests.integration.consent.harness import Service, a_token, bearer
from tests.integration.consent.sides import Side

TOLD = "SELECT count(*) FROM outbox WHERE aggregatetype = 'dongui.receipts.v1' AND type = 'kr.dongui.receipt.v1'"
REVOKED = {"granted": False, "recipients": ["tmax-os"]}


@pytest.fixture
def side(sides: dict[str, Side]) -> Side:
    """A store whose clock stands: a day ends when the test says so."""
    at = utc_now() + timedelta(minutes=5)
    found = sides["tmax-os"]
    found.propagator = replace(found.propagator, clock=lambda: at)
    return found


async def answered(side: Side, *, repair: bool = True, days: int = 0) -> int:
    """Run a cycle, so many days later; return how many answers it told again."""
    at = side.propagator.clock() + timedelta(days=days)
    side.propagator = replace(side.propagator, clock=lambda: at)
    before = await side.owner.fetchval(TOLD)
    found = await side.cycle(repair=repair)
    assert found.drifts == []
    assert await side.owner.fetchval(TOLD) == before + found.answered
    return found.answered


async def stage(service: Service, change_id: str) -> str:
    recipients = (await service.http.get(f"/v1/changes/{change_id}")).json()["recipients"]
    return next(str(r["stage"]) for r in recipients if r["id"] == "tmax-os")


@pytest.mark.parametrize("kind", ["correction", "revocation"])
async def test_what_was_refused_and_then_replayed_without_an_answer_is_answered_by_the_next_cycle(
    silent: Service, side: Side, kind: str
) -> None:
    ref = (await silent.sign_up())["member_ref"]
    await side.feed()
    await side.heard()
    renamed = kind == "correction"
    made = silent.patch(ref, 1, {"name": "새 이름"}) if renamed else silent.put(ref, 1, "sharing", REVOKED)
    change = (await made).json()["change_id"]
    (record,) = await side.sent()
    await side.propagator.apply([replace(record, value=b"broken")])
    await side.heard()
    assert await stage(silent, change) == "refused"
    await replace(side.propagator, leaves=executor.leaves(())).apply([record])
    await side.propagator.apply([record])  # redriven: seen before, and silence
    await side.heard()
    assert await stage(silent, change) == "refused"
    assert await answered(side) == 1
    assert await answered(side) == 0, "not again before it can have been heard"
    await side.heard()
    assert await stage(silent, change) == "applied"
    assert await answered(side, days=1) == 0


async def test_receipts_that_were_lost_are_told_again_once_a_day_until_they_are_heard(
    silent: Service, side: Side
) -> None:
    made = await silent.sign_up()
    last = (await silent.patch(made["member_ref"], 1, {"name": "새 이름"})).json()["change_id"]
    await side.feed()
    assert await answered(side) == 0, "the first ones have not left yet"
    await side.owner.execute("UPDATE outbox SET published_at = now()")  # and never arrived
    assert await answered(side, repair=False) == 0
    assert await answered(side) == 2
    assert await answered(side) == 0
    await side.owner.execute("UPDATE outbox SET published_at = now()")  # nor did these
    assert await answered(side) == 0
    assert await answered(side, days=1) == 2
    await side.heard()
    assert await stage(silent, made["change_id"]) == "superseded"
    assert await stage(silent, last) == "applied"
    assert await answered(side, days=1) == 0


async def test_a_store_that_is_ahead_of_a_restored_ledger_answers_nothing_by_its_watermark(
    silent: Service, side: Side
) -> None:
    """It saw another change under the number of this stop, which it drops as seen: the stop was never done."""
    ref = (await silent.sign_up())["member_ref"]
    await side.feed()
    await side.owner.execute("UPDATE watermark SET seq = 7")
    stop = (await silent.put(ref, 1, "sharing", REVOKED)).json()["change_id"]
    await side.feed()
    await side.owner.execute("UPDATE outbox SET published_at = now()")
    before = await side.owner.fetchval(TOLD)
    assert (await side.cycle(repair=True)).answered == 0
    assert await side.owner.fetchval(TOLD) == before
    assert await stage(silent, stop) == "accepted"


async def test_a_change_whose_rows_are_not_there_is_repaired_before_it_is_answered(silent: Service, side: Side) -> None:
    ref = (await silent.sign_up())["member_ref"]
    await side.feed()
    await side.heard()
    await side.owner.execute("UPDATE watermark SET seq = 2")
    stop = (await silent.put(ref, 1, "sharing", REVOKED)).json()["change_id"]
    await side.feed()
    found = await side.cycle(repair=True)
    assert ([d.why for d in found.drifts], found.repaired, found.answered) == (["row_inserted"], 1, 1)
    assert await side.owner.fetchval("SELECT count(*) FROM member") == 0
    await side.heard()
    assert await stage(silent, stop) == "applied"


async def test_the_ledger_lists_what_an_affiliate_owes_page_by_page(silent: Service, side: Side) -> None:
    changes = [(await silent.sign_up()) for _ in range(3)]
    path, mine = "/v1/affiliates/tmax-os/unanswered", bearer(a_token("tmax-os", "affiliate"))
    first = (await silent.http.get(path, params={"limit": 2}, headers=mine)).json()
    rest = (await silent.http.get(path, params={"limit": 2, "after": first["next"]}, headers=mine)).json()
    listed = first["changes"] + rest["changes"]
    assert [c["change_id"] for c in listed] == sorted(c["change_id"] for c in changes)
    assert {(c["member_ref"], c["seq"]) for c in listed} == {(c["member_ref"], 1) for c in changes}
    assert rest["next"] is None
    await side.feed()
    await side.heard()
    assert (await silent.http.get(path, headers=mine)).json() == {"changes": [], "next": None}
