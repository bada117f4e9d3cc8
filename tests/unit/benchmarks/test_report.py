"""The plots and tables of docs/performance.md: drawn to scale, put where they belong, and of the results kept."""

from xml.etree import ElementTree

import pytest

from benchmarks import report
from benchmarks.plots import LABEL, RIGHT, WIDTH, Bar, bars

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_to_scale_from_zero_and_the_line_spans_the_runs() -> None:
    drawn = ElementTree.fromstring(bars("<T>", "changes/s", [("", [Bar("ours", 50, 25, 100), Bar("other", 100)])]))
    room = WIDTH - LABEL - RIGHT
    long = [float(rect.attrib["width"]) for rect in drawn.findall(f"{SVG}rect")[1:]]
    assert long == [room / 2, room]
    (line,) = drawn.findall(f"{SVG}line")
    assert (float(line.attrib["x1"]), float(line.attrib["x2"])) == (LABEL + room / 4, LABEL + room)


def test_a_table_is_put_between_its_comments_and_nothing_else_changes() -> None:
    page = "before\n<!-- table one -->\nold\n<!-- end -->\nafter\n"
    assert report.filled(page, {"one": "new"}) == "before\n<!-- table one -->\nnew\n<!-- end -->\nafter\n"
    with pytest.raises(KeyError):
        report.filled(page, {})


def test_the_page_and_its_plots_are_made_of_the_results_kept() -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    assert page == report.filled(page, report.tables()), "run python -m benchmarks.report"
    made = report.plots()
    assert made == {name: (report.KEPT / name).read_text(encoding="utf-8") for name in made}
    assert all(f"performance/{name}" in page for name in made)
