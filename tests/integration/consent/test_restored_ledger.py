"""A consent database put back from a backup: stores know more than it does, which is found and mended as documented."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import asyncpg

from tests.integration.consent.harness import Service
from tests.integration.consent.sides import Side

PAGE = Path(__file__).resolve().parents[3] / "docs" / "restore.md"
AHEAD = """
UPDATE watermark SET seq = 7, values_seq = 7, status_seq = 7;
UPDATE member SET seq = 7, name = '백업 뒤의 이름'
"""
REVOKED = {"granted": False, "recipients": ["tmax-os"]}


async def lift(silent: Service, sides: Mapping[str, Side]) -> None:
    """Do what docs/restore.md says, with its own statements."""
    found = re.search(r"```sql\n(CREATE .*?;)\n(UPDATE .*?;)\n```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    owner = await asyncpg.connect(silent.databases.owner_dsn("consent"))
    try:
        await owner.execute(found[1])
        for side in sides.values():
            rows = await side.owner.fetch("SELECT member_ref, seq FROM watermark")
            await owner.copy_records_to_table("seen", records=[tuple(row) for row in rows])
        await owner.execute(found[2])
    finally:
        await owner.close()


async def test_a_ledger_that_knows_less_than_a_store_is_told_of_and_not_followed(
    silent: Service, sides: dict[str, Side]
) -> None:
    ref, side = (await silent.sign_up())["member_ref"], sides["tmax-os"]
    await side.feed()
    await side.owner.execute(AHEAD)
    assert (await silent.put(ref, 1, "sharing", REVOKED)).status_code == 200
    await side.feed()  # dropped: the store saw another change of this number
    for repair in (False, True):
        found = await side.cycle(repair=repair)
        assert [(d.why, d.store_seq, d.ledger_seq) for d in found.drifts] == [("ledger_behind", 7, 2)]
        assert (found.in_flight, found.repaired) == (0, 0)
    assert await side.owner.fetchval("SELECT name FROM member") == "백업 뒤의 이름"


async def test_with_its_sequences_lifted_as_documented_a_revocation_arrives(
    silent: Service, sides: dict[str, Side]
) -> None:
    ref, side = (await silent.sign_up())["member_ref"], sides["tmax-os"]
    for each in sides.values():
        await each.feed()
    await side.owner.execute(AHEAD)
    await lift(silent, sides)
    answer = await silent.put(ref, 7, "sharing", REVOKED)
    assert (answer.status_code, answer.json()["seq"]) == (200, 8)
    await side.feed()
    assert await side.owner.fetchval("SELECT count(*) FROM member") == 0
    found = await side.cycle()
    assert (found.drifts, found.in_flight) == ([], 0)


async def test_who_signed_up_after_the_backup_is_taken_away_only_if_a_person_says_so(
    silent: Service, sides: dict[str, Side]
) -> None:
    side, kept = sides["tmax-os"], "SELECT count(*) FROM member"
    await silent.sign_up()
    await side.feed()
    owner = await asyncpg.connect(silent.databases.owner_dsn("consent"))
    await owner.execute("TRUNCATE member CASCADE")
    await owner.close()
    by_itself = replace(side.reconciler(), strangers=False)
    found = await by_itself.cycle(repair=True)
    assert [(d.why, d.store_seq, d.ledger_seq) for d in found.drifts] == [("ledger_behind", 1, 0)]
    assert await side.owner.fetchval(kept) == 1
    assert (await side.cycle(repair=True)).repaired == 1
    assert await side.owner.fetchval(kept) == 0
