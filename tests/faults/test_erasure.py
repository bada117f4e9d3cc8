"""Erased is erased: twenty members full of canaries, then nothing of them anywhere, whatever is replayed or restored.

One affiliate is away for the whole withdrawal; one member's key is destroyed at the legal limit before it is back.
"""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from services.audit import verify
from services.audit.checkpoint import Verifier
from services.devstack import account
from services.devstack.system import System
from tests.faults.test_replay import GROUPS, PROCESSES, _read_to_the_end, _rewind
from tests.support.canaries import Canaries, World, until
from tests.support.expected import AFFILIATES

COUNT = 20
LONG_COUNT = 100
AWAY = "propagator-tmax-os"
TABLES = ("member", "processed_member", "suppressed")
GONE = """
SELECT count(*) FROM suppressed s
WHERE s.member_ref = ANY($1) AND NOT EXISTS (SELECT FROM member m WHERE m.member_ref = s.member_ref)
"""
pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("erasure")]


@dataclass
class Story:
    """What happened to the members, and what was kept from before."""

    world: World
    canaries: Canaries
    folder: Path
    refs: list[str] = field(default_factory=list)
    living: str = ""
    before: dict[str, Any] = field(default_factory=dict)
    proofs: list[Path] = field(default_factory=list)
    checkpoint: str = ""
    seen_while_away: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The canaries, as the scan reads them."""
        return self.canaries.write(self.folder / "canaries.txt")

    @property
    def backup(self) -> Path:
        """Yesterday's dump of one affiliate's store."""
        return self.folder / "tmax-os.dump"


@pytest_asyncio.fixture(scope="module")
async def story(system: System, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Story]:
    told = Story(World(system), Canaries(), tmp_path_factory.mktemp("erasure"))
    await _lived(told, COUNT)
    await _backed_up(told)
    await _erased_while_one_was_away(told)
    yield told
    await told.world.close()


async def _lived(told: Story, count: int) -> None:
    """Everybody signs up and lives; the log proves it. A last one stays: her values are no canaries."""
    world = told.world
    told.refs = await _each(count, lambda number: world.sign_up(told.canaries, number))
    last = await _each(count, lambda number: world.live(told.canaries, told.refs[number]))
    told.living = await world.sign_up(Canaries(), 0)
    await world.settled(last)
    _, told.before = await world.scan(told.file, "--no-residue")
    told.proofs = [await _proof(told, ref) for ref in told.refs]
    told.checkpoint = (await _audit(told, "/v1/audit/checkpoint"))["note"]


async def _backed_up(told: Story) -> None:
    """Dump one store; what changes after it must come back by replay, not by the dump."""
    await _program(told, "pg_dump", "--format=custom", f"--file={told.backup}", _owner(told, "tmax-os"))
    changed = await told.world.ask("PATCH", f"/v1/members/{told.living}", {"name": "나중 이름"}, seq=1)
    await told.world.settled([changed["change_id"]])


async def _erased_while_one_was_away(told: Story) -> None:
    world, limit = told.world, told.refs[0]
    await world.system.stop_process(AWAY)
    await _each(len(told.refs), lambda number: world.leave(told.refs[number]))
    await _each(len(told.refs), lambda number: world.destroy(told.refs[number]))
    await until(lambda: _in_state(world, told.refs, "executing"))
    await _at_the_legal_limit(told, limit)
    await until(lambda: _in_state(world, [limit], "erased"))
    told.seen_while_away = {ref: await _rows(told, "tmax-os", ref) for ref in (limit, told.refs[1])}
    world.system.start_process(AWAY)
    await world.system.wait_ready(AWAY)
    await until(lambda: _in_state(world, told.refs, "erased"))
    await until(lambda: _suppressed_everywhere(told))


@pytest.mark.f(29)
async def test_before_the_erasure_the_scan_sees_them(story: Story) -> None:
    """Otherwise finding nothing afterwards would mean nothing."""
    hits = story.before["hits"]
    for affiliate in AFFILIATES:
        assert hits[f"database {affiliate}: member"] >= COUNT
    assert hits["database consent: member"] >= COUNT
    assert hits["database consent: profile"] >= COUNT
    sealed = [place for place in hits if place.startswith(("topic", "files kafka", "files log", "metrics"))]
    assert sealed == [], "in transit nothing is in clear even while they live"


@pytest.mark.f(29)
async def test_after_it_and_a_purge_no_value_is_anywhere(story: Story) -> None:
    """Tables, statistics, table files, write-ahead log, topics, dead letters, logs, exports, notices, metrics."""
    report = await _purged(story)
    assert report["not_searched"] == []
    assert report["places"] > 100


@pytest.mark.long
async def test_each_member_is_gone_by_reference_too(story: Story) -> None:
    for ref in (story.refs[0], story.refs[-1]):
        status, out, err = await story.world.dongui("erasure", "scan", ref, "--format", "json")
        assert status == 0, out + err
        told = json.loads(out)["member"]
        assert told == {
            "key": "destroyed",
            "values": {},
            "suppressed": dict.fromkeys(AFFILIATES, True),
            "erased": True,
        }
    status, out, _ = await story.world.dongui("erasure", "scan", story.living, "--no-residue", "--format", "json")
    assert (status, json.loads(out)["member"]["key"]) == (3, "present")


async def test_the_store_that_was_away_erased_on_return_though_a_key_was_gone(story: Story) -> None:
    limit, other = story.refs[:2]
    for ref in (limit, other):
        assert story.seen_while_away[ref]["member"] is not None, "it held the member while it was away"
        for affiliate in AFFILIATES:
            assert await _rows(story, affiliate, ref) == {"member": None, "processed_member": None, "suppressed": True}
    cases = {ref: await story.world.ask("GET", f"/v1/erasures/{ref}") for ref in (limit, other)}
    assert (cases[limit]["forced"], cases[other]["forced"]) == (True, False)


@pytest.mark.f(29)
async def test_the_audit_verifies_and_so_does_every_proof_from_before(story: Story) -> None:
    kept = story.folder / "kept.txt"
    kept.write_text(story.checkpoint, encoding="utf-8")
    status, out, err = await story.world.dongui("audit", "verify", "--checkpoint", str(kept), "--format", "json")
    assert status == 0, err
    assert json.loads(out)["ok"]
    key = Verifier.parse((story.world.system.base_dir / "audit.vkey").read_text(encoding="utf-8"))
    assert len(story.proofs) == COUNT
    for proof in story.proofs:
        assert verify.verify_file(proof, key).ok


@pytest.mark.f(29)
async def test_a_replay_of_everything_and_a_restored_backup_revive_nobody(story: Story) -> None:
    """Yesterday's dump of one store, every topic from offset 0 into all of them: only the living are there."""
    system = story.world.system
    living = {a: await _rows(story, a, story.living) for a in AFFILIATES}
    marks = {a: await _watermarks(story, a) for a in AFFILIATES}
    for name in PROCESSES:
        await system.stop_process(name)
    await _restored(story)
    assert (await _rows(story, "tmax-os", story.refs[1]))["member"] is not None, "the dump holds them"
    await _rewind(system)
    seen = asyncio.create_task(_watch(story))
    for name in PROCESSES:
        system.start_process(name)
    for name in PROCESSES:
        await system.wait_ready(name)
    await until(lambda: _read_to_the_end(system))
    assert await seen == [], "nobody came back even for a moment once the store was at work"
    for affiliate in AFFILIATES:
        for ref in story.refs:
            assert await _rows(story, affiliate, ref) == {"member": None, "processed_member": None, "suppressed": True}
    assert {a: await _rows(story, a, story.living) for a in AFFILIATES} == living
    assert {a: await _watermarks(story, a) for a in AFFILIATES} == marks
    await _purged(story)


