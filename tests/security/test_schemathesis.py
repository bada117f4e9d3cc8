"""Schemathesis (F32): every check against every API, on real servers: no 5xx, and nothing the document does not say.

It runs as its users run it, as a program: its own loop, its own phases, its own report of what it found.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
import pytest_asyncio

from services.audit.witness import app as witness
from services.runtime import serving
from tests.integration.consent.harness import a_token
from tests.security.apis import ROLES, Apis
from tests.security.apis import serving as served
from tests.security.places import World
from tests.security.world import settle
from tests.support.servers import REPOSITORY
from tests.unit.audit.test_witness import settings_in

pytestmark = pytest.mark.f(32)
PROGRAM = Path(sys.executable).with_name("schemathesis")
CONFIG = Path(__file__).with_name("schemathesis.toml")
ALL = a_token("shop", *ROLES)
"""Somebody who may do everything: behind no door the code goes untried."""
TIMEOUT_S = 840


@pytest_asyncio.fixture(scope="module")
async def world(apis: Apis) -> World:
    return await settle(apis)


async def attack(url: str, world: World, token: str, folder: Path, *options: str) -> None:
    """Run schemathesis against one API; fail with its report when it found anything."""
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.security.schemathesis_hooks",
        "PYTHONPATH": str(REPOSITORY),
        "DONGUI_WORLD": json.dumps(world.ids),
    }
    location = ["run", f"{url}/openapi.json", "-H", f"Authorization: Bearer {token}"]
    fixed = ["--continue-on-failure", "--no-color", "--generation-database", "none", "--warnings", "off"]
    process = await asyncio.create_subprocess_exec(
        str(PROGRAM),
        *("--config-file", str(CONFIG), *location, *fixed, *options),
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    finally:
        if process.returncode is None:
            process.kill()
    report = output.decode(errors="replace")
    assert process.returncode == 0, report[-20_000:]
    assert "No issues found" in report, report[-20_000:]


@pytest.mark.parametrize(
    ("api", "options"),
    [
        ("consent", ("--phases", "fuzzing", "-n", "1")),
        ("audit", ("--phases", "fuzzing", "-n", "1")),
        ("retention", ("--phases", "fuzzing", "-n", "1")),
    ],
)
async def test_an_api_does_what_its_document_says(
    apis: Apis, world: World, tmp_path: Path, api: str, options: tuple[str, ...]
) -> None:
    await attack(apis.urls[api], world, ALL, tmp_path, "--seed", "1", *options)


@pytest.mark.long
async def test_the_witness_does_what_its_document_says(tmp_path: Path) -> None:
    """It knows no tokens, and its bodies are of a form (C2SP tlog-witness) that no schema can say."""
    nobody = World(dict.fromkeys(("member", "replay", "letter"), "0"))
    with witness.built(settings_in(tmp_path), create=True) as parts:
        config = serving.config(witness.application(parts), "127.0.0.1", 0, concurrency=64, proxies=())
        async with served(config) as url:
            await attack(url, nobody, ALL, tmp_path, "-n", "50", "--exclude-checks", "positive_data_acceptance")


@pytest.mark.long
@pytest.mark.timeout(TIMEOUT_S + 60)
@pytest.mark.parametrize("api", ["consent", "audit", "retention"])
async def test_an_api_does_what_its_document_says_in_every_phase(
    apis: Apis, world: World, tmp_path: Path, seed_long: int, api: str
) -> None:
    """Coverage of every boundary, fuzzing, and sequences of requests along the document's links."""
    await attack(apis.urls[api], world, ALL, tmp_path, "--seed", str(seed_long), "-n", "40")


@pytest.mark.long
@pytest.mark.timeout(TIMEOUT_S + 60)
@pytest.mark.parametrize("who", ["member", "affiliate", "third_party", "nobody"])
async def test_the_document_holds_for_those_who_may_do_little(
    apis: Apis, world: World, tmp_path: Path, seed_long: int, who: str
) -> None:
    sub = {"member": world.ids["member"], "affiliate": "tmax-os", "third_party": "demo-partner"}.get(who, who)
    token = a_token(sub, *([] if who == "nobody" else [who]))
    await attack(apis.urls["consent"], world, token, tmp_path, "--seed", str(seed_long), "-n", "8")
