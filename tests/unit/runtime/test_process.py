"""A process that cannot go on says so in one line of JSON, without the text of what went wrong."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from services.devstack.environment import inherited

CANARY = "zq7f3a91 hong@example.com 010-1234-5678"
FAILING = f"""
import warnings
from services.runtime import process
async def work(settings):
    warnings.warn({CANARY!r})
    raise ValueError({CANARY!r})
process.serve(work)
"""


def ended(arguments: Sequence[str], variables: Mapping[str, str]) -> list[dict[str, object]]:
    """Run Python on what cannot go on; return the lines it left, all of them JSON and none with the canary."""
    argv = [sys.executable, *arguments]
    done = subprocess.run(argv, env=inherited() | variables, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stdout == ""
    assert CANARY not in done.stderr
    return [orjson.loads(line) for line in done.stderr.splitlines()]


def test_missing_settings_are_named() -> None:
    (line,) = ended(["-m", "services.propagator", "--notices"], {})
    assert (line["event"], line["error"]) == ("process_failed", "MissingSettingsError")
    assert "DONGUI_NOTICES_DSN" in str(line["told"])


def test_every_process_begins_and_ends_that_way() -> None:
    mains = sorted((Path(__file__).resolve().parents[3] / "services").rglob("__main__.py"))
    assert len(mains) == 6
    assert [p for p in mains if "process.serve(" not in p.read_text(encoding="utf-8")] == []


def test_a_setting_that_is_no_good_is_named_and_its_value_is_not_shown() -> None:
    (line,) = ended(["-m", "services.consent"], {"DONGUI_CONSENT_PORT": CANARY, "DONGUI_RELAY_SHARDS": CANARY})
    assert line["event"] == "settings_invalid"
    assert line["settings"] == ["DONGUI_CONSENT_PORT", "DONGUI_RELAY_SHARDS"]


def test_what_ends_a_process_and_what_warns_of_it_are_lines_without_their_text() -> None:
    warned, failed = ended(["-W", "always", "-c", FAILING], {})
    assert (warned["logger"], warned["level"]) == ("py.warnings", "warning")
    assert (failed["event"], failed["error"]) == ("process_failed", "ValueError")
