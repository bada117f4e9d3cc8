"""The console's pure parts: roles, sign-in rules, cookies, words, the geometry of pictures."""

import hashlib
import re
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from fastapi import Request

from services.console import charts, cookies, model, words
from services.console.cookies import Cookies, InsecureConsoleError
from services.console.desk import Visit, environment, local_path
from services.console.model import Account, Tries
from services.console.pages.retention import by_month
from services.console.words import Words

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
CONSOLE = Path(str(files("services.console")))


def an_account(**changes: object) -> Account:
    told = {"account_id": "1", "name": "kim", "role": "compliance", "affiliate": None, "local": True}
    standing = {"one_time": False, "disabled_at": None}
    return Account(**{**told, **standing, **changes})  # type: ignore[arg-type]


def test_the_fifth_wrong_try_closes_a_name_for_fifteen_minutes() -> None:
    quarter = timedelta(minutes=15)
    assert Tries(3).failed(5, quarter, NOW) == Tries(4)
    locked = Tries(4).failed(5, quarter, NOW)
    assert locked == Tries(0, NOW + quarter)
    assert locked.locked(NOW + timedelta(minutes=14, seconds=59))
    assert not locked.locked(NOW + quarter)


@pytest.mark.parametrize(
    ("here", "everywhere", "closed"),
    [
        (Tries(), Tries(), False),
        (Tries(0, LATER), Tries(), True),
        (Tries(), Tries(0, LATER), True),
        (Tries(entered_at=NOW - timedelta(days=29)), Tries(0, LATER), False),
        (Tries(entered_at=NOW - timedelta(days=30)), Tries(0, LATER), True),
        (Tries(0, LATER, NOW - timedelta(days=1)), Tries(), True),
        (Tries(0, NOW), Tries(49), False),
    ],
)
def test_strangers_close_a_name_where_nobody_got_in_with_it(here: Tries, everywhere: Tries, closed: bool) -> None:
    assert model.closed(here, everywhere, NOW) == closed


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_a_subscribers_whole_network_is_counted_as_one(address: str, counted: str) -> None:
    assert model.neighbourhood(address) == counted


@pytest.mark.parametrize(
    ("password", "old", "fault"),
    [
        ("short-one", False, "password_length"),
        ("a" * 129, False, "password_length"),
        ("correct-horse-battery", True, "password_weak"),
        ("this-is-KIM-and-long", False, "password_weak"),
        ("aaaaaaaaaaaab", False, "password_weak"),
        ("correct-horse-battery", False, None),
    ],
)
def test_a_new_password_is_long_and_the_persons_own(password: str, old: bool, fault: str | None) -> None:
    assert model.password_fault("kim", password, old=old) == fault


def test_only_known_roles_are_roles_and_an_affiliate_is_named() -> None:
    assert model.standing("cpo") == ("cpo", None)
    assert model.standing("affiliate:tmax-os") == ("affiliate", "tmax-os")
    for wrong in ("service", "affiliate", "affiliate:", "cpo:tmax-os", ""):
        with pytest.raises(ValueError, match="a role is one of"):
            model.standing(wrong)


def test_an_affiliates_person_speaks_for_it_and_sees_no_staff_page() -> None:
    person = an_account(role="affiliate", affiliate="tmax-os")
    assert (person.subject, person.token_role) == ("tmax-os", "affiliate_desk")
    assert person.pages() == ["home", "rights"]
    assert all("accounts" in an_account(role=role).pages() for role in ("cpo", "compliance"))
    assert "accounts" not in an_account(role="auditor").pages()


@pytest.mark.parametrize(
    ("account", "by", "fault"),
    [
        ({"vouched_by": "cpo"}, {"name": "lee"}, None),
        ({"vouched_by": "cpo"}, {"name": "cpo"}, "own_making"),
        ({"vouched_by": "cpo", "one_time": True}, {"name": "lee"}, "not_set_up_yet"),
        ({"vouched_by": "cpo"}, {"name": "lee", "vouched_by": "cpo"}, "unconfirmed"),
        ({"vouched_by": "cpo"}, {"name": "lee", "vouched_by": "park"}, "unconfirmed"),
        ({}, {"name": "lee"}, None),
    ],
)
def test_an_account_is_confirmed_by_who_has_no_part_in_it(
    account: dict[str, Any], by: dict[str, Any], fault: str | None
) -> None:
    assert model.confirm_fault(an_account(**account), an_account(**by)) == fault


