"""The receiver of docs/notices.md, run as it is printed there, against the real sender."""

import asyncio
import contextlib
import json
import runpy
import sys
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from services.devstack.ports import free_ports
from services.propagator.notices.signing import Signer, secret_of
from services.runtime.settings import Settings
from tests.integration.notices.conftest import (
    PARTNER,
    SECRET,
    SEED,
    KeyService,
    sealed_notice,
    sending,
    taken,
    until,
)
from tests.support.servers import REPOSITORY

EXAMPLE = REPOSITORY / "docs" / "examples" / "notice_receiver.py"


@contextlib.asynccontextmanager
async def _example(environment: dict[str, str]) -> AsyncIterator[str]:
    port = free_ports(1)[0]
    command = [sys.executable, str(EXAMPLE), str(port)]
    process = await asyncio.create_subprocess_exec(*command, env={"PATH": "/usr/bin:/bin", **environment})
    try:
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}/webhook"
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize(
    "keys",
    [
        {"NOTICE_PUBLIC_KEY": Signer(SEED).public_key},
        {"NOTICE_SECRET": SECRET},
    ],
    ids=["ed25519", "hmac"],
)
async def test_the_printed_receiver_verifies_and_acknowledges(
    settings: Settings, key_service: KeyService, keys: dict[str, str]
) -> None:
    async with _example(keys) as url:
        told = settings.model_copy(update={"third_parties": {PARTNER: {"url": url, "secret": SECRET}}})
        async with sending(told) as parts:
            await parts.ingest.apply(taken(sealed_notice(key_service)))
            await until(parts.pool, "SELECT outcome FROM notice", "not_held")


@pytest.mark.f(21)
async def test_the_printed_receiver_refuses_what_is_forged_or_old() -> None:
    body = json.dumps(
        {
            "type": "kr.dongui.member.corrected.v1",
            "data": {"member_ref": str(uuid.uuid4()), "sequence": 1, "values": {}},
        }
    ).encode()
    good = Signer(SEED).headers("m-1", datetime.now(UTC), body, secret_of(SECRET))
    old = Signer(SEED).headers("m-1", datetime.fromtimestamp(time.time() - 360, UTC), body, secret_of(SECRET))
    other = Signer(bytes(32)).headers("m-1", datetime.now(UTC), body, secret_of(SECRET))
    only_v1 = good | {"webhook-signature": good["webhook-signature"].split(" ")[1]}
    async with _example({"NOTICE_PUBLIC_KEY": Signer(SEED).public_key}) as url, aiohttp.ClientSession() as client:

        async def status(content: bytes, headers: dict[str, str]) -> int:
            async with client.post(url, data=content, headers=headers) as answer:
                return answer.status

        assert await status(body, good) == 200
        assert await status(body + b" ", good) == 401
        assert await status(body, good | {"webhook-id": "m-2"}) == 401
        assert await status(body, old) == 401
        assert await status(body, other) == 401
        assert await status(body, only_v1) == 401
        assert await status(body, {}) == 401


@pytest.mark.f(24)
def test_the_printed_receiver_keeps_the_newest_value() -> None:
    example: dict[str, Any] = runpy.run_path(str(EXAMPLE))
    ref = str(uuid.uuid4())
    example["STORE"][ref] = {"sequence": 1, "email": "old@example.kr"}
    assert example["correct"]({"member_ref": ref, "sequence": 3, "values": {"email": "new@example.kr"}}) == "corrected"
    assert example["correct"]({"member_ref": ref, "sequence": 2, "values": {"email": "late@example.kr"}}) == "corrected"
    assert example["STORE"][ref] == {"sequence": 3, "email": "new@example.kr"}


def test_the_printed_receiver_does_not_answer_for_what_it_has_yet_to_pull() -> None:
    example: dict[str, Any] = runpy.run_path(str(EXAMPLE))
    ref, path = str(uuid.uuid4()), "/v1/notices/n-1"
    example["STORE"][ref] = {"sequence": 1, "email": "old@example.kr"}
    told = {"member_ref": ref, "sequence": 2, "values": {}, "withheld": ["email"], "pull": path}
    assert example["correct"](told) is None
    assert example["TO_PULL"] == [path]
    assert example["STORE"][ref] == {"sequence": 1, "email": "old@example.kr"}
