"""The synthetic member of an affiliate: sent once at a time, never a person in any figure."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.consent import gauges
from services.consent.canaries import handlers as canaries
from services.consent.decisions import reconsent
from services.consent.store import SQL
from tests.integration.consent.harness import Service, a_token, bearer
from tests.integration.consent.test_reconsents import WIDER

OS = bearer(a_token("tmax-os", "affiliate"))
YEARS = timedelta(days=365 * 3)
ZERO = "00000000-0000-0000-0000-000000000000"


async def send(service: Service, affiliate: str = "tmax-os", headers: Any = OS) -> dict[str, Any]:
    answer = await service.http.put(f"/v1/affiliates/{affiliate}/canary", headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def answered(service: Service, ref: str, *recipients: str) -> None:
    """Answer the member's changes as receipts do, without the broker."""
    await service.pool.execute(
        "UPDATE delivery SET stage = 'applied', at = now() WHERE recipient = ANY($2::text[])"
        " AND change_id IN (SELECT change_id FROM change WHERE member_ref = $1)",
        ref,
        list(recipients),
    )


async def test_a_canary_is_signed_up_once_then_corrected_each_time_it_is_back(silent: Service) -> None:
    first = await send(silent)
    assert (first["seq"], first["out"], first["returned_at"]) == (1, True, None)
    assert (await send(silent))["seq"] == 1, "one that is out is not sent again"
    await answered(silent, first["member_ref"], "tmax-cloud")
    assert (await send(silent))["seq"] == 1, "the answer of another affiliate is not its own"
    await answered(silent, first["member_ref"], "tmax-os")
    second = await send(silent)
    assert (second["seq"], second["out"], second["member_ref"]) == (2, True, first["member_ref"])
    assert second["returned_at"] == first["sent_at"]
    changes = await silent.pool.fetch("SELECT name, fact ->> 'actor' AS actor FROM change ORDER BY seq")
    assert [tuple(row.values()) for row in changes] == [("signed_up", "system"), ("corrected", "system")]
    recipients = await silent.pool.fetch("SELECT DISTINCT recipient FROM delivery ORDER BY 1")
    assert [row["recipient"] for row in recipients] == ["tmax-cloud", "tmax-os"], "it shares with its own, and no other"


async def test_a_canary_that_is_out_for_ten_minutes_is_followed_by_another(silent: Service) -> None:
    await send(silent)
    late = replace(silent.consent, clock=lambda: datetime.now(UTC) + canaries.RESEND_AFTER + timedelta(seconds=1))
    assert (await canaries.send(late, "tmax-os")).seq == 2


async def test_a_canary_that_somebody_ended_is_made_anew_and_both_stay_known(silent: Service) -> None:
    old = (await send(silent))["member_ref"]
    for step in ("withdrawal", "withdrawal/confirm"):
        assert (await silent.post(f"/v1/members/{old}/{step}")).is_success
    new = await send(silent)
    assert (new["seq"], new["member_ref"] != old) == (1, True)
    told = await silent.pool.fetchval("SELECT count(*) FROM message WHERE member_ref = $1", old)
    assert told == 0, "nothing is sent to what is nobody, not even the result of its withdrawal"
    known = await silent.pool.fetch("SELECT member_ref, ended_at IS NULL AS live FROM canary ORDER BY since")
    assert [tuple(row.values()) for row in known] == [(old, False), (new["member_ref"], True)]


async def test_no_person_can_have_the_address_of_a_canary(silent: Service) -> None:
    await send(silent)
    email = await silent.pool.fetchval("SELECT email FROM member")
    assert email.endswith("@canary.dongui.invalid")
    answer = await silent.post("/v1/members", {"email": email, "password": "correct horse battery", "name": "홍길동"})
    assert answer.status_code == 422
    assert "/email" in {error["pointer"] for error in answer.json()["errors"]}


@pytest.mark.parametrize(
    ("affiliate", "headers", "status"),
    [
        ("tmax-anc", OS, 403),
        ("tmax-os", bearer(a_token("someone", "member")), 403),
        ("tmax-os", bearer(a_token("auditor", "auditor")), 403),
        ("nobody", bearer(a_token("on-call", "sre")), 404),
    ],
)
async def test_only_its_own_affiliate_and_operators_send_it(
    silent: Service, affiliate: str, headers: Any, status: int
) -> None:
    answer = await silent.http.put(f"/v1/affiliates/{affiliate}/canary", headers=headers)
    assert answer.status_code == status
    assert await silent.pool.fetchval("SELECT count(*) FROM canary") == 0


async def test_a_canary_is_in_no_figure_about_persons_and_gets_no_message(silent: Service) -> None:
    person = (await silent.sign_up())["member_ref"]
    canary = (await send(silent))["member_ref"]
    pool, far = silent.pool, datetime.now(UTC) + YEARS
    wider = replace(silent.consent, rules=WIDER)
    assert {r["persons"] for r in await pool.fetch(SQL["message_persons_held"])} == {1}
    sources = await pool.fetch(SQL["message_sources"], "tmax-os", far, 100)
    assert [r["member_ref"] for r in sources] == [person]
    assert [r["member_ref"] for r in await pool.fetch(SQL["message_yearly_uses"], "tmax-os", far, 100)] == [person]
    assert [r["member_ref"] for r in await pool.fetch(SQL["processor_members"], None, 100)] == [person]
    assert [r["member_ref"] for r in await pool.fetch(SQL["dormancy_candidates"], far, None, 100)] == [person]
    assert {r["members"] for r in await pool.fetch(SQL["reconsent_counts"], ["2021-02-22"])} == {1}
    assert [r["member_ref"] for r in await pool.fetch(SQL["reconsent_members"], ["2021-02-22"], ZERO, 100)] == [person]
    affected = (datetime.now(UTC), far, None, None, None, ZERO, "tmax-cloud", 100)
    assert [r["member_ref"] for r in await pool.fetch(SQL["affected_members"], *affected)] == [person]
    assert {r["changes"] for r in await pool.fetch(SQL["lag"])} == {1}
    await reconsent.tell(wider, datetime.now(UTC))
    told = {r["member_ref"] for r in await pool.fetch("SELECT member_ref FROM message WHERE kind = 'reconsent'")}
    assert (person in told, canary in told) == (True, False)


async def test_the_gauge_says_when_the_last_one_that_came_back_had_been_sent(silent: Service) -> None:
    began = datetime.now(UTC) - timedelta(hours=1)
    await gauges.look_at_canaries(silent.consent, 60, began)
    at = gauges.RETURNED_AT.labels("tmax-os")._value.get
    assert at() == began.timestamp(), "one that never was is silent from the beginning"
    first = await send(silent)
    sent_at = datetime.fromisoformat(first["sent_at"]).timestamp()
    await gauges.look_at_canaries(silent.consent, 60, began)
    assert at() == pytest.approx(sent_at, abs=1), "made now, and not back"
    await answered(silent, first["member_ref"], "tmax-os")
    await send(silent)
    await gauges.look_at_canaries(silent.consent, 60, began)
    assert at() == pytest.approx(sent_at, abs=0.01), "of the one that is back, not of the one that is out"
    assert gauges.INTERVAL.labels("tmax-os")._value.get() == 60
