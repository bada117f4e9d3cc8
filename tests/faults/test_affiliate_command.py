"""`dongui affiliate` on the whole system: drift found and repaired, pause and resume, replay from the ledger."""

from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from services.devstack.system import System
from tests.faults.conftest import eventually
from tests.faults.test_replay import everything
from tests.support.driver import Driver
from tests.support.expected import AFFILIATES, Expected
from tests.support.operator import Operator
from tests.support.oracle import Oracle

pytestmark = pytest.mark.long

AFFILIATE = "tmax-os"


async def execute(system: System, statement: str, *values: object) -> None:
    connection = await asyncpg.connect(system.installation.access.owner_dsn(AFFILIATE))
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


@pytest.mark.f(19)
@pytest.mark.long
@pytest.mark.timeout(240)
async def test_drift_is_found_with_status_3_and_repaired_from_the_ledger(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle, tmp_path: Path
) -> None:
    one, operator = driver(411), Operator(system)
    await one.live(25)
    assert await oracle.settled(expected) == []
    mine = set(expected.people)
    for affiliate in AFFILIATES:
        found = await operator.json(
            "affiliate", "reconcile", affiliate, status=await _status(operator, affiliate, mine)
        )
        assert [d for d in found["drifts"] if d["member_ref"] in mine] == []
    held = next(p.ref for p in one.mine if p.member_row(AFFILIATE) and p.status == "active")
    await execute(system, "DELETE FROM member WHERE member_ref = $1", held)
    found = await operator.json("affiliate", "reconcile", AFFILIATE, status=3)
    assert [(d["member_ref"], d["why"]) for d in found["drifts"] if d["member_ref"] in mine] == [(held, "row_deleted")]
    await operator.json("affiliate", "reconcile", AFFILIATE, "--repair", status=3)
    assert await oracle.differences(expected) == []

    file = str(tmp_path / "plan.json")
    before = await everything(system)
    planned = await operator.json(
        "replay", "plan", "--affiliate", AFFILIATE, "--source", "consent", "--reason", "drill", "--output", file
    )
    assert planned["affiliates"][AFFILIATE]["members_changed"] == 0
    done = await operator.json("replay", "execute", file, "--approved-by", "second.person", "--yes", "--shadow")
    assert done["shadow"][AFFILIATE]["rows"] > 0
    assert done["shadow"][AFFILIATE]["differences"] == 0
    after = await everything(system)
    assert {name for name in before if before[name] != after[name]} <= {"audit.entry"}


async def _status(operator: Operator, affiliate: str, mine: set[str]) -> int:
    """What other tests left in a store is theirs: repair it first, then nothing differs."""
    await operator("affiliate", "reconcile", affiliate, "--repair")
    return 0


@pytest.mark.timeout(180)
async def test_a_pause_holds_states_but_no_stop_and_a_resume_loses_nothing(
    system: System, driver: Callable[[int], Driver], expected: Expected, oracle: Oracle
) -> None:
    one, operator = driver(412), Operator(system)
    await one.live(8)
    assert await oracle.settled(expected) == []
    assert (await operator("affiliate", "pause", AFFILIATE, "--as", "sre.kim")).exit_code == 0
    try:
        await one.live(20)
        leaver = await one.sign_up()
        while leaver.status != "withdrawn":
            await one.leave(leaver)

        async def parked() -> bool:
            row = next(r for r in await operator.json("affiliate", "list") if r["id"] == AFFILIATE)
            return bool(row["parked"]) and row["paused_since"] is not None

        await eventually(parked)
        assert (await operator("affiliate", "backfill", AFFILIATE)).exit_code == 1
        row = next(r for r in await operator.json("affiliate", "list") if r["id"] == AFFILIATE)
        assert row["changes"] > 0, "a backfill of a paused affiliate answers nothing"
    finally:
        assert (await operator("affiliate", "resume", AFFILIATE, "--as", "sre.kim")).exit_code == 0
    assert await oracle.settled(expected) == []
    row = next(r for r in await operator.json("affiliate", "list") if r["id"] == AFFILIATE)
    assert (row["parked"], row["paused_since"]) == (0, None)


async def test_backfill_says_what_it_would_do_and_acls_are_literal(system: System) -> None:
    operator = Operator(system)
    dry = await operator.json("affiliate", "backfill", AFFILIATE, "--dry-run")
    assert (dry["dry_run"], dry["given"]) == (True, 0)
    acls = await operator.json("affiliate", "acls", AFFILIATE, "--principal", "User:tmax-os")
    assert {a["principal"] for a in acls} == {"User:tmax-os", "User:propagator-tmax-os"}
    backend = [a for a in acls if a["principal"] == "User:tmax-os"]
    assert sorted((a["resource"], a["name"], a["operation"], a["pattern"]) for a in backend) == [
        ("group", "tmax-os-backend", "READ", "literal"),
        ("topic", "dongui.affiliate.tmax-os.v1", "READ", "literal"),
    ]
    assert (await operator("affiliate", "pause", "nobody")).exit_code == 1
