"""`dongui replay` on the whole system: what it plans, whom it lets approve, and that it changes and sends nothing."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.devstack.system import System
from services.propagator.replay.plan import EFFECTS
from tests.faults.test_replay import everything
from tests.support.consumer_groups import offsets_at
from tests.support.driver import Driver
from tests.support.expected import AFFILIATES, Expected
from tests.support.operator import Operator
from tests.support.oracle import Oracle

pytestmark = pytest.mark.long

TOPIC = "dongui.affiliate.tmax-os.v1"


@pytest.mark.f(20)
@pytest.mark.timeout(240)
async def test_a_whole_replay_is_planned_approved_and_changes_not_one_byte(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle, tmp_path: Path
) -> None:
    one, operator, file = driver(402), Operator(system), str(tmp_path / "plan.json")
    await one.live(40)
    assert await oracle.settled(expected) == []
    before = await everything(system)

    planned = await operator.json("replay", "plan", "--all", "--reason", "drill", "--output", file)
    for affiliate in AFFILIATES:
        share = planned["affiliates"][affiliate]
        assert share["read"] == share["selected"] == await _length(system, affiliate)
        assert share["duplicates"] + share["refused"] == share["read"]
        assert (share["applied"], share["superseded"], share["members_changed"]) == (0, 0, 0)
    assert planned["not_sent"]["notices"]

    own = await operator("replay", "execute", file, "--approved-by", planned["planned_by"], "--yes")
    assert own.exit_code == 1
    assert "second_person_required" in own.output

    done = await operator.json("replay", "execute", file, "--approved-by", "second.person", "--yes")
    assert done["state"] == "completed"
    after = await everything(system)
    assert {name for name in before if before[name] != after[name]} <= {"audit.entry"}
    assert await _entries(system, planned["plan_id"]) == ["planned", "approved", "running", "completed"]
    assert await oracle.differences(expected) == []

    listed = {r["replay_id"]: r for r in await operator.json("replay", "list")}
    assert listed[planned["plan_id"]]["approved_by"] == "second.person"
    again = await operator("replay", "execute", file, "--approved-by", "second.person", "--yes")
    assert again.exit_code == 1


@pytest.mark.f(20)
@pytest.mark.long
@pytest.mark.timeout(180)
async def test_effects_that_are_named_are_still_deduplicated(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle, tmp_path: Path
) -> None:
    one, operator, file = driver(406), Operator(system), str(tmp_path / "plan.json")
    await one.live(20)
    assert await oracle.settled(expected) == []
    before = await everything(system)
    effects = [part for name in EFFECTS for part in ("--with", name)]
    planned = await operator.json("replay", "plan", "--all", "--reason", "drill", "--output", file, *effects)
    assert planned["not_sent"] == {}
    await operator.json("replay", "execute", file, "--approved-by", "second.person", "--yes")
    after = await everything(system)
    assert {name for name in before if before[name] != after[name]} <= {"audit.entry"}
    assert await oracle.differences(expected) == []


@pytest.mark.f(20)
@pytest.mark.timeout(240)
async def test_a_shadow_store_built_from_nothing_is_the_live_store_row_by_row(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle, tmp_path: Path
) -> None:
    one, operator, file = driver(403), Operator(system), str(tmp_path / "plan.json")
    await one.live(30)
    assert await oracle.settled(expected) == []
    await asyncio.sleep(2)  # a replay ends where the live group has committed, and it commits once a second
    plan = ("replay", "plan", "--affiliate", "tmax-os", "--reason", "drill", "--output", file)
    planned = await operator.json(*plan)
    run = ("replay", "execute", file, "--approved-by", "second.person", "--yes")
    done = await operator.json(*run, "--shadow")
    compared = done["shadow"]["tmax-os"]
    assert compared["rows"] > 0
    assert (compared["differences"], compared["moved"]) == (0, 0)
    listed = {r["replay_id"]: r for r in await operator.json("replay", "list")}[planned["plan_id"]]
    assert (listed["state"], listed["progress"]) == ("approved", {})
    assert (await operator.json(*run))["total"] == planned["total"], "the plan is still there for the live stores"
    assert await _entries(system, planned["plan_id"]) == ["planned", "approved", "running", "completed"]

    held = next(p.ref for p in one.mine if p.member_row("tmax-os"))
    await _execute(system, "UPDATE member SET name = 'x' WHERE member_ref = $1", held)
    try:
        await operator.json(*plan)
        found = await operator.json(*run, "--shadow", status=3)
        assert found["shadow"]["tmax-os"]["shown"] == [{"table": "member", "member_ref": held, "kind": "differs"}]
    finally:
        name = expected.people[held].name
        await _execute(system, "UPDATE member SET name = $2 WHERE member_ref = $1", held, name)
    connection = await asyncpg.connect(system.installation.access.admin_dsn)
    left = await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname LIKE '%shadow%'")
    await connection.close()
    assert left == 0


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_instants_and_offsets_are_what_kafkas_own_tool_says(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle, tmp_path: Path
) -> None:
    one, operator, file = driver(404), Operator(system), tmp_path / "plan.json"
    await one.live(8)
    assert await oracle.settled(expected) == []
    middle = datetime.now(UTC)
    await one.live(8)
    assert await oracle.settled(expected) == []
    wanted = ("replay", "plan", "--affiliate", "tmax-os", "--reason", "drill", "--output", str(file))
    await operator.json(*wanted, "--from-datetime", middle.isoformat(timespec="milliseconds"))
    told = await offsets_at(system.stack.bootstrap, TOPIC, middle.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3])
    assert _starts(file) == told

    lines = "".join(f'"{TOPIC}",{partition},{offset}\n' for partition, offset in told.items())
    (tmp_path / "offsets.csv").write_text(lines)
    await operator.json(*wanted, "--from-offsets", str(tmp_path / "offsets.csv"))
    assert _starts(file) == told

    ref = one.mine[0].ref
    told_cloud = (
        "replay",
        "plan",
        "--affiliate",
        "tmax-cloud",
        "--member",
        ref,
        "--reason",
        "drill",
        "--output",
        str(file),
    )
    share = (await operator.json(*told_cloud))["affiliates"]["tmax-cloud"]
    assert (share["members"], share["selected"]) == (1, share["duplicates"])
    first = (await operator.json(*told_cloud, "--type", "signed_up"))["affiliates"]["tmax-cloud"]
    assert first["selected"] == 1


async def test_bad_plans_and_bad_choices_are_refused_in_words(system: System, tmp_path: Path) -> None:
    operator, file = Operator(system), tmp_path / "plan.json"
    base = ("replay", "plan", "--reason", "drill", "--output", str(file))
    assert (await operator(*base)).exit_code == 2
    assert (await operator(*base, "--all", "--affiliate", "tmax-os")).exit_code == 2
    assert (await operator(*base, "--from-datetime", "yesterday")).exit_code == 2
    assert (await operator(*base, "--affiliate", "nobody")).exit_code == 1
    await operator.json(*base, "--affiliate", "tmax-os")
    changed = json.loads(file.read_text())
    changed["plan"]["rate"] = 1
    file.write_text(json.dumps(changed))
    refused = await operator("replay", "execute", str(file), "--approved-by", "second.person", "--yes")
    assert refused.exit_code == 1
    assert "plan again" in refused.output


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_a_cancelled_replay_stops_and_does_not_run_again(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle, tmp_path: Path
) -> None:
    operator, file = Operator(system), str(tmp_path / "plan.json")
    await driver(405).live(5)
    assert await oracle.settled(expected) == []
    planned = await operator.json("replay", "plan", "--all", "--reason", "drill", "--output", file)
    assert (await operator("replay", "cancel", planned["plan_id"])).exit_code == 0
    run = await operator("replay", "execute", file, "--approved-by", "second.person", "--yes")
    assert run.exit_code == 1
    assert "replay_ended" in run.output


def _starts(file: Path) -> dict[int, int]:
    share = json.loads(file.read_text())["plan"]["shares"][0]
    return {r["partition"]: r["start"] for r in share["ranges"]}


async def _length(system: System, affiliate: str) -> int:
    consumer = AIOKafkaConsumer(bootstrap_servers=system.stack.bootstrap)
    await consumer.start()
    try:
        places = [TopicPartition(f"dongui.affiliate.{affiliate}.v1", p) for p in range(8)]
        return sum((await consumer.end_offsets(places)).values())
    finally:
        await consumer.stop()


async def _entries(system: System, replay_id: str) -> list[str]:
    """Return the states the audit log has of a replay, in order; wait for the last."""
    connection = await asyncpg.connect(system.described()["databases"]["consent"])
    try:
        rows = await connection.fetch(
            "SELECT payload FROM outbox WHERE type = 'kr.dongui.register.v1' AND payload LIKE $1 ORDER BY position",
            f"%{replay_id}%".encode(),
        )
    finally:
        await connection.close()
    return [json.loads(row["payload"])["state"] for row in rows]


async def _execute(system: System, statement: str, *values: str) -> None:
    connection = await asyncpg.connect(system.installation.access.owner_dsn("tmax-os"))
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()
