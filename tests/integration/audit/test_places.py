"""Checkpoints leave the database: to folders that are never overwritten and to a real witness, which may say no."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaProducer
from structlog.testing import capture_logs

from services.audit import checkpoint, cosignature, store
from services.audit.agents import Parts
from services.audit.anchors import FAILED, Anchors
from services.audit.places import Folder, Witness
from services.audit.witness import app as witness
from services.runtime.clock import utc_now
from services.runtime.settings import Settings
from tests.integration.audit import records
from tests.integration.audit.conftest import until, writing

NAME = "witness.example/w1"
COUNT = "SELECT count(*) FROM entry"
SIGNED = "SELECT max(size) FROM checkpoint"
CUT = "DELETE FROM anchored; DELETE FROM checkpoint WHERE size > 3; DELETE FROM entry WHERE index >= 3"


@pytest.fixture
async def anchors(parts: Parts, tmp_path: Path) -> AsyncIterator[Anchors]:
    """A witness and a folder, apart from the log's own data directory."""
    (tmp_path / "seed").write_bytes(bytes(range(1, 33)))
    (tmp_path / "logs").write_text(parts.notary.verifier.vkey())
    settings = Settings(
        data_dir=tmp_path / "apart",
        witness_name=NAME,
        witness_signing_key_file=tmp_path / "seed",
        witness_logs_file=tmp_path / "logs",
    )
    with witness.built(settings, create=True) as made:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(witness.application(made))) as client:
            key = cosignature.cosigner_key(made.vkey)
            places = [Witness("http://witness", key, client)], [Folder("copy-1", tmp_path / "copies")]
            yield Anchors(parts.pool, *places, utc_now)


async def grown(parts: Parts, producer: AIOKafkaProducer, goal: int) -> None:
    missing = goal - await parts.pool.fetchval(COUNT)
    for _ in range(missing):
        await records.send(producer, parts.settings.topic_prefix, records.a_fact(records.a_member(), 1))
    async with writing(parts):
        await until(parts.pool, SIGNED, goal)


async def test_growth_is_cosigned_and_kept_in_the_folder_with_its_leaves(
    parts: Parts, producer: AIOKafkaProducer, anchors: Anchors, tmp_path: Path
) -> None:
    for goal in (3, 8):
        await grown(parts, producer, goal)
        await anchors.push()
        await anchors.push()  # a second time changes nothing
    assert anchors.agrees
    note = (tmp_path / "copies/8.txt").read_text()
    assert checkpoint.open_checkpoint(note, parts.notary.verifier).size == 8
    key = cosignature.cosigner_of(NAME, bytes(range(1, 33)))
    assert [one.name for one in cosignature.cosigned(note, [key])] == [NAME]
    kept = b"".join((tmp_path / f"copies/{size}.leaves").read_bytes() for size in (3, 8))
    bodies = [row["body"] for row in await parts.pool.fetch("SELECT body FROM entry ORDER BY index")]
    assert kept == b"".join(hashlib.sha256(b"\x00" + body).digest() for body in bodies)
    latest = await store.latest_checkpoint(parts.pool)
    assert latest is not None
    assert await store.cosigned_note(parts.pool, latest) == note


