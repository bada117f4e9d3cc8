"""`python -m benchmarks.reconcile [--members N]`: what one cycle costs where nothing differs, and the scaling.

Members are made by SQL on a real PostgreSQL: each signed up with sharing and a service, and corrected twice.
"""

import argparse
import asyncio
import json
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks import servers
from benchmarks.servers import cpu_s
from services.consent.holdings.remade import STOPS
from services.consent.store import SQL as LEDGER
from services.devstack.provision import Access
from services.policy import ids
from services.propagator.store import SQL as STORE
from services.runtime import postgres

AFFILIATE, SIZE, PARTS = "tmax-os", 1000, 10
MEMBERS = """
INSERT INTO member (member_ref, seq, status, email, name, password_hash, signed_up_at)
SELECT uuidv7(), 3, 'active', 'm' || i || '@example.com', '이름' || i, '$argon2id$' || repeat('x', 80), now()
FROM generate_series(1, $1::int) i
"""
HELD = """
INSERT INTO held SELECT member_ref, 'tmax-os', 3, 1, '{recipient,processor}',
  '{"use": true, "sms": false, "email": true, "night": false}' FROM member
"""
PROFILES = """
INSERT INTO profile (member_ref, service, role, items)
SELECT member_ref, 'hypermeeting', 'host', '{"title": "팀장", "phone": "010-1234-5678", "department": "개발"}'
FROM member
"""
CHANGES = """
INSERT INTO change (change_id, member_ref, seq, name, fact, accepted_at, status)
SELECT gen_random_uuid(), member_ref, s, CASE s WHEN 1 THEN 'signed_up' ELSE 'corrected' END,
  '{"addressees": [{"id": "tmax-cloud", "kind": "affiliate", "roles": ["recipient"], "rules": ["4.3-operator"]},
    {"id": "tmax-os", "kind": "affiliate", "roles": ["recipient", "processor"],
     "rules": ["3.2-share", "4.3-process"]}]}',
  now(), 'active'
FROM member, generate_series(1, 3) s
"""
STORED = "SELECT member_ref, email, name, password_hash, signed_up_at FROM member"


async def measure(members: int) -> dict[str, Any]:
    """Return seconds of each side for all members, and whether the digests agree."""
    async with servers.running(["consent", AFFILIATE], kafka=False) as on:
        return await _measured(on.access, members)


async def _measured(access: Access, members: int) -> dict[str, Any]:
    ledger = await postgres.connect(access.owner_dsn("consent"))
    store = await asyncpg.connect(access.owner_dsn(AFFILIATE))  # COPY needs the driver's own codecs
    try:
        for connection in (ledger, store):
            await connection.execute("SET statement_timeout = 0")
        await _fill(ledger, store, members)
        return await _walked(ledger, store, members)
    finally:
        await ledger.close()
        await store.close()


async def _fill(ledger: asyncpg.Connection, store: asyncpg.Connection, members: int) -> None:
    await ledger.execute(MEMBERS, members)
    for statement in (HELD, PROFILES, CHANGES, "VACUUM ANALYZE"):
        await ledger.execute(statement)
    rows = [tuple(r) for r in await ledger.fetch(STORED)]
    marketing = json.dumps({"use": True, "email": True, "sms": False, "night": False})
    await store.copy_records_to_table(
        "member",
        columns=[
            "member_ref",
            "seq",
            "email",
            "name",
            "password_hash",
            "status",
            "signed_up_at",
            "marketing",
            "applied_at",
        ],
        records=[(r[0], 3, r[1], r[2], r[3], "active", r[4], marketing, r[4]) for r in rows],
    )
    items = {"title": "팀장", "phone": "010-1234-5678", "department": "개발"}
    await store.copy_records_to_table(
        "processed_member",
        columns=["member_ref", "seq", "service", "role", "items", "applied_at"],
        records=[
            (r[0], 3, "hypermeeting", "host", json.dumps(items | {"email": r[1], "name": r[2]}), r[4]) for r in rows
        ],
    )
    await store.execute("VACUUM ANALYZE")


async def _walked(ledger: asyncpg.Connection, store: asyncpg.Connection, members: int) -> dict[str, Any]:
    salt, after, spent, differed, ranges = secrets.token_hex(16), None, [0.0, 0.0], 0, 0
    pids = [await c.fetchval("SELECT pg_backend_pid()") for c in (ledger, store)]
    began_with = [cpu_s(pid) for pid in pids]
    asked = (AFFILIATE, "hypermeeting", list(ids.PERMISSIONS), dict(STOPS))
    while True:
        began = time.perf_counter()
        rows = await ledger.fetch(LEDGER["holdings_digests"], *asked, after, None, salt, SIZE * PARTS, SIZE)
        between = time.perf_counter()
        if not rows:
            break
        bounds = [after, *(r["until"] for r in rows)]
        ours = await store.fetch(STORE["reconcile_digests"], bounds[:-1], bounds[1:], salt)
        ended = time.perf_counter()
        spent = [spent[0] + between - began, spent[1] + ended - between]
        differed += sum(
            (a["members"], a["digest"]) != (b["members"], b["digest"]) for a, b in zip(rows, ours, strict=True)
        )
        ranges, after = ranges + len(rows), rows[-1]["until"]
    cpu = [cpu_s(pid) - before for pid, before in zip(pids, began_with, strict=True)]
    per_million = [round(s / members * 1_000_000, 1) for s in cpu]
    told = {"members": members, "ranges": ranges, "differed": differed, "cpu_s_per_million": per_million}
    return told | {"ledger_s": round(spent[0], 2), "store_s": round(spent[1], 2)}


def main() -> int:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reconcile", description=__doc__)
    parser.add_argument("--members", type=int, default=100_000)
    sys.stdout.write(json.dumps(asyncio.run(measure(parser.parse_args().members))) + "\n")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
