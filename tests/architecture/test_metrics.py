"""docs/metrics.md lists every metric the code makes, as it makes it; no label can hold anything of a person."""

from tests.support.metrics import ROOT, all_metrics, table

LABELS = {
    *("affiliate", "recipient", "application", "topic", "loop", "place", "origin"),  # names of the installation
    *("kind", "state", "why", "result", "stage", "class", "type", "move", "verdict", "medium", "code"),  # closed lists
}


def test_the_page_has_every_metric_and_no_other() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `dongui_")]
    assert rows == table(), "write the rows anew: python -m tests.support.metrics"


def test_a_label_is_a_name_of_the_installation_or_of_a_closed_list() -> None:
    assert {label for m in all_metrics() for label in m.labels} <= LABELS


def test_names_say_their_unit_once() -> None:
    for metric in all_metrics():
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert not metric.name.endswith(("_ms", "_milliseconds", "_minutes", "_hours")), metric.name