@pytest.mark.f(29)
@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_hundred_members_leave_no_trace_and_a_purge_takes_residue_away(
    system: System, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How fast members are destroyed, and what a live PostgreSQL holds of them before and after a purge."""
    told = Story(World(system), Canaries(), tmp_path)
    await _lived(told, LONG_COUNT)
    clock = asyncio.get_running_loop().time
    await _each(LONG_COUNT, lambda number: told.world.leave(told.refs[number]))
    started = clock()
    await _each(LONG_COUNT, lambda number: told.world.destroy(told.refs[number]))
    await until(lambda: _in_state(told.world, told.refs, "erased"), 600)
    await until(lambda: _suppressed_everywhere(told))
    took_s = clock() - started
    status, before = await told.world.scan(told.file)
    assert (status, before["hits"]) == (0, {})
    assert before["residue"].get("wal", 0) > 0, "a live PostgreSQL still has it: that is what the purge is for"
    after = await _purged(told)
    await told.world.close()
    with capsys.disabled():
        print(
            f"\n{LONG_COUNT} members destroyed in {took_s:.1f} s ({LONG_COUNT / took_s:.1f}/s); "
            f"{after['places']} places; residue before the purge {before['residue']}, after it none"
        )


async def _purged(told: Story) -> dict[str, Any]:
    """Purge, then find nothing anywhere, PostgreSQL's own files included; return the report."""
    status, _, err = await told.world.dongui("erasure", "purge")
    assert status == 0, err
    status, report = await told.world.scan(told.file, "--strict")
    assert (status, report["hits"], report["residue"]) == (0, {}, {})
    return report


async def _each(count: int, work: Any) -> list[Any]:
    """Do it for every number, four at a time."""
    at_once = asyncio.Semaphore(4)

    async def one(number: int) -> Any:
        async with at_once:
            return await work(number)

    return await asyncio.gather(*(one(number) for number in range(count)))


async def _in_state(world: World, refs: list[str], state: str) -> bool:
    for ref in refs:
        if await world.state(ref) != state:
            return False
    return True


async def _at_the_legal_limit(told: Story, ref: str) -> None:
    """Let five days pass for one case: its last instant to wait for answers is over."""
    await _execute(told, "consent", "UPDATE erasure SET shred_by = now() WHERE member_ref = $1", ref)


async def _suppressed_everywhere(told: Story) -> bool:
    counts = [await _fetchval(told, affiliate, GONE, told.refs) for affiliate in AFFILIATES]
    return counts == [len(told.refs)] * len(AFFILIATES)


async def _rows(told: Story, affiliate: str, ref: str) -> dict[str, Any]:
    connection = await asyncpg.connect(_owner(told, affiliate))
    try:
        found = {
            table: await connection.fetchrow(f"SELECT * FROM {table} WHERE member_ref = $1", ref) for table in TABLES
        }
    finally:
        await connection.close()
    shown = {k: dict(v) if v else None for k, v in found.items()}
    for row in (shown["member"], shown["processed_member"]):
        (row or {}).pop("applied_at", None)
    return shown | {"suppressed": shown["suppressed"] is not None}


async def _watermarks(told: Story, affiliate: str) -> dict[str, int]:
    connection = await asyncpg.connect(_owner(told, affiliate))
    try:
        rows = await connection.fetch(
            "SELECT member_ref::text, seq FROM watermark WHERE member_ref = ANY($1::uuid[])", [*told.refs, told.living]
        )
    finally:
        await connection.close()
    return {row["member_ref"]: row["seq"] for row in rows}


async def _watch(told: Story) -> list[str]:
    """Look at the restored store all the while: from when it applies anything on, no erased member may be in it."""
    seen: list[str] = []
    group, _ = next((g, t) for g, t in GROUPS.items() if g.endswith("tmax-os"))
    connection = await asyncpg.connect(_owner(told, "tmax-os"))
    try:
        async with asyncio.timeout(60):
            while not await connection.fetchval(
                "SELECT bool_and(seq > 1) FROM watermark WHERE member_ref = $1", told.living
            ):
                if await connection.fetchval("SELECT count(*) FROM suppressed WHERE member_ref = ANY($1)", told.refs):
                    back = await connection.fetch("SELECT 1 FROM member WHERE member_ref = ANY($1)", told.refs)
                    seen += [group] * len(back)
                await asyncio.sleep(0.02)
    finally:
        await connection.close()
    return seen


async def _restored(told: Story) -> None:
    """Put the dump in the place of the store, as after a lost disk."""
    admin = await asyncpg.connect(told.world.system.installation.access.admin_dsn)
    try:
        await admin.execute('DROP DATABASE "tmax-os" WITH (FORCE)')
        await admin.execute('CREATE DATABASE "tmax-os" OWNER "tmax-os_owner"')
        await admin.execute('REVOKE ALL ON DATABASE "tmax-os" FROM PUBLIC')
        await admin.execute('GRANT CONNECT ON DATABASE "tmax-os" TO "tmax-os"')
    finally:
        await admin.close()
    await _program(told, "pg_restore", f"--dbname={_owner(told, 'tmax-os')}", "--exit-on-error", str(told.backup))


async def _program(told: Story, name: str, *arguments: str) -> None:
    programs = account.choose(told.world.system.base_dir).programs
    process = await asyncio.create_subprocess_exec(
        str(programs / name), *arguments, env={"PATH": os.environ["PATH"]}, stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 0, err.decode()


async def _fetchval(told: Story, name: str, query: str, *arguments: Any) -> Any:
    connection = await asyncpg.connect(_owner(told, name))
    try:
        return await connection.fetchval(query, *arguments)
    finally:
        await connection.close()


async def _execute(told: Story, name: str, statement: str, *arguments: Any) -> None:
    connection = await asyncpg.connect(_owner(told, name))
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()


def _owner(told: Story, name: str) -> str:
    return told.world.system.installation.access.owner_dsn(name)


async def _proof(told: Story, ref: str) -> Path:
    """Take the proof of a member's first fact away, as a person could."""
    entries = (await _audit(told, f"/v1/audit/entries?member_ref={ref}"))["entries"]
    index = entries[0]["index"]
    found = await _audit(told, f"/v1/audit/entries/{index}/proof")
    path = told.folder / f"{index}.tlog-proof"
    hashes = [base64.b64decode(value) for value in found["path"]]
    text = verify.format_proof(index, base64.b64decode(found["body_base64"]), hashes, found["checkpoint"])
    path.write_text(text, encoding="utf-8")
    return path


async def _audit(told: Story, path: str) -> Any:
    return await told.world.ask("GET", told.world.described["audit_url"] + path, by="compliance")
