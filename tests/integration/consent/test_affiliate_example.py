"""The example of docs/affiliates.md, run as any backend would run it: against the topic, with a token, over HTTP."""

import asyncio
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from schemas.topics import DAY_MS, Topic, affiliate_topic
from services.devstack import topics
from services.runtime import kafka
from tests.integration.consent.harness import Service, a_token

EXAMPLE = Path(__file__).parents[3] / "docs/examples/affiliate_consumer.py"
HOST = {"service": "hypermeeting", "role": "host", "phone": "010-1234-5678", "department": "연구1팀", "title": "책임"}


async def run(service: Service, store: Path, prefix: str) -> tuple[int | None, str, str]:
    await service.relayed()
    options = {
        "--bootstrap": service.settings.kafka,
        "--topic": affiliate_topic("tmax-os"),
        "--prefix": prefix,
        "--keys-url": f"{service.url}/v1/keys",
        "--token-env": "AFFILIATE_TOKEN",
        "--store": str(store),
        "--idle": "1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE),
        *(str(part) for option in options.items() for part in option),
        env=os.environ | {"AFFILIATE_TOKEN": a_token("tmax-os", "affiliate")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


async def consume(service: Service, store: Path) -> dict[str, Any]:
    status, out, errors = await run(service, store, service.settings.topic_prefix)
    assert status == 0, errors
    return dict(json.loads(out))


async def test_the_example_keeps_a_store_that_follows_every_change(service: Service, tmp_path: Path) -> None:
    stays = (await service.sign_up(name="머무는이", profiles=[HOST]))["member_ref"]
    revokes = (await service.sign_up(name="거두는이", profiles=[HOST]))["member_ref"]
    leaves = (await service.sign_up(name="떠나는이"))["member_ref"]
    only_os = {"senders": ["tmax-os"]}
    await service.put(stays, 1, "marketing", {"granted": True} | only_os)
    store = tmp_path / "store.sqlite3"
    first = (await consume(service, store))["members"]
    assert {first[ref]["member"]["name"] for ref in (stays, revokes, leaves)} == {"머무는이", "거두는이", "떠나는이"}
    assert first[stays]["marketing"] == {"use": True, "email": False, "sms": False, "night": False}

    await service.patch(stays, 2, {"name": "새이름"})
    await service.put(revokes, 1, "sharing", {"granted": False})
    for step in ("withdrawal", "withdrawal/confirm"):
        await service.post(f"/v1/members/{leaves}/{step}")
    then = await consume(service, store)
    found = then["members"]
    assert (found[stays]["member"]["name"], found[stays]["status"]) == ("새이름", "active")
    assert found[revokes]["member"] is None
    assert found[revokes]["processed"]["items"]["phone"] == "010-1234-5678", "a processor's data is no sharing"
    assert (found[leaves]["member"], found[leaves]["status"]) == (None, "withdrawn")
    assert not {stays, revokes, leaves} & {gap[0] for gap in then["gaps"]}
    from_the_start = await consume(service, tmp_path / "another.sqlite3")
    mine = {ref: from_the_start["members"][ref] for ref in (stays, revokes, leaves)}
    assert mine == {ref: found[ref] for ref in mine}, "a replay from offset 0 ends in the same state"


async def test_the_example_skips_what_was_shredded_and_notes_a_gap(service: Service, tmp_path: Path) -> None:
    shredded = (await service.sign_up())["member_ref"]
    late = (await service.sign_up(name="하나"))["member_ref"]
    await service.relayed()
    await service.consent.keyring.shred(shredded)
    await service.pool.execute("UPDATE held SET prev = 5 WHERE member_ref = $1 AND recipient = 'tmax-os'", late)
    await service.pool.execute("UPDATE member SET seq = 6 WHERE member_ref = $1", late)
    await service.patch(late, 6, {"name": "둘"})
    found = await consume(service, tmp_path / "store.sqlite3")
    assert shredded not in found["members"]
    assert found["members"][late]["member"]["name"] == "둘"
    assert [late, 1, 5] in found["gaps"]


async def test_the_example_refuses_a_record_that_was_moved_to_another_member(service: Service, tmp_path: Path) -> None:
    ref, other = [(await service.sign_up())["member_ref"] for _ in range(2)]
    record = next(r for r in await service.records(affiliate_topic("tmax-os")) if r.key == ref.encode())
    headers = [(k, other.encode() if k == "ce_subject" else v) for k, v in record.headers]
    prefix = f"t{secrets.token_hex(4)}-"
    topic = Topic(affiliate_topic("tmax-os"), 1, DAY_MS)
    await topics.create(str(service.settings.kafka), [topic], prefix=prefix)
    producer = await kafka.producer(service.settings)
    await producer.send_and_wait(prefix + topic.name, value=record.value, key=other.encode(), headers=headers)
    await producer.stop()
    status, _, errors = await run(service, tmp_path / "store.sqlite3", prefix)
    await topics.delete(str(service.settings.kafka), prefix)
    assert status == 1
    assert "sealed for another place" in errors
