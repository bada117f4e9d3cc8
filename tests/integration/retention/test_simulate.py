"""`dongui retention simulate` as a shell runs it, against both services."""

import asyncio
import json
import os
import sys
from typing import Any

from tests.integration.consent.harness import a_token, bearer
from tests.integration.retention.harness import Pair

CASE = {"class": "dispute", "fields": {"ticket_id": "T-9"}}


async def dongui(pair: Pair, *arguments: str) -> tuple[int, str, str]:
    told = {
        "DONGUI_CONSENT_URL": pair.service.url,
        "DONGUI_RETENTION_URL": str(pair.http.base_url),
        "DONGUI_SERVICE_TOKEN": a_token("ops", "service"),
        "DONGUI_DATA_DIR": str(pair.service.settings.data_dir),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.cli",
        *arguments,
        env=os.environ | told,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def simulated(pair: Pair, as_of: str, until: str) -> dict[str, Any]:
    code, out, err = await dongui(pair, "retention", "simulate", "--as-of", as_of, "--until", until, "--format", "json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


async def test_it_lists_both_places_with_day_rule_and_reason(pair: Pair) -> None:
    _, (here,) = await pair.member_with(CASE)
    left, (gone,) = await pair.member_with(CASE)
    await pair.moved(left)
    found = await simulated(pair, "2026-11-24", "2029-10-02")
    mine = {r["record_id"]: r for r in found["records"] if r["record_id"] in {here, gone}}
    assert {r["place"] for r in mine.values()} == {"consent", "retention"}
    # 3 years from Thursday 2026-10-01: Monday 2029-10-01 is the last day.
    assert {r["destroyed_on"] for r in mine.values()} == {"2029-10-02"}
    assert mine[gone]["rule"] == "ecommerce.dispute"
    assert mine[gone]["why"] == "불만 또는 분쟁의 처리를 마친 날 2026-10-01, 3년 → 2029-10-01까지 보존"
    assert found["counts"]["dispute"] == sum(found["series"]["by_class"]["dispute"])
    assert not {here, gone} & {r["record_id"] for r in (await simulated(pair, "2026-11-24", "2029-10-01"))["records"]}


async def test_a_console_gets_the_same_numbers_for_a_plot_and_no_record(pair: Pair) -> None:
    left, _ = await pair.member_with(CASE)
    await pair.moved(left)
    await pair.member_with(CASE)
    days = {"as_of": "2026-11-24", "until": "2029-10-02"}
    told = await pair.http.get("/v1/retention/forecast", params=days, headers=bearer(a_token("cpo-1", "cpo")))
    assert told.status_code == 200, told.text
    command = await simulated(pair, *days.values())
    assert told.json() == {name: command[name] for name in ("as_of", "until", "counts", "held", "rules", "series")}
    won = {rule["rule"]: rule for rule in told.json()["rules"]}["ecommerce.dispute"]
    assert (won["class"], won["statute"]) == ("dispute", "전자상거래법 6조, 시행령 6조 1항 4호")
    assert won["count"] == told.json()["counts"]["dispute"] >= 2


async def test_the_forecast_is_for_officers_and_its_days_are_in_order(pair: Pair) -> None:
    officer, path = bearer(a_token("cpo-1", "cpo")), "/v1/retention/forecast"
    days = {"as_of": "2026-11-24", "until": "2026-11-23"}
    refused = await pair.http.get(path, params=days, headers=officer)
    assert (refused.status_code, refused.json()["code"]) == (422, "days_out_of_range")
    sre = await pair.http.get(path, params=days, headers=bearer(a_token("ops", "sre")))
    assert sre.status_code == 403
    assert (await pair.http.get(path, params=days | {"until": "soon"}, headers=officer)).status_code == 422


async def test_days_that_are_none_are_a_usage_error(pair: Pair) -> None:
    for days in (("2026-11-24", "2026-11-23"), ("yesterday", "2026-11-23"), ("2026-11-24", "2056-11-24")):
        code, out, _ = await dongui(pair, "retention", "simulate", "--as-of", days[0], "--until", days[1])
        assert (code, out) == (2, "")
