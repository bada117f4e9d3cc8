"""The policy data: what it says, and that data which contradicts itself is not loaded."""

from datetime import UTC, datetime
from importlib.resources import files

import pytest

from services.policy.model import FILES, PolicyError, load, parse

RULES = load()
TEXTS = {n: files("services.policy").joinpath(f"rules/{n}.toml").read_text(encoding="utf-8") for n in FILES}
# By `dongui policy show --notice 2021-02-22 | sha256sum`. A published notice never changes: add a version instead.
NOTICE_SHA256 = "b7898b2103b78dc88b02dad79814f0ca4ce0799b429fc9944354e9897d0b4ca9"


def test_the_policy_in_force_is_that_of_22_february_2021_from_midnight_in_korea() -> None:
    assert RULES.version == "2021-02-22"
    assert RULES.effective_from == datetime(2021, 2, 21, 15, 0, tzinfo=UTC)


def test_three_companies_share_the_account_and_one_operates_it() -> None:
    assert sorted(RULES.affiliates) == ["tmax-anc", "tmax-cloud", "tmax-os"]
    assert [a.id for a in RULES.affiliates.values() if a.operator] == ["tmax-cloud"]
    assert {a.id: a.processes for a in RULES.affiliates.values() if a.processes} == {
        "tmax-os": "hypermeeting",
        "tmax-anc": "wapl",
    }
    assert list(RULES.third_parties) == ["demo-partner"]


def test_purposes_are_the_five_of_clause_1_and_shared_items_the_four_of_clause_3_2() -> None:
    assert list(RULES.purposes) == ["P1.1", "P1.2", "P1.3", "P1.4", "P1.5"]
    assert RULES.shared == {"email", "name", "password_hash", "membership_status"}
    assert RULES.items["email"].ko == "아이디(이메일)"


def test_every_rule_cites_a_clause_and_a_statute_and_speaks_both_languages() -> None:
    for rule in RULES.rules.values():
        assert rule.clause
        assert rule.statute
        assert rule.ko != rule.en


def test_the_published_notice_has_not_changed() -> None:
    notice = RULES.notice("2021-02-22")
    assert notice is not None
    assert notice.sha256 == NOTICE_SHA256


def test_the_notice_tells_what_the_law_wants_told() -> None:
    notice = RULES.notice("2021-02-22")
    assert notice is not None
    told = {part.consent: [label for label, _ in part.lines] for part in notice.parts}
    assert told["collection"] == ["수집 목적", "수집 항목", "보유 기간", "거부할 권리"]  # PIPA 15(2)
    assert told["sharing"] == [
        "제공받는 자",
        "제공받는 자의 이용 목적",
        "제공 항목",
        "보유 기간",
        "거부할 권리",
    ]  # 17(2)
    assert {"이용 목적", "이용 항목", "보유 기간", "거부할 권리"} <= set(told["marketing"])
    for affiliate in RULES.affiliates.values():
        assert affiliate.ko in notice.text


def test_the_current_notice_is_the_newest_in_force() -> None:
    part = TEXTS["notices"].index("[[notice]]")
    later = TEXTS["notices"][part:].replace("2021-02-22", "2027-01-01")
    rules = parse(TEXTS | {"notices": TEXTS["notices"] + "\n" + later})
    assert rules.current_notice(datetime(2026, 12, 31, 14, 59, tzinfo=UTC)) == "2021-02-22"
    assert rules.current_notice(datetime(2026, 12, 31, 15, 0, tzinfo=UTC)) == "2027-01-01"
    assert rules.current_notice(datetime(2000, 1, 1, tzinfo=UTC)) == "2021-02-22"
    assert rules.notice("2019-01-01") is None


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("rules", 'id = "5.7-notify"', 'id = "5.7-other"', "rule the code names is missing: 5.7-notify"),
        ("rules", 'id = "5.7-notify"', 'id = "5.7-other"', "rule the code never names: 5.7-other"),
        ("rules", 'id = "5.7-notify"', 'id = "7.1-erase"', "an id is used twice"),
        ("rules", 'purposes = ["P1.5"]', 'purposes = ["P1.6"]', "unknown purpose: P1.6"),
        ("rules", 'purposes = ["P1.5"]', "", "a permission, and nothing else, has purposes: 1.5-marketing"),
        ("rules", 'clause = ["5.7"]', "clause = []", f"rules.rule.{len(RULES.rules) - 1}.clause"),
        ("rules", "effective_from = 2021-02-22T00:00:00+09:00", "effective_from = 2021-02-22T00:00:00", "timezone"),
        ("policy", 'processes = "wapl"', 'processes = "chat"', "affiliate processes an unknown service: chat"),
        ("policy", 'processes = "wapl"', 'processes = "hypermeeting"', "more than one processor: hypermeeting"),
        ("policy", 'id = "demo-partner"', 'id = "tmax-os"', "both affiliate and third party: tmax-os"),
        ("policy", "operator = true", "operator = true\ncolour = 1", "policy.affiliate.0.colour"),
        ("items", 'required = ["customer_name"]', 'required = ["shoe_size"]', "unknown item: shoe_size"),
        ("items", 'required = ["customer_name"]', 'required = ["email"]', "account item in a profile: email"),
        ("notices", 'consent = "sharing"', 'consent = "everything"', "notices.notice.0.part.1.consent"),
        ("bases", 'id = "consent"', "id = ", "not TOML"),
    ],
)
def test_data_that_does_not_hold_together_is_not_loaded(file: str, old: str, new: str, fault: str) -> None:
    assert old in TEXTS[file]
    with pytest.raises(PolicyError) as caught:
        parse(TEXTS | {file: TEXTS[file].replace(old, new, 1)})
    assert any(fault in found for found in caught.value.faults)
