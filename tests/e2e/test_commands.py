"""What operators and compliance staff ask by command, of a system that runs."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from services import cli
from tests.e2e.client import Client
from tests.support.expected import AFFILIATES

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def as_operator(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DONGUI_DATA_DIR", str(client.system.base_dir))
    monkeypatch.setenv("DONGUI_PROFILE", "dev")
    for name in ("consent_url", "audit_url", "kafka"):
        monkeypatch.setenv(f"DONGUI_{name.upper()}", client.described[name])
    monkeypatch.setenv("DONGUI_SERVICE_TOKEN", client.token("compliance"))


async def dongui(*arguments: str) -> Result:
    done = await asyncio.to_thread(CliRunner().invoke, cli.build(arguments), list(arguments))
    assert done.exit_code == 0, done.output
    return done


async def asked(*arguments: str) -> Any:
    return json.loads((await dongui(*arguments, "--format", "json")).stdout)


@pytest.mark.usefixtures("as_operator")
async def test_status_names_every_affiliate_what_is_owed_and_the_log(client: Client) -> None:
    ref = (await client.sign_up())["member_ref"]
    told = await asked("status")
    assert set(AFFILIATES) <= {one["recipient"] for one in told["recipients"]}
    assert all(one["seconds"] >= 0 for one in told["recipients"])
    before = told["open_duties"]
    assert before["all"] == before["open"] + before["warning"] + before["late"]
    request = {"member_ref": ref, "type": "access", "channel": "written", "received_at": "2026-11-24T10:00:00+09:00"}
    await client.ask("POST", "/v1/rights-requests", request)
    assert (await asked("status"))["open_duties"]["all"] == before["all"] + 1
    shown = (await dongui("status")).stdout
    assert all(affiliate in shown for affiliate in AFFILIATES)
    assert f"open duties                  {before['all'] + 1} (" in shown
    assert "sealed tree size" in shown


@pytest.mark.usefixtures("as_operator")
async def test_a_query_is_one_document_and_an_export_goes_where_it_is_sent(client: Client, tmp_path: Path) -> None:
    made = await client.sign_up()
    await client.followed(made["change_id"])
    entries = (await asked("audit", "query", "--member", made["member_ref"]))["entries"]
    assert len(entries) == 4, "the fact and three answers"
    assert {one["member_ref"] for one in entries} == {made["member_ref"]}
    nobody = await asked("audit", "query", "--member", "00000000-0000-0000-0000-000000000009")
    assert nobody == {"entries": []}
    file = tmp_path / "export.ndjson"
    member = ("--member", made["member_ref"])
    await dongui("audit", "export", *member, "--output", str(file))
    printed = (await dongui("audit", "export", *member, "--format", "json", "--output", "-")).stdout
    shown, kept = printed.splitlines(), file.read_text(encoding="utf-8").splitlines()
    assert min(len(shown), len(kept)) > len(entries), "the entries and what they are proved by"
    assert _shapes(shown) == _shapes(kept)  # their number may differ: who looked is an entry of the member, too


def _shapes(lines: list[str]) -> set[tuple[str, ...]]:
    return {tuple(sorted(json.loads(line))) for line in lines}


async def test_every_process_answers_its_probes_below_its_address(client: Client) -> None:
    async with httpx.AsyncClient() as http:
        for url in (*client.described["process_urls"].values(), client.described["console_url"]):
            for probe in ("livez", "readyz", "metrics"):
                assert (await http.get(f"{url}/{probe}")).status_code == 200, f"{url}/{probe}"
