"""What a running system says of itself: logs, metrics and the bundle have everything but persons and secrets."""

import asyncio
import base64
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest
from typer.testing import CliRunner

from services import cli
from services.devstack.environment import ALL, PARTNER
from services.devstack.system import System
from tests.support.canaries import Canaries, World
from tests.support.operator import Operator

FOLDER = "dongui-diagnostics"


def secrets_of(system: System) -> set[str]:
    """Every password, token and key of the installation, in the forms a text could hold them."""
    access, told = system.installation.access, system.described()
    dsns = [*(told["databases"][n] for n in told["databases"] if n != "affiliates"), access.admin_dsn]
    dsns += [*told["databases"]["affiliates"].values(), *system.installation.owner_dsns().values()]
    found = {dsn.partition("://")[2].partition("@")[0].partition(":")[2] for dsn in dsns}
    found |= set(_texts(told["tokens"])) | set(told["console_accounts"].values())
    for path in (system.base_dir / "secrets").iterdir():
        if path.is_file() and path.stat().st_size <= 64:
            raw = path.read_bytes()
            found |= {raw.hex(), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=")}
    return {one for one in found if len(one) >= 6}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    else:
        yield str(value)


async def live(system: System, canaries: Canaries) -> list[str]:
    """Members full of canaries sign up, correct, are refused; return their references."""
    world = World(system)
    try:
        refs = [await world.sign_up(canaries, number) for number in range(2)]
        one = await world.ask("GET", f"/v1/members/{refs[0]}")
        await world.ask("PATCH", f"/v1/members/{refs[0]}", {"name": canaries.hangul}, seq=one["seq"])
        for wrong in ({"email": canaries.text("x")}, {"no_such": canaries.text("y")}):
            answer = await world._client.request(
                "PATCH",
                f"/v1/members/{refs[0]}",
                json=wrong,
                headers={"Authorization": f"Bearer {world.described['tokens']['service']}", "If-Match": "*"},
            )
            assert answer.status_code == 422
    finally:
        await world.close()
    return refs


def opened(file: Path) -> dict[str, str]:
    """Return the parts of a bundle."""
    with tarfile.open(file) as archive:
        members = {m.name.removeprefix(f"{FOLDER}/"): archive.extractfile(m) for m in archive}
        return {name: found.read().decode() for name, found in members.items() if found is not None}


def free_of(text: str, forbidden: set[str], where: str) -> None:
    assert [one[:12] for one in forbidden if one in text] == [], where


@pytest.mark.timeout(240)
async def test_logs_metrics_and_the_bundle_hold_no_person_and_no_secret(system: System, tmp_path: Path) -> None:
    canaries = Canaries()
    refs = await live(system, canaries)
    secrets = secrets_of(system)
    assert len(secrets) > 25
    planted = system.base_dir / "log" / "zz-a-library.log"
    dsn, token = system.described()["databases"]["consent"], system.described()["tokens"]["sre"]
    planted.write_text(
        f"kept as it is\nsent to {canaries.marker}@example.kr {canaries.hangul} {canaries.phone()}\n{dsn} {token}\n"
    )
    personal = {canaries.marker, canaries.hangul, *canaries.phones}
    file = tmp_path / "bundle.tar.gz"
    try:
        done = await Operator(system)("doctor", "--bundle", str(file), "--format", "json")
    finally:
        planted.unlink()
    checked = {c["name"]: c["state"] for c in json.loads(done.stdout)}
    assert {checked[f"process {name}"] for name in ALL} == {"ok"}
    parts = opened(file)
    for name, text in parts.items():
        free_of(text, personal | secrets, name)
        assert not any(f'"member_ref":"{ref}"' in text for ref in refs), name
    assert "kept as it is" in parts["log/zz-a-library.log"]
    await _is_complete(system, parts)
    for name in set(ALL) - {PARTNER}:
        text = (system.base_dir / "log" / f"{name}.log").read_text()
        free_of(text, personal | secrets, f"log of {name}")
        for line in text.splitlines():
            assert isinstance(orjson.loads(line), dict), f"{name}: not a line of JSON"
        free_of(httpx.get(f"{system.url(name)}/metrics", timeout=10).text, personal | secrets | set(refs), name)


async def _is_complete(system: System, parts: dict[str, str]) -> None:
    """Each part says something, and nothing it says is that it could not be known."""
    said = {name: json.loads(text) for name, text in parts.items() if name.endswith(".json")}
    assert not any("not_known" in text for text in parts.values())
    assert said["settings.json"]
    assert said["versions.json"]["faust-streaming"] == "0.15.3"
    assert said["kafka.json"]["topics"]["dongui.facts.v1"]["partitions"] == 8
    assert said["kafka.json"]["topics"]["dongui.facts.v1"]["records"] > 0
    assert "dongui-propagator-tmax-os" in said["kafka.json"]["groups"]
    assert set(said["outboxes.json"]) >= {"consent", "notices", "tmax-os"}
    assert said["migrations.json"]["consent"]["pending"] == []
    assert said["ledger.json"].keys() == {"status", "canaries", "dead_letters_handled", "duties"}
    assert said["processes.json"].keys() == set(ALL)
    assert said["processes.json"]["consent"]["readyz"]["status"] == 200
    assert "dongui_oldest_unapplied_withdrawal_seconds" in parts["metrics/consent.txt"]
    assert {f"log/{name}.log" for name in ALL} <= parts.keys()


async def test_a_bundle_of_a_system_that_is_away_says_so_part_by_part(tmp_path: Path) -> None:
    file = tmp_path / "bundle.tar.gz"
    variables = {
        "DONGUI_DATA_DIR": str(tmp_path),
        "DONGUI_PROFILE": "dev",
        "DONGUI_KAFKA": "127.0.0.1:1",
        "DONGUI_CONSENT_DSN": "postgresql://consent:pass-word-of-it@127.0.0.1:1/consent",
        "DONGUI_CONSENT_URL": "http://127.0.0.1:1",
        "DONGUI_SERVICE_TOKEN": "token-of-it",
        "DONGUI_PROCESS_URLS": '{"consent": "http://127.0.0.1:1"}',
    }
    arguments = ["doctor", "--bundle", str(file)]
    done = await asyncio.to_thread(CliRunner(env=variables).invoke, cli.build(arguments), arguments)
    assert done.exit_code == 1
    assert "Traceback" not in done.output
    parts = opened(file)
    free_of("".join(parts.values()), {"pass-word-of-it", "token-of-it"}, "bundle")
    assert json.loads(parts["kafka.json"]) == {"not_known": "KafkaUnreachableError"}
    assert json.loads(parts["outboxes.json"]) == {"consent": {"not_known": "ConnectionRefusedError"}}
    assert json.loads(parts["processes.json"]) == {"consent": {"not_known": "ConnectError"}}
