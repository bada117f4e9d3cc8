"""Alerts, dashboards and runbooks are of one piece with the code: every metric, label, page, command and word exists.

promtool checks the expressions and runs alerts_test.yml where it is installed; the checks here stand without it.
"""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from services import cli
from services.runtime.settings import Settings
from tests.support.metrics import ROOT, all_metrics

PROMETHEUS = ROOT / "infra" / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ["What it means for people", "How to look", "How to mend", "How to verify"]
THEIRS = {"up": {"job", "instance"}, "process_cpu_seconds_total": {"job", "instance"}}
"""Metrics of Prometheus and its client, not ours."""
WORDS = {
    *("max", "min", "sum", "by", "on", "unless", "and", "or", "time", "rate", "increase", "absent", "vector"),
    *("humanizeDuration",),
}
METRICS = {m.name: m for m in all_metrics()}
NAME = re.compile(r"\b[a-z_][a-z0-9_]*\b")
MATCHERS = re.compile(r"([a-z_][a-z0-9_]*)(?:{([^}]*)})?")
GROUPING = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")
COMMAND = re.compile(r"`dongui ([a-z-]+)(?: ([a-z][a-z-]*))?([^`]*)`")
SUFFIXES = {".py", ".sql", ".toml"}
CODE = re.compile(r"`([a-z]+(?:_[a-z]+)+)`")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def boards() -> list[Path]:
    return sorted((ROOT / "infra" / "grafana" / "dashboards").glob("*.json"))


def check_expression(expr: str) -> None:
    """Raise AssertionError for a name that is no metric of ours, or a label that the metric does not have."""
    bare = re.sub(r'"[^"]*"', '""', re.sub(r"\[[^\]]*\]", "", expr))
    labels = {name.strip() for group in GROUPING.findall(bare) for name in group.split(",") if name.strip()}
    without = GROUPING.sub("", bare)
    used: set[str] = set()
    for name, matchers in MATCHERS.findall(without):
        if name in WORDS or name == "e":
            continue
        known = set(METRICS[name].labels) | {"job", "instance"} if name in METRICS else THEIRS.get(name)
        assert known is not None, f"no metric {name}: {expr}"
        asked = set(NAME.findall(re.sub(r'""', "", matchers)))
        assert asked <= known, f"{name} has no label {asked - known}"
        used |= known
    assert used, f"an expression about nothing: {expr}"
    assert labels <= used, f"grouped by {labels - used}, which nothing there has"


