"""Every combination of filters finds what a plain scan finds, page by page, in both directions; every look is noted."""

import csv
import io
import json
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from services.audit import search, store, verify
from services.audit.handlers import Writer
from services.audit.search import Filter, Page
from tests.integration.audit import records
from tests.integration.audit.logs import Log, leaf_of
from tests.integration.audit.test_api import asking, token

COUNT = 2500
MEMBERS = [f"00000000-0000-4000-8000-{n:012}" for n in range(40)]


async def filled(log: Log, count: int = COUNT) -> list[dict[str, Any]]:
    """Append facts and answers, some of them late by days; return what a reader would find them by."""
    chance, made = random.Random(7), []
    for n in range(count):
        at = records.AT + timedelta(minutes=n) - timedelta(days=3 if n % 97 == 0 else 0)
        fact = records.a_fact(chance.choice(MEMBERS), n + 1, at=at)
        affiliate = chance.choice(("tmax-os", "tmax-anc"))
        made.append(leaf_of(fact if n % 3 else records.an_answer(fact, affiliate), n))
    for start in range(0, count, 700):
        await log.append(made[start : start + 700])
    names = ("member_ref", "type", "actor", "recipient", "stage", "at", "clauses", "change_id")
    return [{name: getattr(leaf, name) for name in names} | {"index": n} for n, leaf in enumerate(made)]


def scanned(entries: list[dict[str, Any]], wanted: Filter) -> list[int]:
    """The oracle: look at every entry."""

    def matches(entry: dict[str, Any]) -> bool:
        plain = ("member_ref", "change_id", "type", "actor", "recipient", "stage")
        if any(getattr(wanted, name) not in (None, entry[name]) for name in plain):
            return False
        parts = [c for c in entry["clauses"] if wanted.clause in (None, c, c.split(".")[0])]
        in_time = (wanted.start is None or entry["at"] >= wanted.start) and (
            wanted.end is None or entry["at"] < wanted.end
        )
        return in_time and (wanted.clause is None or bool(parts))

    return [entry["index"] for entry in entries if matches(entry)]


async def paged(pool: asyncpg.Pool, wanted: Filter, limit: int, newest: bool) -> list[int]:
    found: list[int] = []
    after: int | None = None
    while rows := await search.entries(pool, wanted, Page(after, limit, newest)):
        found += [row["index"] for row in rows]
        after = found[-1]
    return found


FACT, RECEIPT = "kr.dongui.member.corrected.v1", "kr.dongui.receipt.v1"
DAY = records.AT.replace(hour=0)


async def test_every_combination_finds_what_a_scan_finds(log: Log) -> None:
    entries = await filled(log)
    assert await log.pool.fetchval("SELECT count(*) FROM slice") == COUNT // 1024
    chance = random.Random(11)
    for _ in range(120):
        start = DAY + timedelta(minutes=chance.randrange(-6000, 3000))
        choices: dict[str, list[Any]] = {
            "member_ref": [None, None, chance.choice(MEMBERS)],
            "type": [None, None, FACT, RECEIPT],
            "actor": [None, None, "member", "tmax-os", "nobody"],
            "recipient": [None, None, "tmax-anc"],
            "stage": [None, None, "applied"],
            "clause": [None, None, "5.1", "5", "3", "3.2", "1"],
            "start": [None, start],
            "end": [None, start + timedelta(minutes=chance.choice((5, 600, 5000)))],
        }
        wanted = Filter(**{name: chance.choice(values) for name, values in choices.items()})
        expected = scanned(entries, wanted)
        newest = chance.random() < 0.5
        limit = chance.choice((1000, 200))
        found = await paged(log.pool, wanted, limit, newest)
        assert found == (expected[::-1] if newest else expected), wanted


class Growing:
    """A pool whose log grows as soon as it was looked up where entries of a time are."""

    def __init__(self, log: Log, more: list[Any]) -> None:
        self.log, self.more = log, more

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log.pool, name)

    async def fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        rows = await self.log.pool.fetch(sql, *values)
        if sql == store.SQL["find_runs"]:
            await self.log.append(self.more)
        return list(rows)


@pytest.mark.parametrize("newest", [False, True])
async def test_a_slice_that_is_completed_meanwhile_hides_no_entry(log: Log, newest: bool) -> None:
    made = [leaf_of(records.a_fact(MEMBERS[0], n + 1), n) for n in range(1100)]
    await log.append(made[:1000])
    growing: Any = Growing(log, made[1000:])
    wanted = Filter(start=records.AT - timedelta(days=1))
    found = [row["index"] for row in await search.entries(growing, wanted, Page(None, 2000, newest))]
    assert found == (list(range(1099, -1, -1)) if newest else list(range(1100)))


async def test_entries_of_one_change_are_found(log: Log) -> None:
    entries = await filled(log, 30)
    wanted = Filter(change_id=entries[7]["change_id"])
    assert await paged(log.pool, wanted, 10, newest=False) == [7]


