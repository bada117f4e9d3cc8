"""Each of the 36 reliability claims has a test that carries its number, and the page that says so is right."""

from tests.support import claims

LONG_ONLY = {35}
"""What has no short form. Make it smaller, never larger."""


def test_every_number_has_a_claim_and_a_test_or_a_reason_why_not() -> None:
    told, tests = claims.claims(), claims.shown()
    assert sorted(told) == list(claims.NUMBERS)
    marked = {one.number for one in tests}
    assert marked <= set(claims.NUMBERS)
    assert [n for n, c in told.items() if n not in marked and not c.get("not_here")] == []


def test_every_claim_is_shown_in_the_short_run_too() -> None:
    short = {one.number for one in claims.shown() if not one.long}
    absent = {n for n, c in claims.claims().items() if n not in short and not c.get("not_here")}
    assert absent <= LONG_ONLY


def test_the_page_is_what_claims_and_markers_say() -> None:
    assert claims.PAGE.read_text(encoding="utf-8") == claims.page(), "run: python -m tests.support.claims"
