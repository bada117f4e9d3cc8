"""A log of N entries, the same on every machine, and questions about it.

The entries are made inside the server (real columns and indexes, bodies of a real size, no tree over them), skewed as
ours are: many receipts of few affiliates, a long tail of third parties and staff, one entry in a hundred days late.
"""

import hashlib
import random
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

import asyncpg

BASE: Final = datetime(2026, 1, 1, tzinfo=UTC)
STEP_S: Final = 3
PER_MEMBER: Final = 50
AT_ONCE: Final = 500_000
INDEXES: Final = ("entry_by_facet", "entry_by_member", "entry_by_change")
# What is asked for by name is drawn from the entry's number; what is random comes from one seed, in this order.
SEED = "SELECT setseed(0.5)"
ID = "md5('{}' || {})::uuid"
FACETS = """
INSERT INTO facet (type, kind, actor, recipient, stage, clauses)
SELECT 'kr.dongui.receipt.v1', NULL, r, r, s, '3.2'
FROM unnest(ARRAY['tmax-cloud','tmax-os','tmax-anc']) r, unnest(ARRAY['applied','superseded','refused','late']) s
UNION ALL SELECT 'kr.dongui.member.' || t || '.v1', NULL, a, NULL, NULL, c
FROM unnest(ARRAY['corrected','signed_up','consent_changed','withdrawn','suspended','erased']) t,
     unnest(ARRAY['member','staff','guardian','system']) a, unnest(ARRAY['3.1','3.2 5.1','1.5 3.2','4.3 5.1','7.1']) c
UNION ALL SELECT 'kr.dongui.register.v1', k, a, NULL, NULL, '5.1'
FROM unnest(ARRAY['rights_request','message','inquiry','erasure','dormancy','guardian']) k,
     unnest(ARRAY['staff','member','system']) a
UNION ALL SELECT 'kr.dongui.receipt.v1', NULL, 'partner-' || n, 'partner-' || n, s, '5.7'
FROM generate_series(1, 200) n, unnest(ARRAY['applied','refused','late']) s
UNION ALL SELECT 'kr.dongui.audit.access.v1', k, 'staff-' || n, NULL, NULL, '8.1'
FROM generate_series(1, 50) n, unnest(ARRAY['query','proof','export','reveal']) k
"""
ENTRIES = f"""
INSERT INTO entry (index, event_id, content_hash, leaf_hash, body, type, member_ref, change_id, seq, actor, recipient,
                   stage, at, appended_at, facet)
SELECT i, {ID.format("e", "i")}, sha256(i::text::bytea), sha256(i::text::bytea),
       convert_to('{{"data":{{"n":' || i || ',"filler":"' || repeat('x', 420) || '"}}}}', 'UTF8'),
       f.type, {ID.format("m", "i % $3")}, {ID.format("c", "i / 5")}, i, f.actor, f.recipient, f.stage,
       x.at, x.at, f.facet
FROM (SELECT i, 1 + floor(power(random(), 4) * (SELECT count(*) FROM facet))::int AS facet,
             $4::timestamptz + i * interval '{STEP_S} s' - CASE WHEN i % 100 = 0 THEN random() * interval '3 days'
                                                             ELSE interval '0' END AS at
      FROM generate_series($1::bigint, $2::bigint - 1) i) x JOIN facet f USING (facet)
"""

Question: TypeAlias = dict[str, str]
"""The parameters of a query string."""


async def fill(owner: asyncpg.Connection, entries: int) -> None:
    """Fill the tables with their other indexes off, then make them again and let the planner know."""
    await owner.execute(FACETS)
    kept = {name: await owner.fetchval(f"SELECT pg_get_indexdef('{name}'::regclass)") for name in INDEXES}
    for name in INDEXES:
        await owner.execute(f"DROP INDEX {name}")
    await owner.execute(SEED)
    for start in range(0, entries, AT_ONCE):
        end = min(start + AT_ONCE, entries)
        await owner.execute(ENTRIES, start, end, max(1, entries // PER_MEMBER), BASE, timeout=3600)
        sys.stderr.write(f"{end:,} entries\n")
    for definition in kept.values():
        await owner.execute(definition, timeout=3600)
    await owner.execute("INSERT INTO slice SELECT index / 1024, min(at), max(at) FROM entry GROUP BY 1")
    await owner.execute("DELETE FROM slice WHERE slice = (SELECT max(index) / 1024 FROM entry)")
    await owner.execute("VACUUM ANALYZE", timeout=3600)


def drawn(entries: int, repeats: int, number: int) -> dict[str, list[Question]]:
    """Return so many questions of each filter, by its name: other ones for each number, and always the same for one."""
    found = {}
    for name, question in questions(entries).items():
        chance = random.Random(f"{name} {number}")
        found[name] = [question(chance) for _ in range(repeats)]
    return found


def questions(entries: int) -> dict[str, Callable[[random.Random], Question]]:
    """Return the filters, each with parameters drawn anew."""

    def time_range(chance: random.Random, days: float) -> Question:
        start = BASE + timedelta(seconds=chance.random() * entries * STEP_S)
        return {"from": start.isoformat(), "to": (start + timedelta(days=days)).isoformat()}

    def identity(chance: random.Random, letter: str, among: int) -> str:
        return str(uuid.UUID(_md5(f"{letter}{chance.randrange(max(1, among))}")))

    def cursor(chance: random.Random) -> Question:
        return {"cursor": str(chance.randrange(entries))}

    affiliates = ("tmax-cloud", "tmax-os", "tmax-anc")
    fact = "kr.dongui.member.corrected.v1"
    return {
        "newest": lambda _: {"order": "newest"},
        "from any place": cursor,
        "member": lambda c: {"member_ref": identity(c, "m", entries // PER_MEMBER)},
        "member and a month": lambda c: {"member_ref": identity(c, "m", entries // PER_MEMBER)} | time_range(c, 30),
        "change": lambda c: {"change_id": identity(c, "c", entries // 5)},
        "type": lambda c: {"type": c.choice((fact, "kr.dongui.receipt.v1"))} | cursor(c),
        "actor": lambda c: {"actor": c.choice(("member", "staff", "staff-7", "system"))} | cursor(c),
        "affiliate": lambda c: {"affiliate": c.choice(affiliates)} | cursor(c),
        "rare third party": lambda c: {"affiliate": f"partner-{c.randrange(1, 201)}"},
        "clause": lambda c: {"clause": c.choice(("5", "3.2", "1.5", "7.1", "8"))} | cursor(c),
        "an hour": lambda c: time_range(c, 1 / 24),
        "a day": lambda c: time_range(c, 1),
        "type and a day": lambda c: {"type": fact} | time_range(c, 1),
        "rare third party and a day": lambda c: {"affiliate": f"partner-{c.randrange(1, 201)}"} | time_range(c, 1),
        "clause, actor, newest": lambda _: {"clause": "5", "actor": "staff", "order": "newest"},
        "affiliate, stage, a week": lambda c: {"affiliate": c.choice(affiliates), "stage": "late"} | time_range(c, 7),
        "nothing matches": lambda c: {"type": fact, "actor": "nobody"} | time_range(c, 30),
    }


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
