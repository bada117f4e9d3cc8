"""A process that cannot go on says so in one line of JSON, without the text of what went wrong."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
import pytest

from services.devstack.environment import inherited

CANARY = "zq7f3a91 hong@example.com 010-1234-5678"
FAILING = f"""
import warnings
from services.runtime import process
async def work(settings):
    warnings.warn({CANARY!r})
    raise ValueError({CANARY!r})
process.serve("dongui-test", work)
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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DONGUI_STAFF_TOKENS", f'{{"kim":"{CANARY}"'),
        ("DONGUI_STAFF_TOKENS", f'{{"kim":["{CANARY}"]}}'),
        ("DONGUI_THIRD_PARTIES", f'{{"demo-partner":"{CANARY}"}}'),
        ("DONGUI_CHECKPOINT_COPIES", CANARY),
        ("DONGUI_LOG_LEVEL", CANARY),
    ],
)
def test_json_that_is_none_and_a_level_nobody_knows_are_named_too(name: str, value: str) -> None:
    (line,) = ended(["-m", "services.retention"], {name: value})
    assert (line["event"], line["settings"]) == ("settings_invalid", [name])


def test_a_witness_without_its_state_says_what_a_first_start_needs(tmp_path: Path) -> None:
    (tmp_path / "seed").write_bytes(bytes(32))
    (tmp_path / "logs").write_text("")
    variables = {
        "DONGUI_DATA_DIR": str(tmp_path),
        "DONGUI_WITNESS_SIGNING_KEY_FILE": str(tmp_path / "seed"),
        "DONGUI_WITNESS_LOGS_FILE": str(tmp_path / "logs"),
    }
    (line,) = ended(["-m", "services.audit.witness"], variables)
    assert (line["event"], line["error"]) == ("process_failed", "StateError")
    assert "a first start needs --create" in str(line["told"])


def test_a_key_that_cannot_be_used_ends_a_process_with_its_code(tmp_path: Path) -> None:
    (tmp_path / "kek").write_bytes(bytes(32))
    (tmp_path / "kek").chmod(0o644)
    variables = {
        "DONGUI_PROFILE": "dev",
        "DONGUI_KAFKA": "127.0.0.1:1",
        "DONGUI_CONSENT_URL": "http://127.0.0.1:1",
        "DONGUI_RETENTION_DSN": "postgresql://retention@127.0.0.1:1/retention",
        "DONGUI_RETENTION_TOKEN": "token",
        "DONGUI_RETENTION_INDEX_KEY_FILE": str(tmp_path / "kek"),
        "DONGUI_RETENTION_KEK_FILE": str(tmp_path / "kek"),
    }
    (line,) = ended(["-m", "services.retention"], variables)
    assert (line["event"], line["error"], line["told"]) == ("process_failed", "KekError", "kek_exposed")


POLICY = """
from pathlib import Path
from services.consent import __main__ as consent
from services.policy.model import load
async def run(settings):
    load(settings.affiliates_dir)
consent.run = run
consent.main()
"""


def test_a_policy_that_cannot_be_used_ends_a_process_with_its_faults(tmp_path: Path) -> None:
    (line,) = ended(["-c", POLICY], {"DONGUI_AFFILIATES_DIR": str(tmp_path / "none")})
    assert (line["event"], line["error"]) == ("process_failed", "PolicyError")
    assert f"DONGUI_AFFILIATES_DIR: {tmp_path}/none is no directory" in str(line["told"])
    (tmp_path / "added.toml").write_text("affiliate = [")
    (line,) = ended(["-c", POLICY], {"DONGUI_AFFILIATES_DIR": str(tmp_path)})
    assert "not TOML" in str(line["told"])


def test_what_ends_a_process_and_what_warns_of_it_are_lines_without_their_text() -> None:
    warned, failed = ended(["-W", "always", "-c", FAILING], {})
    assert (warned["logger"], warned["level"]) == ("py.warnings", "warning")
    assert (failed["event"], failed["error"]) == ("process_failed", "ValueError")