@pytest.mark.f(25)
async def test_a_log_that_was_cut_back_is_refused_by_every_place(
    parts: Parts, producer: AIOKafkaProducer, anchors: Anchors, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    for goal in (3, 8):
        await grown(parts, producer, goal)
        await anchors.push()
    before = {path.name: path.read_bytes() for path in (tmp_path / "copies").iterdir()}
    await owner.execute(CUT)
    await anchors.push()
    assert anchors.refused == {NAME, "copy-1"}
    assert {path.name: path.read_bytes() for path in (tmp_path / "copies").iterdir()} == before


@pytest.mark.f(25, 27)
async def test_a_rewritten_log_signed_with_the_stolen_key_is_refused_by_every_place(
    parts: Parts, producer: AIOKafkaProducer, anchors: Anchors, owner: asyncpg.Connection
) -> None:
    await grown(parts, producer, 8)
    await anchors.push()
    leaf = hashlib.sha256(b"\x00{}").digest()
    root = leaf
    for _ in range(3):
        root = hashlib.sha256(b"\x01" + root + root).digest()
    forged = checkpoint.sign(checkpoint.Checkpoint("dongui.kr/audit", 8, root), bytes(range(32)))
    await owner.execute("DELETE FROM anchored; UPDATE entry SET body = '{}', leaf_hash = sha256('\\x007b7d')")
    await owner.execute("UPDATE checkpoint SET root = $1, note = $2", root, forged)
    await anchors.push()
    assert anchors.refused == {NAME, "copy-1"}


async def test_a_witness_that_is_away_is_tried_again_and_is_no_alarm(
    parts: Parts, producer: AIOKafkaProducer, anchors: Anchors
) -> None:
    await grown(parts, producer, 3)
    good = anchors.witnesses[0]
    async with httpx.AsyncClient(trust_env=False) as client:
        anchors.witnesses[0] = Witness("http://127.0.0.1:9", good._key, client)  # the discard port: nobody listens
        await anchors.push()
    assert anchors.agrees
    assert await parts.pool.fetchval("SELECT array_agg(place) FROM anchored WHERE place <> 'data-dir'") == ["copy-1"]
    anchors.witnesses[0] = good
    await anchors.push()
    assert await parts.pool.fetchval("SELECT count(*) FROM anchored WHERE cosignatures <> ''") == 1


class Stranger:
    """Somebody else's server: breaks in every way it has, one after another, and cosigns in the end."""

    def __init__(self) -> None:
        self.left: list[Callable[[], httpx.Response]] = [
            lambda: httpx.Response(200, text=f"{FOREIGN}\n{FOREIGN}"),
            lambda: httpx.Response(200, content=endless()),
            lambda: httpx.Response(200, headers={"content-type": "text/plain; charset=zlib"}, content=b"x"),
            lambda: httpx.Response(409, headers={"content-type": "text/x.tlog.size"}, text="many"),
            self.broken,
        ]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.left:
            return self.left.pop(0)()
        text = checkpoint.text_part(request.content.decode().split("\n\n", 1)[1])
        return httpx.Response(200, text=cosignature.cosign(text, NAME, bytes(range(1, 33)), 1679315147))

    @staticmethod
    def broken() -> httpx.Response:
        raise RuntimeError("what nobody foresaw")


FOREIGN = cosignature.cosign("text\n", "other.example/w", bytes(32), 1679315147)


async def endless() -> AsyncIterator[bytes]:
    while True:
        await asyncio.sleep(0)
        yield b"x" * 4096


async def test_whatever_a_witness_answers_the_log_goes_on(parts: Parts, producer: AIOKafkaProducer) -> None:
    """Found in review: one answer ended the writer, and again after every restart."""
    stranger, failures = Stranger(), FAILED.labels(NAME)._value
    before = failures.get()
    key = cosignature.cosigner_of(NAME, bytes(range(1, 33)))
    async with httpx.AsyncClient(transport=httpx.MockTransport(stranger)) as client:
        outside = Anchors(parts.pool, [Witness("http://witness", key, client)], parts.anchors.folders, utc_now)
        quick = replace(parts, anchors=outside, settings=parts.settings.model_copy(update={"anchor_interval_s": 0.1}))
        with capture_logs() as said:
            async with writing(quick):
                for size in (1, 2):
                    await records.send(producer, parts.settings.topic_prefix, records.a_fact(records.a_member(), 1))
                    await until(parts.pool, COUNT, size)
                    await until(parts.pool, f"SELECT max(size) FROM anchored WHERE place = '{NAME}'", size)
            endings = [line for line in said if line["event"] == "audit_writer_ended"]
    assert (stranger.left, endings, outside.agrees) == ([], [], True)
    assert failures.get() - before == 5
    assert await parts.pool.fetchval("SELECT max(size) FROM anchored WHERE place = 'data-dir'") == 2


async def test_a_witness_that_knows_more_than_a_new_log_process_is_caught_up(
    parts: Parts, producer: AIOKafkaProducer, anchors: Anchors
) -> None:
    """The log forgot what the witness knows (a restart): the witness's 409 tells it from where to prove."""
    await grown(parts, producer, 3)
    await anchors.push()
    await grown(parts, producer, 8)
    anchors.witnesses[0]._size = 0  # type: ignore[attr-defined]
    await anchors.push()
    assert anchors.agrees
    assert await parts.pool.fetchval("SELECT max(size) FROM anchored WHERE cosignatures <> ''") == 8


async def test_a_folder_that_is_lost_is_filled_again(
    parts: Parts, producer: AIOKafkaProducer, anchors: Anchors, tmp_path: Path
) -> None:
    await grown(parts, producer, 3)
    await anchors.push()
    shutil.rmtree(tmp_path / "copies")
    await grown(parts, producer, 8)
    await anchors.push()
    assert len((tmp_path / "copies/8.leaves").read_bytes()) == 8 * 32
