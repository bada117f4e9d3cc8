"""Where a page of the log goes on, up to the last index there can be."""

import pytest

from services.audit.search import Page, Run

LAST = 9_223_372_036_854_775_807


@pytest.mark.parametrize(
    ("page", "run"),
    [
        (Page(None, 10), (0, LAST)),
        (Page(4, 10), (5, LAST)),
        (Page(4, 10, newest=True), (0, 4)),
        (Page(LAST, 10), (LAST, LAST)),
        (Page(LAST, 10, newest=True), (0, LAST)),
    ],
)
def test_what_is_left_behind_a_page(page: Page, run: Run) -> None:
    assert page.run == run
