"""What is owed to people as gauges: by the ledger's own rows, each series there before the first trouble."""

import uuid
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from prometheus_client import REGISTRY

from schemas.topics import RECEIPTS, affiliate_topic, dlq_of
from services.consent import gauges
from services.consent.letters import seen
from services.policy.duties import all_duties
from services.runtime import backlog, dead_letter
from tests.integration.consent.harness import Service

OS = {"recipient": "tmax-os", "kind": "affiliate"}
SENT = dead_letter.ORIGIN_HEADER


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Series of other tests' recipients stay, at zero."""
    for gauge in (gauges.LAG, gauges.LAG_S, gauges.WITHDRAWAL):
        gauge.clear()


async def test_all_is_zero_before_anything_is_owed(silent: Service) -> None:
    await gauges.look(silent.consent)
    assert value("dongui_oldest_unapplied_withdrawal_seconds", **OS) == 0
    assert value("dongui_lag_seconds", **OS) == 0
    assert value("dongui_duties", kind="restricted", state="late") == 0
    assert value("dongui_dead_letters_unhandled", topic=affiliate_topic("tmax-os")) == 0


async def test_a_withdrawal_a_revocation_and_nothing_else_counts_as_one(silent: Service) -> None:
    made = await silent.sign_up()
    ref = made["member_ref"]
    await gauges.look(silent.consent)
    assert value("dongui_lag_changes", **OS) == 1
    assert value("dongui_oldest_unapplied_withdrawal_seconds", **OS) == 0, "a sign-up takes nothing away"
    await silent.put(ref, 1, "sharing", {"granted": False, "recipients": ["tmax-os"]})
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    owner = await _owner(silent)
    await owner.execute("UPDATE change SET accepted_at = $1 WHERE seq = 2", an_hour_ago)
    await owner.close()
    await gauges.look(silent.consent)
    assert value("dongui_oldest_unapplied_withdrawal_seconds", **OS) == pytest.approx(3600, abs=20)
    assert value("dongui_oldest_unapplied_withdrawal_seconds", recipient="tmax-anc", kind="affiliate") == 0
    await silent.pool.execute("UPDATE delivery SET stage = 'applied'")
    await gauges.look(silent.consent)
    assert value("dongui_oldest_unapplied_withdrawal_seconds", **OS) == 0, "answered: the series stays, at zero"


async def _owner(service: Service) -> asyncpg.Connection:
    return await asyncpg.connect(service.databases.owner_dsn("consent"))


async def test_duties_are_counted_by_state_and_those_of_clause_33_under_one_name(silent: Service) -> None:
    today = date(2026, 11, 24)
    opened = next(kind for kind, duty in all_duties().items() if not duty.restricted)
    hidden = next(kind for kind, duty in all_duties().items() if duty.restricted)
    rows = [
        (opened, today - timedelta(9), today - timedelta(2)),
        (opened, today - timedelta(1), today + timedelta(3)),
        (opened, today + timedelta(5), today + timedelta(9)),
        (hidden, today - timedelta(1), today),
    ]
    await silent.pool.execute("UPDATE duty SET closed_at = now() WHERE closed_at IS NULL")
    for kind, warn_on, due_on in rows:
        await silent.pool.execute(
            "INSERT INTO duty (kind, subject, opened_at, warn_on, due_on) VALUES ($1, $2, now(), $3, $4)",
            kind,
            uuid.uuid4(),
            warn_on,
            due_on,
        )
    noon = datetime(2026, 11, 24, 3, tzinfo=UTC)
    at_noon = SimpleNamespace(pool=silent.pool, rules=silent.consent.rules, clock=lambda: noon)
    await gauges.look(at_noon)  # type: ignore[arg-type]
    counted = {state: value("dongui_duties", kind=opened, state=state) for state in gauges.STATES}
    assert counted == {"late": 1, "warning": 1, "open": 1}
    assert value("dongui_duty_days_left", kind=opened) == -2
    assert value("dongui_duties", kind="restricted", state="warning") == 1, "its last day is today: not late yet"
    assert value("dongui_duties", kind=hidden, state="warning") is None
    await silent.pool.execute("UPDATE duty SET closed_at = now() WHERE closed_at IS NULL")
    await gauges.look(at_noon)  # type: ignore[arg-type]
    assert value("dongui_duties", kind=opened, state="late") == 0
    assert value("dongui_duty_days_left", kind=opened) is None


def a_letter(origin: str, at: datetime) -> Any:
    headers = ((SENT, origin.encode()), (dead_letter.ERROR_HEADER, b"bad_json"))
    return SimpleNamespace(
        topic=dlq_of(RECEIPTS), partition=0, offset=0, headers=headers, timestamp=at.timestamp() * 1000
    )


async def test_a_letter_counts_until_it_is_handled_or_its_topic_has_it_no_more(silent: Service) -> None:
    now, topic = datetime.now(UTC), affiliate_topic("tmax-os")
    one, two, old = (f"{topic}/0/{n}" for n in (1, 2, 3))
    letters = [a_letter(one, now - timedelta(hours=2)), a_letter(two, now), a_letter(old, now - timedelta(days=31))]
    async with silent.pool.acquire() as tx, tx.transaction():
        await seen.note(tx, letters)
        await seen.note(tx, letters)
    await gauges.look(silent.consent)
    assert value("dongui_dead_letters_unhandled", topic=topic) == 2
    assert value("dongui_dead_letter_oldest_seconds", topic=topic) == pytest.approx(7200, abs=20)
    answer = await silent.http.post(
        f"/v1/dead-letters/{dead_letter.letter_id(one)}/redriven", json={"topic": topic, "code": "bad_json"}
    )
    assert answer.is_success, answer.text
    await gauges.look(silent.consent)
    assert value("dongui_dead_letters_unhandled", topic=topic) == 1
    await silent.pool.execute("DELETE FROM letter")


async def test_a_letter_that_names_no_place_or_no_time_stops_no_other(silent: Service) -> None:
    now, topic = datetime.now(UTC), affiliate_topic("tmax-os")
    placeless, timeless, good = a_letter("\x00/0/1", now), a_letter(f"{topic}/0/7", now), a_letter(f"{topic}/0/8", now)
    timeless.timestamp = 2**62
    async with silent.pool.acquire() as tx, tx.transaction():
        await seen.note(tx, [placeless, timeless, good])
    topics = [row["topic"] for row in await silent.pool.fetch("SELECT topic FROM letter ORDER BY topic")]
    assert topics == [topic, topic, dlq_of(RECEIPTS)]
    await gauges.look(silent.consent)
    assert value("dongui_dead_letter_oldest_seconds", topic=topic) == pytest.approx(0, abs=20)
    await silent.pool.execute("DELETE FROM letter")


async def test_the_oldest_row_the_broker_has_not_acknowledged_is_seen_in_any_shard(silent: Service) -> None:
    await backlog.look(silent.pool, "unit")
    assert (
        value("dongui_outbox_oldest_seconds", application="unit"),
        value("dongui_outbox_rows", application="unit"),
    ) == (0, 0)
    for _ in range(3):
        await silent.sign_up()
    owner = await _owner(silent)
    await owner.execute(
        "UPDATE outbox SET created_at = now() - interval '5 minutes'"
        " WHERE position = (SELECT min(position) FROM outbox)"
    )
    await owner.close()
    await backlog.look(silent.pool, "unit")
    assert value("dongui_outbox_oldest_seconds", application="unit") == pytest.approx(300, abs=20)
    rows = await silent.pool.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL")
    assert value("dongui_outbox_rows", application="unit") == rows > 3
