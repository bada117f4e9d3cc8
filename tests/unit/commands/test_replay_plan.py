"""`dongui replay plan` before it asks a server: a choice it would not do as it was said is refused."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services import cli
from services.commands import replay
from services.devstack.errors import DevstackError
from services.propagator.replay.planner import Wish
from services.runtime.settings import Settings

AFFILIATES = ("tmax-cloud", "tmax-os", "tmax-anc")


class PlannedError(DevstackError):
    """The command came as far as planning."""


@pytest.fixture(autouse=True)
def wishes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Wish]:
    """A system that is nowhere; what would have been planned."""
    monkeypatch.setenv("DONGUI_PROFILE", "dev")
    monkeypatch.setenv("DONGUI_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DONGUI_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv("DONGUI_CONSENT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("DONGUI_SERVICE_TOKEN", "token")
    monkeypatch.setenv("DONGUI_AFFILIATE_DSNS", json.dumps(dict.fromkeys(AFFILIATES, "postgresql://x@127.0.0.1:1/x")))
    monkeypatch.setenv("DONGUI_AFFILIATE_TOKENS", json.dumps(dict.fromkeys(AFFILIATES, "token")))
    found: list[Wish] = []

    async def noted(_: Settings, wish: Wish) -> None:
        found.append(wish)
        raise PlannedError

    monkeypatch.setattr(replay, "_plan", noted)
    return found


def planned(*options: str) -> Result:
    arguments = ["replay", "plan", "--reason", "drill", "--output", "plan.json", *options]
    return CliRunner().invoke(cli.build(arguments), arguments)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--source", "consent", "--affiliate", "tmax-os", "--partition", "3"), "has present states only"),
        (("--source", "consent", "--partition", "3"), "has present states only"),
        (("--source", "consent", "--all", "--with", "notices"), "the ledger has no notices"),
        (("--from-datetime", "1969-12-31T23:59:59Z"), "--from-datetime lies before 1970"),
        (("--from-datetime", "1970-01-01T08:59:59+09:00"), "--from-datetime lies before 1970"),
        (("--all", "--to-datetime", "0001-01-01T00:00:00+23:59"), "say what"),
        (("--to-datetime", "0001-01-01T00:00:00+23:59"), "--to-datetime lies before 1970"),
        (("--by-duration", "P100Y"), "--by-duration reaches back before 1970"),
        (("--by-duration", "P9999Y"), "--by-duration reaches back before 1970"),
        (("--by-duration", "P999999999D"), "--by-duration reaches back before 1970"),
    ],
)
def test_what_would_be_done_otherwise_than_said_is_refused(
    wishes: list[Wish], options: tuple[str, ...], told: str
) -> None:
    done = planned(*options)
    assert (done.exit_code, wishes) == (2, [])
    assert told in done.stderr


@pytest.mark.parametrize(
    ("lines", "options", "told"),
    [
        ("", (), "the offsets are empty"),
        ("dongui.affiliate.tmax-anc.v1,0,5", ("--affiliate", "tmax-os"), "name no partition of: tmax-os"),
    ],
)
def test_a_file_of_offsets_that_is_not_for_the_affiliate_is_refused(
    wishes: list[Wish], tmp_path: Path, lines: str, options: tuple[str, ...], told: str
) -> None:
    (tmp_path / "offsets.csv").write_text(lines)
    done = planned("--from-offsets", str(tmp_path / "offsets.csv"), *options)
    assert (done.exit_code, wishes) == (2, [])
    assert told in done.stderr


def test_offsets_plan_the_affiliates_they_name_and_no_others(wishes: list[Wish], tmp_path: Path) -> None:
    (tmp_path / "offsets.csv").write_text("dongui.affiliate.tmax-os.v1,2,5\n")
    planned("--from-offsets", str(tmp_path / "offsets.csv"))
    planned("--from-datetime", "1970-01-01T09:00:00+09:00")
    assert [w.selection.affiliates for w in wishes] == [("tmax-os",), ("tmax-anc", "tmax-cloud", "tmax-os")]
    assert wishes[0].selection.offsets == {"tmax-os": {2: 5}}