@pytest.mark.parametrize("url", ["https://console.example.kr", "https://127.0.0.1:8800"])
def test_over_https_cookies_are_host_cookies(url: str) -> None:
    assert Cookies.of_url(url, "production").session == "__Host-dongui"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8800", "http://localhost:8800", "http://[::1]:8800"])
def test_plain_http_is_for_a_laptop_only(url: str) -> None:
    assert not Cookies.of_url(url, "dev").secure
    with pytest.raises(InsecureConsoleError):
        Cookies.of_url(url, "production")


@pytest.mark.parametrize("url", ["http://10.0.0.1:8800", "http://console.example.kr", "ftp://127.0.0.1", "console"])
def test_no_other_address_is_taken(url: str) -> None:
    with pytest.raises(InsecureConsoleError):
        Cookies.of_url(url, "dev")


def test_a_form_token_is_of_one_session() -> None:
    assert cookies.is_form_token("a", cookies.form_token("a"))
    assert not cookies.is_form_token("b", cookies.form_token("a"))


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "/a\nb"])
def test_nobody_is_sent_elsewhere_after_the_sign_in(path: str) -> None:
    assert local_path(path) == "/"


@pytest.mark.parametrize(
    ("seconds", "ko", "en"),
    [
        (0.24, "0.2초", "0.2 s"),
        (5.0, "5초", "5 s"),
        (75, "1분 15초", "1 min 15 s"),
        (3600, "1시간", "1 h"),
        (90_061, "1일 1시간", "1 d 1 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, ko: str, en: str) -> None:
    assert (Words("ko").duration(seconds), Words("en").duration(seconds)) == (ko, en)


def test_a_countdown_is_in_working_days() -> None:
    assert [Words("ko").countdown(n) for n in (3, 0, -2)] == ["D-3", "오늘까지", "2영업일 지남"]


def test_an_instant_is_shown_in_korea_and_told_in_utc() -> None:
    assert words.kst("2026-11-24T15:30:00Z") == "2026-11-25 00:30:00"
    assert words.utc("2026-11-25T00:30:00+09:00") == "2026-11-24 15:30:00 UTC"


def test_both_languages_have_the_same_texts_with_the_same_gaps() -> None:
    ko, en = words.texts("ko"), words.texts("en")
    assert {g: set(ko[g]) for g in ko} == {g: set(en[g]) for g in en}
    gaps = re.compile(r"{(\w+)}")
    differing = [f"{g}.{k}" for g in ko for k in ko[g] if set(gaps.findall(ko[g][k])) != set(gaps.findall(en[g][k]))]
    assert differing == []


def test_every_text_that_a_page_names_is_there() -> None:
    texts = words.texts("ko")
    called = re.compile(r"""\bt\(["'](\w+)\.(\w+)["'][,)]""")
    groups = re.compile(r"""\b(?:w|badge)\(["'](\w+)["'],""")
    for page in CONSOLE.joinpath("templates").rglob("*.html"):
        content = page.read_text(encoding="utf-8")
        assert [k for k in called.findall(content) if k[1] not in texts.get(k[0], {})] == [], page.name
        assert [g for g in groups.findall(content) if g not in texts] == [], page.name


def test_vendored_files_are_what_their_list_says_and_ask_nobody() -> None:
    listed = orjson.loads(CONSOLE.joinpath("assets.json").read_bytes())
    for one in listed:
        content = CONSOLE.joinpath("static", one["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == one["sha256"], one["file"]
    own = {"console.css", "icon.svg"}
    assert {p.name for p in CONSOLE.joinpath("static").iterdir()} == own | {one["file"] for one in listed}
    for page in [*CONSOLE.joinpath("templates").rglob("*.html"), CONSOLE / "static" / "console.css"]:
        content = page.read_text(encoding="utf-8")
        assert "://" not in content, page.name
        assert not re.search(r"\sstyle=|\son\w+=|<style", content), page.name


def row(recipient: str, kind: str, role: str, *items: str, at: str = "2026-01-01T00:00:00Z") -> dict[str, object]:
    return {"recipient": recipient, "kind": kind, "role": role, "items": list(items), "at": at}


def test_the_map_has_one_box_per_recipient_with_all_it_was_given() -> None:
    rows = [
        row("demo-partner", "third_party", "recipient", "email"),
        row("tmax-os", "affiliate", "recipient", "email", at="2026-02-01T00:00:00Z"),
        row("tmax-os", "affiliate", "processor", "phone", "email"),
    ]
    os, partner = charts.holders(rows, live=[])
    assert (os.name, os.items, os.roles, os.since) == (
        "tmax-os", ("email", "phone"), ("processor", "recipient"), "2026-01-01T00:00:00Z",
    )  # fmt: skip
    assert (os.live, partner.live) == (False, True)
    assert charts.holders(rows, live=["tmax-os"])[0].live
    assert partner.y - os.y == charts.ROW
    assert charts.map_height([os, partner]) == 2 * charts.ROW + 8


def test_bars_stack_to_the_largest_month_and_show_empty_months() -> None:
    made = charts.bars({("2026-11", "visit"): 1, ("2027-01", "visit"): 3, ("2027-01", "payment"): 1})
    assert made.months == ("2026-11", "2026-12", "2027-01")
    assert made.top == 4
    full = charts.BARS_HEIGHT - 2 * charts.MARGIN
    heights = {(b.series, b.count): b.height for b in made.bars}
    assert heights == {(1, 1): full / 4, (0, 1): full / 4, (1, 3): full * 3 / 4}
    assert min(b.y for b in made.bars) == charts.MARGIN
    assert charts.bars({}).bars == ()


def test_a_day_means_its_end_in_korea() -> None:
    assert words.at_end_of(date(2026, 11, 24)).astimezone(UTC).isoformat() == "2026-11-24T14:59:59.999999+00:00"


def test_a_daily_series_is_counted_by_month_and_class() -> None:
    numbers = {"visit": [1, 2, 0], "payment": [0, 0, 4]}
    series = {"days": ["2027-01-01", "2027-01-31", "2027-02-01"], "by_class": numbers}
    assert by_month(series) == {("2027-01", "visit"): 3, ("2027-02", "payment"): 4}


def rendered(template: str, account: Account, **context: object) -> str:
    scope = {"type": "http", "path": "/", "headers": [], "query_string": b"", "server": ("127.0.0.1", 8800)}
    desk: Any = SimpleNamespace(templates=environment())
    return Visit(desk, Request({**scope, "scheme": "http"}), Words("ko"), "secret", account).render(template, **context)


@pytest.mark.parametrize(
    ("role", "by", "may"), [("cpo", "lee", True), ("cpo", "kim", False), ("auditor", "lee", False)]
)
def test_a_replay_is_approved_by_another_person_than_planned_it(role: str, by: str, may: bool) -> None:
    planned = {"replay_id": "01a20fef-046f-7273-9ab1-c21724038956", "sha256": "ab" * 32, "reason": "repair"}
    people = {"planned_by": by, "planned_at": "2026-11-24T00:00:00Z", "approved_by": None, "approved_at": None}
    plan = {**planned, **people, "state": "planned", "summary": {"tmax-os": 3}, "progress": {}}
    page = rendered("replays.html", an_account(role=role), plans=[plan], offered=True)
    assert ("/approve" in page) == may
    assert ("세운 사람은 승인할 수 없습니다" in page) == (by == "kim")
    assert ("/cancel" in page) == (role != "auditor")


def test_the_forecast_names_the_rule_and_statute_of_each_class() -> None:
    rules = [{"class": "visit", "rule": "r", "statute": "통신비밀보호법", "count": 1200}]
    chart = charts.bars({("2027-01", "visit"): 1200})
    told = {"total": 1200, "held": 2, "years": 5, "choices": (1, 3, 5), "until": date(2031, 1, 1)}
    page = rendered("retention.html", an_account(), chart=chart, rules=rules, **told)
    for said in ("통신비밀보호법", "1,200", "방문 기록", "보류 중인 기록"):
        assert said in page