async def test_every_look_becomes_an_entry_with_its_reason(log: Log) -> None:
    """Safeguards notice 2-3 and 8: who, when, from where, whose data, what was done."""
    member = records.a_member()
    await log.append([leaf_of(records.a_fact(member, 1))])
    await log.seal()
    async with asking(log) as client:
        with_reason = {"X-Reason": "inquiry:2026-17"}
        await client.get("/v1/audit/entries", params={"member_ref": member}, headers=with_reason)
        await client.get("/v1/audit/entries/0/proof", params={"format": "html", "reason": "inquiry:2026-17"})
        await client.get("/v1/audit/export")
        body = {"action": "reveal", "member_ref": member, "items": ["email"]}
        assert (await client.post("/v1/audit/accesses", json=body, headers=with_reason)).status_code == 201
        await client.get("/v1/audit/checkpoint")  # no entry is in it: no access
        async with log.pool.acquire() as tx, tx.transaction():
            last = await Writer().append_accesses(tx, 0)
            assert await Writer().append_accesses(tx, 0) == last  # known ones are passed over
        entries = (await client.get("/v1/audit/entries", params={"type": "kr.dongui.audit.access.v1"})).json()[
            "entries"
        ]
    assert [e["kind"] for e in entries] == ["query", "proof", "export", "reveal"]
    told = [e["body"]["data"] for e in entries]
    assert [t["reason"] for t in told] == ["inquiry:2026-17", "inquiry:2026-17", None, "inquiry:2026-17"]
    assert [t["member_ref"] for t in told] == [member, member, None, member]
    assert {(t["actor"], t["address"], t["roles"]) for t in told} == {("someone", "192.0.2.7", "compliance")}
    assert all(datetime.fromisoformat(t["at"]) for t in told)
    assert told[0]["told"]["entries"] == 1
    assert [e["member_ref"] for e in entries if "member_ref" in e] == [member] * 3
    assert entries[0]["clauses"] == ["8.1"]
    await log.seal()
    assert (await log.patrol.round()).ok  # they are leaves like all others
    assert await log.pool.fetchval(store.SQL["list_sealable"], 0, 99, 99) == 0  # and no facts: only the first is


async def test_a_reason_is_asked_for_where_it_is_required_and_is_never_a_name(log: Log) -> None:
    async with asking(log, reason_required=True) as client:
        missing = await client.get("/v1/audit/entries")
        assert (missing.status_code, missing.json()["code"]) == (400, "reason_missing")
        named = await client.get("/v1/audit/entries", params={"reason": "홍길동 민원"})
        assert (named.status_code, named.json()["code"]) == (422, "invalid_reason")
        assert "홍길동" not in named.text
        assert (await client.get("/v1/audit/entries", headers={"X-Reason": "case-1"})).status_code == 200
    assert await log.pool.fetchval("SELECT count(*) FROM access") == 1


async def test_a_selection_is_exported_with_proofs_in_both_forms(log: Log, tmp_path: Path) -> None:
    await filled(log, 300)
    await log.seal()
    params = {"affiliate": "tmax-os", "clause": "3.2"}
    expected = await paged(log.pool, Filter(recipient="tmax-os", clause="3.2"), 100, newest=False)
    assert len(expected) > 20
    async with asking(log) as client:
        for form in ("ndjson", "csv"):
            answer = await client.get("/v1/audit/export", params=params | {"format": form})
            assert answer.status_code == 200
            (tmp_path / form).write_bytes(answer.content)
            report = verify.verify_file(tmp_path / form, log.notary.verifier)
            assert (report.ok, report.entries, report.size) == (True, len(expected), 300), report.findings
            indexes = _csv(answer) if form == "csv" else _lines(answer)
            assert indexes == expected
    assert (tmp_path / "csv").read_bytes().startswith(b"\xef\xbb\xbf")


def _csv(answer: httpx.Response) -> list[int]:
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    return [int(row[0]) for row in rows[1:-1]]


def _lines(answer: httpx.Response) -> list[int]:
    return [json.loads(line)["index"] for line in answer.text.splitlines()[1:]]


async def test_a_proof_comes_as_a_file_and_as_a_certificate(log: Log, tmp_path: Path) -> None:
    await filled(log, 9)
    await log.seal()
    async with asking(log) as client:
        for form in ("tlog-proof", "html"):
            answer = await client.get("/v1/audit/entries/4/proof", params={"format": form})
            assert "attachment" in answer.headers["content-disposition"]
            (tmp_path / form).write_bytes(answer.content)
            report = verify.verify_file(tmp_path / form, log.notary.verifier)
            assert report.ok, report.findings


@pytest.mark.parametrize("role", ["sre", "member", "affiliate"])
async def test_who_may_not_export_does_not(log: Log, role: str) -> None:
    async with asking(log) as client:
        answer = await client.get("/v1/audit/export", params={"format": "csv"}, headers=token(role))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert await log.pool.fetchval("SELECT count(*) FROM access") == 0
