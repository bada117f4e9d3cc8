"""What the ledger reads of a member to make its records again: little, however long the history, and the right part."""

from collections import defaultdict
from typing import Any

import asyncpg
import orjson
import pytest

from services.consent.holdings.remade import STOPS
from services.consent.store import SQL
from services.devstack.provision import AFFILIATES
from services.policy import ids
from tests.integration.consent.harness import Service
from tests.integration.consent.test_reconcile import lives

LONG = """
INSERT INTO change (change_id, member_ref, seq, name, fact, accepted_at)
SELECT gen_random_uuid(), member_ref, n, 'corrected', jsonb_build_object('addressees', fact->'addressees'), accepted_at
FROM change, generate_series(2, 50000) n WHERE member_ref = $1 AND seq = 1
"""
STOPPED = """
INSERT INTO change (change_id, member_ref, seq, name, fact, accepted_at, status)
SELECT gen_random_uuid(), member_ref, 50001, 'suspended', $2, accepted_at, 'suspended'
FROM change WHERE member_ref = $1 AND seq = 1
"""
FORGET_WHAT_STAYED = """
UPDATE change c SET status = NULL FROM change before
WHERE before.member_ref = c.member_ref AND before.seq = c.seq - 1 AND before.status = c.status
"""


async def read(silent: Service, affiliate: str, refs: list[str]) -> dict[str, list[tuple[Any, ...]]]:
    found = defaultdict(list)
    for row in await silent.pool.fetch(SQL["holdings_told"], refs, affiliate, dict(STOPS)):
        found[row["member_ref"]].append((row["seq"], row["rule"], row["status"]))
    return found


async def test_of_fifty_thousand_corrections_the_last_and_the_stop_after_it_are_read(silent: Service) -> None:
    ref = (await silent.sign_up())["member_ref"]
    to = {"id": "tmax-os", "kind": "affiliate", "roles": ["recipient"], "rules": ["5.1-suspend"]}
    await silent.pool.execute(LONG, ref)
    await silent.pool.execute(STOPPED, ref, {"addressees": [to]})
    rows = (await read(silent, "tmax-os", [ref]))[ref]
    assert rows == [(50000, "3.2-share", "active"), (50001, "5.1-suspend", "suspended")]
    answer = await silent.post("/v1/affiliates/tmax-os/holdings", {"members": [ref]})
    (found,) = answer.json()["members"]
    headers = [record["headers"] for record in found["records"]]
    assert [(h["ce_sequence"], h["ce_previous"]) for h in headers] == [("50000", "0"), ("50001", "50000")]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_what_is_read_of_any_history_is_what_reading_all_of_it_says(silent: Service, seed: int) -> None:
    refs = await lives(silent, seed, 60)
    owner = await asyncpg.connect(silent.databases.owner_dsn("consent"))
    try:  # as before there was the column: said where it changed, and nowhere else
        await owner.execute(FORGET_WHAT_STAYED)
        rows = await owner.fetch("SELECT member_ref::text, seq, status, fact FROM change ORDER BY seq")
    finally:
        await owner.close()
    for affiliate in AFFILIATES:
        found = await read(silent, affiliate, refs)
        assert found == {ref: told for ref in refs if (told := slowly(rows, ref, affiliate))}


def slowly(rows: list[Any], ref: str, affiliate: str) -> list[tuple[Any, ...]]:
    """(seq, rule, status) of the last full state and all after it, from the whole history."""
    told: list[tuple[Any, ...]] = []
    status = "active"
    for row in rows:
        if row["member_ref"] != ref:
            continue
        status = row["status"] or status
        for to in orjson.loads(row["fact"])["addressees"]:
            if (to["id"], to["kind"]) == (affiliate, "affiliate"):
                told = [] if to["rules"][0] in ids.PERMISSIONS else told
                told.append((row["seq"], to["rules"][0], status))
    return told
