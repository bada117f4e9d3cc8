"""No statement grows with history: each finds its rows by an index, but for those that are there to read a whole table.

The tables are filled, and sequential scans are ruled out: a table that is read whole even then has no index for the
question. Plans are generic, for any parameters. Reading all of a partial index is no finding: it holds what is open.
"""

import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from services.consent.paging import Place
from services.runtime.fields import Order
from services.runtime.queries import Queries
from services.runtime.relay import MARK, SELECT

PACKAGES = {
    "consent": "services.consent",
    "tmax-os": "services.propagator",
    "notices": "services.propagator.notices",
    "retention": "services.retention",
    "audit": "services.audit",
    "keyring": "services.keyring",
    "console": "services.console",
}
"""database -> where its statements are"""
WHOLE = {
    "consent": {
        "letter_open",  # dead letters: few, and it is for people to keep them few
        "letter_outcomes",
        "message_persons_held",  # how many each holds, told to everybody once in a period
        "processor_checks",  # a row for each processor
        "processor_told",
    },
    "tmax-os": {"parked_count", "parked_resume", "read_seen"},  # what waits; and whether it waits, one row at most
    "notices": {
        "disabled_endpoints",  # a row for each third party
        "registered_endpoints",
        "redelivery_plan",  # a person chooses by any of four filters
        "redeliver",
    },
    "audit": {
        "find_facets",  # a row for each combination of codes
        "find_runs",  # a row for each 1,024 entries
        "list_anchored",  # a few rows a day, asked by who checks the places
    },
    "keyring": {"count_by_kek"},  # asked by a person who rotates the key
    "console": {"delete_old_attempts", "delete_old_sessions", "list_accounts"},  # staff: few
}
"""database -> the statements that may read a table whole"""
ROWS = 3000
VALUES = {
    "uuid": "md5(n::text)::uuid",
    "text": "'text ' || n",
    "bytea": "decode(md5(n::text), 'hex')",
    "jsonb": "'{}'::jsonb",
    "boolean": "true",
    "date": "current_date - n",
    "timestamp with time zone": "now() - n * interval '1 minute'",
    "bigint": "n",
    "integer": "n",
    "smallint": "n",
    "double precision": "n",
    "ARRAY": "'{}'",
}
COLUMNS = """
SELECT table_name, array_agg(quote_ident(column_name) ORDER BY ordinal_position) AS names,
       array_agg(data_type::text ORDER BY ordinal_position) AS types
FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND is_identity = 'NO' AND is_generated = 'NEVER'
GROUP BY 1
"""
CHECKS = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
WHERE contype IN ('c', 'f') AND connamespace = 'public'::regnamespace
"""
SETTINGS = "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan"
ORDERS: tuple[Order, ...] = ("oldest", "newest")
BY_INDEX = {"Index Scan", "Index Only Scan", "Bitmap Index Scan"}


async def _fill(connection: asyncpg.Connection) -> None:
    """Put rows into every table; what they would have to refer to or to obey is dropped first."""
    for row in await connection.fetch(CHECKS):
        await connection.execute(row[0])
    for table, names, types in await connection.fetch(COLUMNS):
        values = ", ".join(VALUES[kind] for kind in types)
        numbers = f"generate_series(1, {ROWS}) n"
        await connection.execute(
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {numbers} ON CONFLICT DO NOTHING"
        )
    await connection.execute("ANALYZE")


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _read_whole(plan: dict[str, Any], partial: set[str]) -> set[str]:
    """The tables and indexes that a plan reads from one end to the other, unless a LIMIT is above."""
    limited = {id(n) for top in _nodes(plan) if top["Node Type"] == "Limit" for n in _nodes(top)}
    found = set()
    for node in _nodes(plan):
        if node["Node Type"] == "Seq Scan":
            found.add(node["Relation Name"])
        elif node["Node Type"] in BY_INDEX and "Index Cond" not in node and id(node) not in limited:
            found.add(node["Index Name"])
    return found - partial


async def _plan(connection: asyncpg.Connection, statement: str) -> dict[str, Any]:
    """Return the plan for any parameters."""
    await connection.execute(f"PREPARE asked AS {statement}")
    types = await connection.fetchval("SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'asked'")
    given = f"({', '.join(['NULL'] * len(types))})" if types else ""
    explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON, COSTS OFF) EXECUTE asked{given}")
    await connection.execute("DEALLOCATE asked")
    found: dict[str, Any] = json.loads(explained)[0]["Plan"]
    return found


@pytest.mark.parametrize("database", PACKAGES)
async def test_no_statement_reads_a_table_whole_that_need_not(database: str, databases: Any) -> None:
    queries = Queries(PACKAGES[database])
    statements = {name: text for name, text in queries.items() if "{" not in text.replace("'{}'", "")}
    if database == "consent":
        listings = [name for name, text in queries.items() if "position {} $1" in text]
        statements |= {f"{name}, {order}": Place(0, order).query(name) for name in listings for order in ORDERS}
    if database not in {"audit", "keyring"}:
        statements |= {"relay select": SELECT, "relay mark": MARK}
    connection = await asyncpg.connect(databases.owner_dsn(database))
    try:
        await _fill(connection)
        await connection.execute(SETTINGS)
        rows = await connection.fetch("SELECT indexrelid::regclass::text FROM pg_index WHERE indpred IS NOT NULL")
        partial = {row[0] for row in rows}
        plans = {name: await _plan(connection, statement) for name, statement in statements.items()}
    finally:
        await connection.close()
    found = {name: tables for name, plan in plans.items() if (tables := _read_whole(plan, partial))}
    assert found.keys() == WHOLE.get(database, set()), found


async def _planned(databases: Any, database: str, name: str, *, filled: bool) -> dict[str, Any]:
    """Return the plan of one statement, made on full tables or on empty ones."""
    connection = await asyncpg.connect(databases.owner_dsn(database))
    try:
        if filled:
            await _fill(connection)
        await connection.execute(SETTINGS)
        return await _plan(connection, Queries(PACKAGES[database])[name])
    finally:
        await connection.close()


EARLY = {
    "mark_relayed": {"outbox_pkey", "delivery_by_record", "disclosure_by_change"},
    "record_answers": {"delivery_pkey", "disclosure_by_change", "notice_change_id_recipient_key"},
}
"""What runs for every change, by which indexes: those of recipients, of whom there are few, would read nearly all."""


async def test_a_plan_made_while_the_tables_are_empty_does_for_full_ones(databases: Any) -> None:
    connection = await asyncpg.connect(databases.owner_dsn("consent"))
    try:
        await connection.execute(SETTINGS)
        plans = {name: await _plan(connection, Queries("services.consent")[name]) for name in EARLY}
    finally:
        await connection.close()
    used = {name: {n["Index Name"] for n in _nodes(p) if n["Node Type"] in BY_INDEX} for name, p in plans.items()}
    assert used == EARLY


@pytest.mark.parametrize("filled", [False, True])
async def test_who_has_left_without_a_case_is_found_among_who_has_left(databases: Any, filled: bool) -> None:
    """Found in review: a LIMIT that is never reached ends nothing, and all members were read five times a second."""
    plan = await _planned(databases, "consent", "erasure_unselected", filled=filled)
    conditions = {n["Index Name"]: n.get("Index Cond") for n in _nodes(plan) if n["Node Type"] in BY_INDEX}
    assert conditions == {"member_left": None, "erasure_member_ref_key": "(member_ref = m.member_ref)"}


async def test_gaps_are_held_against_the_suppressed_by_an_index_not_by_a_list(databases: Any) -> None:
    """Found in review: `NOT IN` a table makes a list of it and, once it is too long to hash, walks it for each gap."""
    plan = await _planned(databases, "tmax-os", "reconcile_gaps", filled=True)
    assert not [node for node in _nodes(plan) if node.get("Parent Relationship") == "SubPlan"]
    assert {node["Index Name"] for node in _nodes(plan) if node["Node Type"] in BY_INDEX} >= {"suppressed_pkey"}


@pytest.mark.parametrize("filled", [False, True])
async def test_for_whom_something_is_due_is_asked_for_each_and_not_of_all_that_is_due(
    databases: Any, filled: bool
) -> None:
    """Five times a second, and what waits for those who are away may be much."""
    plan = await _planned(databases, "notices", "due_recipients", filled=filled)
    conditions = {n["Index Name"]: n["Index Cond"] for n in _nodes(plan) if n["Node Type"] in BY_INDEX}
    assert conditions.keys() == {"notice_due", "disabled_endpoint_pkey"}
    assert all("(recipient = r.recipient)" in condition for condition in conditions.values())