def test_the_checks_find_what_is_wrong() -> None:
    for wrong in (
        "dongui_no_such > 1",
        'dongui_duties{status="late"} > 0',
        "max by (member_ref) (dongui_duties)",
        "1 > 0",
    ):
        with pytest.raises(AssertionError):
            check_expression(wrong)
    check_expression('max by (kind) (dongui_duties{state="late"}) > 0 or vector(0)')


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_how_bad_and_where_to_read(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Dongui[A-Z][A-Za-z]+", rule["alert"])
    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
    assert set(rule["annotations"]) == {"summary", "runbook"}
    assert len(rule["annotations"]["summary"]) > 20
    assert (ROOT / rule["annotations"]["runbook"]).is_file()
    check_expression(rule["expr"])


def test_the_summary_uses_labels_that_the_expression_leaves() -> None:
    for rule in rules():
        used = set(re.findall(r"\$labels\.([a-z_]+)", rule["annotations"]["summary"]))
        left = {n.strip() for group in GROUPING.findall(rule["expr"]) for n in group.split(",")} | {"instance"}
        assert used <= left, rule["alert"]


def test_no_alert_is_twice_and_every_runbook_belongs_to_one() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    assert {Path(rule["annotations"]["runbook"]).name for rule in rules()} == {p.name for p in RUNBOOKS.glob("*.md")}


def test_what_is_owed_to_people_has_an_alert() -> None:
    """The figures that the law asks about: a withdrawal, a duty, a silent stream, a letter nobody handled."""
    expressions = " ".join(rule["expr"] for rule in rules())
    for name in (
        *("dongui_oldest_unapplied_withdrawal_seconds", "dongui_duties", "dongui_canary_returned_seconds"),
        *("dongui_dead_letters_unhandled", "dongui_outbox_oldest_seconds", "dongui_gap_oldest_seconds"),
        *("dongui_notices_oldest_open_seconds", "dongui_reconcile_drift_members", "dongui_audit_tampered"),
    ):
        assert name in expressions


def test_promtool_agrees_where_it_is_installed() -> None:
    """What the expressions do on series of an hour is in alerts_test.yml; its alerts are ours in any case."""
    tested = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text(encoding="utf-8"))
    named = {case["alertname"] for test in tested["tests"] for case in test["alert_rule_test"]}
    assert named <= {rule["alert"] for rule in rules()}
    if promtool := shutil.which("promtool"):
        for arguments in (("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")):
            done = subprocess.run([promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr


def test_every_process_of_the_container_run_is_scraped_where_it_serves() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    assert config["rule_files"] == ["alerts.yml"]
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "dongui", "an alert names it"
    serving = {
        f"{name}:{match[1]}"
        for name, service in compose.items()
        if (match := re.search(r":(\d+)/readyz", str(service.get("healthcheck", {}).get("test"))))
    }
    assert set(job["static_configs"][0]["targets"]) == serving
    assert len(serving) == 9


@pytest.mark.parametrize("path", boards(), ids=lambda path: str(path.stem))
def test_a_dashboard_shows_metrics_that_exist_from_the_source_that_is_provisioned(path: Path) -> None:
    board = json.loads(path.read_text(encoding="utf-8"))
    provisioned = ROOT / "infra" / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    uids = {source["uid"] for source in yaml.safe_load(provisioned.read_text(encoding="utf-8"))["datasources"]}
    assert board["uid"] == f"dongui-{path.stem}"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) > 0
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["datasource"]["uid"] in uids
        for target in panel["targets"]:
            check_expression(target["expr"])
            shown = set(re.findall(r"{{([a-z_]+)}}", target["legendFormat"]))
            assert shown <= {n.strip() for g in GROUPING.findall(target["expr"]) for n in g.split(",")} | {"instance"}


def test_panels_do_not_overlap() -> None:
    for path in boards():
        places = [tuple(panel["gridPos"].values()) for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]]
        cells = [(x + dx, y + dy) for x, y, w, h in places for dx in range(w) for dy in range(h)]
        assert len(cells) == len(set(cells)), path.name
        assert all(x < 24 for x, _ in cells)


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: str(path.stem))
def test_a_runbook_says_what_it_means_how_to_look_mend_and_verify_by_what_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert "**요약.**" in text
    for group, verb, _ in COMMAND.findall(text):
        _check_command(group, verb)
    known = _words_of_the_code()
    for variable in re.findall(r"DONGUI_([A-Z_]+)", text):
        assert variable.lower() in Settings.model_fields, variable
    for word in CODE.findall(text):
        assert word in known, f"{path.name}: {word} is nowhere in the code"
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (path.parent / link).resolve().is_file(), f"{path.name}: {link}"


def _check_command(group: str, verb: str) -> None:
    app = cli.build([group])
    found = next((g for g in app.registered_groups if g.name == group), None)
    assert found is not None, f"no command dongui {group}"
    assert found.typer_instance is not None
    commands = found.typer_instance.registered_commands
    names = {c.name or (c.callback.__name__.replace("_", "-") if c.callback else "") for c in commands}
    assert not verb or verb in names, f"dongui {group} has no {verb}"
    assert verb or not names, f"dongui {group} needs one of {names}"


@cache
def _words_of_the_code() -> frozenset[str]:
    """Every word in snake case of the code, its rules and its SQL, and the names of the metrics."""
    files = (p for folder in ("services", "schemas") for p in (ROOT / folder).rglob("*") if p.suffix in SUFFIXES)
    return frozenset(word for p in files for word in NAME.findall(p.read_text(encoding="utf-8"))) | METRICS.keys()
