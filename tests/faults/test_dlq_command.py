"""`dongui dlq` on the whole system: shown without values, sent again once readable, nothing lost when killed."""

import asyncio
import os
import signal
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from schemas import codec
from schemas.envelope import Envelope, to_headers
from schemas.events import MemberPart, Projection
from services.devstack.system import System
from services.keyring import derive
from services.keyring.keyring import Keyring
from services.keyring.provider import open_kek
from services.runtime import postgres
from services.runtime.settings import Settings
from tests.faults.conftest import eventually
from tests.faults.test_poison import headers
from tests.support.operator import Operator, variables

AFFILIATE = "tmax-os"
TOPIC = f"dongui.affiliate.{AFFILIATE}.v1"
AT = datetime(2026, 11, 24, tzinfo=UTC)


async def send(system: System, member: str, value: bytes, found: list[tuple[str, bytes]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=system.stack.bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait(TOPIC, value=value, key=member.encode(), headers=found)
    finally:
        await producer.stop()


async def letters_of(operator: Operator, member: str) -> list[dict[str, str]]:
    return [row for row in await operator.json("dlq", "list", "--all") if row["headers"].get("ce_subject") == member]


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_a_letter_is_shown_without_its_values_and_discarded_for_a_reason(system: System) -> None:
    operator, member, canary = Operator(system), str(uuid.uuid4()), f"canary{uuid.uuid4().hex}@example.kr"
    stop = {"ce_dataschema": "urn:dongui:stop:v1", "content-type": "application/json"}
    await send(system, member, f'{{"email":"{canary}"}}'.encode(), headers(member, **stop, ce_source=canary))

    async def arrived() -> bool:
        return bool(await letters_of(operator, member))

    await eventually(arrived)
    (letter,) = await letters_of(operator, member)
    assert (letter["state"], letter["topic"]) == ("open", TOPIC)
    shown = await operator("dlq", "show", letter["id"])
    assert shown.exit_code == 0
    assert canary not in shown.output
    assert "email" in shown.output
    assert (await operator("dlq", "discard", letter["id"], "--reason", "made by a test")).exit_code == 0
    (after,) = await letters_of(operator, member)
    assert after["state"] == "discarded"
    assert (await operator("dlq", "redrive", letter["id"])).exit_code == 1
    assert (await operator("dlq", "show", str(uuid.uuid4()))).exit_code == 1


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_records_are_applied_once_their_keys_are_back_however_often_redriving_is_killed(system: System) -> None:
    operator, members = Operator(system), [str(uuid.uuid4()) for _ in range(4)]
    dsn = system.installation.access.owner_dsn("keyring")
    pool = await postgres.open_pool(dsn, size=2)
    try:
        async with open_kek(Settings(kek_file=system.installation.keys.kek)) as kek:
            keyring = Keyring(pool, kek)
            keys = {ref: await keyring.create(ref) for ref in members}
        rows = await pool.fetch("DELETE FROM member_key WHERE member_ref = ANY($1::uuid[]) RETURNING *", members)
        for ref in members:
            await send(system, ref, *_sealed(ref, keys[ref]))

        async def dead() -> bool:
            return all([len(await letters_of(operator, ref)) == 1 for ref in members])

        await eventually(dead)
        columns = ", ".join(rows[0].keys())
        places = ", ".join(f"${i + 1}" for i in range(len(rows[0])))
        await pool.executemany(f"INSERT INTO member_key ({columns}) VALUES ({places})", [tuple(r) for r in rows])
    finally:
        await pool.close()
    ids = [(await letters_of(operator, ref))[0]["id"] for ref in members]
    for seconds in (1.5, 2.5):
        await _killed(system, seconds, "dlq", "redrive", *ids)
    done = await operator.json("dlq", "redrive", *ids)
    assert [row["state"] for row in done] == ["redriven"] * len(ids)

    async def applied() -> bool:
        connection = await asyncpg.connect(system.installation.access.owner_dsn(AFFILIATE))
        try:
            names = "SELECT count(*) FROM member WHERE member_ref = ANY($1::uuid[]) AND name = '다시'"
            return bool(await connection.fetchval(names, members) == len(members))
        finally:
            await connection.close()

    await eventually(applied)
    assert {row["state"] for ref in members for row in await letters_of(operator, ref)} == {"redriven"}


def _sealed(ref: str, data_key: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    part = MemberPart(email="d@example.kr", name="다시", password_hash="$argon2id$x", status="active", signed_up_at=AT)
    change = str(uuid.uuid4())
    shape = Projection(
        change_id=change, member_ref=ref, seq=1, prev=0, at=AT, member=part, marketing=None, processed=None
    )
    envelope = Envelope(
        id=str(uuid.uuid4()),
        type="kr.dongui.member.corrected.v1",
        source="/dongui/consent",
        subject=ref,
        sequence=1,
        previous=0,
        time=AT,
        dataschema="urn:dongui:projection:v1",
        content_type="application/jose",
        change_id=change,
    )
    kid = derive.format_kid(AFFILIATE, ref, 1)
    value = codec.seal(shape, key=derive.content_key(data_key, kid), kid=kid, topic=TOPIC)
    return value, [(n, v.encode()) for n, v in to_headers(envelope).items()]


async def _killed(system: System, seconds: float, *arguments: str) -> None:
    """Run the command as a process and kill it, wherever it is by then."""
    env = {n: v for n, v in os.environ.items() if not n.startswith("DONGUI_")} | variables(system)
    null = asyncio.subprocess.DEVNULL
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.cli",
        *arguments,
        env=env,
        stdout=null,
        stderr=null,
        cwd=Path(__file__).parents[2],
    )
    try:
        await asyncio.wait_for(child.wait(), seconds)
    except TimeoutError:
        child.send_signal(signal.SIGKILL)
        await child.wait()
