"""`dongui policy`: data on stdout, messages on stderr, exit codes."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from services.commands.policy import app

GOLDEN = Path(__file__).parents[2] / "golden"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--from 2026-11-23T10:00:00+09:00 --days 10", "2026-12-03"),
        ("--from 2026-11-01T15:30:00Z --days 10", "2026-11-12"),
        ("--from 2026-11-02T00:00:00+09:00 --days 10", "2026-11-11"),
        ("--from 2026-11-02T00:00:00 --days 10", "2026-11-11"),
        ("--from 2026-11-02 --days 10", "2026-11-12"),
        ("--from 20261102 --days 10", "2026-11-12"),
        ("--from 2026-04-30 --months 3", "2026-07-31"),
        ("--from 2021-02-22 --years 5", "2026-02-23"),
    ],
)
def test_due_prints_the_last_day(arguments: str, expected: str) -> None:
    result = run("due", *arguments.split())
    assert (result.exit_code, result.stdout) == (0, expected + "\n")
    as_json = run("due", *arguments.split(), "--format", "json")
    assert json.loads(as_json.stdout) == {"last_day": expected}


@pytest.mark.parametrize(
    "arguments",
    [
        "--from yesterday --days 1",
        "--from 2026-11-23",
        "--from 2026-11-23 --days 1 --months 1",
        "--from 2026-11-23 --days 0",
        "--from 2090-01-01 --years 20",
        "--from 9999-12-31 --days 10",
    ],
)
def test_due_refuses_what_is_no_period(arguments: str) -> None:
    result = run("due", *arguments.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


def test_show_lists_rules_with_their_citations() -> None:
    text = run("show").stdout
    assert "5.7-notify" in text
    assert "방침 5.7 · 개인정보 보호법 30조 3항" in text
    shown = json.loads(run("show", "--format", "json").stdout)
    assert shown["version"] == "2021-02-22"
    assert {"id", "clause", "statute", "effective_from", "ko", "en"} <= set(shown["rules"][0])
    (one,) = json.loads(run("show", "3.2-share", "--format", "json").stdout)["rules"]
    assert one["purposes"] == ["P1.1", "P1.2", "P1.3", "P1.4"]


def test_show_prints_a_notice_as_members_see_it() -> None:
    result = run("show", "--notice", "2021-02-22")
    assert result.stdout.startswith("Tmax OneAccount 개인정보 처리 안내 (v2021-02-22)\n")
    assert "sha256" in result.stderr


@pytest.mark.parametrize("arguments", [["show", "9.9-none"], ["show", "--notice", "1999-01-01"]])
def test_show_names_what_there_is_when_asked_for_something_else(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "known:" in result.stderr


def test_explain_says_what_goes_to_whom_by_which_clause() -> None:
    arguments = ["--change", "corrected", "--items", "email", "--sharing", "tmax-os", "--profile", "wapl:member"]
    arguments += [
        "--held",
        "tmax-cloud:recipient",
        "--held",
        "tmax-os:recipient+use+sms",
        "--held",
        "tmax-anc:processor",
    ]
    arguments += ["--marketing", "tmax-os:use+sms", "--holds", "demo-partner:email+name"]
    found = {e["recipient"]: e for e in json.loads(run("explain", *arguments, "--format", "json").stdout)}
    assert found["tmax-os"]["does"] == "projection"
    assert found["tmax-os"]["marketing"] == ["sms", "use"]
    assert found["tmax-os"]["items"] == ["email", "membership_status", "name", "password_hash"]
    assert found["tmax-anc"]["roles"] == ["processor"]
    assert found["demo-partner"]["kind"] == "third_party"
    assert found["demo-partner"]["items"] == ["email"]
    assert [(r["id"], r["clause"]) for r in found["demo-partner"]["because"]] == [("5.7-notify", ["5.7"])]
    text = run("explain", *arguments).stdout
    assert "demo-partner: notice\n  items: email\n  ← 5.7-notify" in text


def test_explain_says_why_nothing_goes() -> None:
    result = run("explain", "--change", "signed_up", "--format", "json")
    found = {e["recipient"]: e for e in json.loads(result.stdout)}
    assert found["tmax-anc"]["does"] == "nothing"
    assert [r["id"] for r in found["tmax-anc"]["because"]] == ["3.1-consent"]


@pytest.mark.parametrize(
    "arguments",
    [
        "--change renamed",
        "--change corrected --status asleep",
        "--change corrected --sharing acme",
        "--change corrected --marketing tmax-os",
        "--change corrected --marketing tmax-os:fax",
        "--change corrected --held tmax-os:owner",
        "--change corrected --profile wapl:boss",
        "--change corrected --items Email!",
    ],
)
def test_explain_refuses_words_it_does_not_know(arguments: str) -> None:
    result = run("explain", *arguments.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


def test_check_passes_on_the_tables_of_the_repository() -> None:
    result = run("check", "--format", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"ok": True, "tables": len(list(GOLDEN.glob("*.toml"))), "faults": []}


def test_check_exits_3_when_a_rule_has_no_table(tmp_path: Path) -> None:
    for path in GOLDEN.glob("*.toml"):
        if path.stem != "5.7-notify":
            (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    result = run("check", "--golden", str(tmp_path))
    assert (result.exit_code, result.stdout) == (3, "rule without a decision table: 5.7-notify\n")


def test_check_counts_rules_and_cases_per_clause_and_in_all() -> None:
    result = run("check", "--figures", "--format", "json")
    found = json.loads(result.stdout)
    by_hand = {p: p.read_text(encoding="utf-8").count("[[case]]") for p in GOLDEN.rglob("*.toml")}
    assert found["totals"]["cases"] == sum(n for p, n in by_hand.items() if p.parent == GOLDEN)
    assert found["totals"]["decision_cases"] == sum(n for p, n in by_hand.items() if p.parent != GOLDEN)
    clauses = {c["clause"]: c for c in found["clauses"]}
    told = clauses["5.7"]
    assert told["rules"] == ["5.1-correct", "5.7-notify"]
    assert told["cases"] == sum(by_hand[GOLDEN / f"{rule}.toml"] for rule in told["rules"])
    assert "inquiry_answer" in clauses["10.2"]["duties"]
    text = run("check", "--figures").stdout.splitlines()
    assert text[1].split() == ["clause", "rules", "cases", "decisions", "clocks"]
    assert text[-1].split()[:2] == ["all", str(found["totals"]["rules"])]


def test_check_needs_the_tables(tmp_path: Path) -> None:
    assert run("check", "--golden", str(tmp_path / "none")).exit_code == 2
