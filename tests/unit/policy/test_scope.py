"""What a consent covers when notices change: re-consent, and an affiliate that came later gets nothing by itself."""

from datetime import UTC, datetime
from importlib.resources import files

import pytest

from schemas.events import FactName
from services.policy.decide import Change, Held, Nothing, Project, Situation, decide
from services.policy.model import FILES, PolicyError, Rules, load, parse
from services.policy.scope import Cited, Reconsent, outdated, part_of, reconsents, told_parties

TEXTS = {n: files("services.policy").joinpath(f"rules/{n}.toml").read_text(encoding="utf-8") for n in FILES}
BEFORE = datetime(2026, 12, 1, tzinfo=UTC)
AFTER = datetime(2027, 1, 1, tzinfo=UTC)
OLD, NEW = "2021-02-22", "2027-01-01"
FOURTH = '\n[[affiliate]]\nid = "tmax-new"\nko = "㈜티맥스뉴"\nen = "Tmax New"\nclause = "3.2"\n'
SHARING = [Cited("collection", "", OLD), Cited("sharing", "tmax-os", OLD), Cited("sharing", "tmax-anc", OLD)]


def second(old: str = "", new: str = "", *, fourth: bool = False, texts: dict[str, str] = TEXTS) -> Rules:
    """The policy with a second notice version from 2027 on, in which `new` stands for `old`."""
    notice = texts["notices"][texts["notices"].index("[[notice]]") :].replace(OLD, NEW)
    assert old in notice
    later = notice.replace(old, new) if old else notice
    entry = FOURTH if fourth else ""
    policy = texts["policy"].replace("\n[[third_party]]", entry + "\n[[third_party]]", 1)
    return parse(texts | {"policy": policy, "notices": texts["notices"] + "\n" + later})


def test_the_same_notice_under_a_new_version_opens_nothing() -> None:
    assert reconsents(second(), SHARING, AFTER) == ()


@pytest.mark.parametrize(
    ("old", "new", "aspect"),
    [
        (
            'items = ["email", "name", "password_hash", "membership_status"]',
            'items = ["email", "name", "password_hash", "membership_status", "phone"]',
            "items",
        ),
        (
            'purposes = ["P1.1", "P1.2", "P1.3", "P1.4"]\nitems = ["email", "name", "password_hash',
            'purposes = ["P1.1"]\nitems = ["email", "name", "password_hash',
            "purposes",
        ),
        (
            'period = "until_withdrawal_or_revocation"\n\n[notice.part.en]\ntitle = "Consent to provision',
            'period = "one_year"\n\n[notice.part.en]\ntitle = "Consent to provision',
            "period",
        ),
    ],
)
def test_a_version_that_tells_something_else_is_asked_for_again_from_its_first_instant(
    old: str, new: str, aspect: str
) -> None:
    rules = second(old, new)
    assert reconsents(rules, SHARING, BEFORE) == ()
    found = reconsents(rules, SHARING, AFTER)
    assert [(r.purpose, r.party, r.changed) for r in found] == [
        ("sharing", "tmax-anc", (aspect,)),
        ("sharing", "tmax-os", (aspect,)),
    ]
    assert all((r.given_under, r.now) == (OLD, NEW) for r in found)


def test_versions_are_outdated_when_the_one_in_force_tells_otherwise_and_not_for_a_new_name() -> None:
    assert outdated(load(), AFTER) == frozenset()
    assert outdated(second(), AFTER) == frozenset()
    narrower = second('items = ["email", "name"]', 'items = ["email"]')
    assert outdated(narrower, AFTER) == {OLD}
    wider = second('recipients = ["tmax-cloud", ', 'recipients = ["tmax-new", "tmax-cloud", ', fourth=True)
    assert outdated(wider, AFTER) == {OLD}


def test_who_consented_under_the_new_version_is_not_asked_again() -> None:
    rules = second('items = ["email", "name"]', 'items = ["email"]')
    renewed = [Cited("marketing", "tmax-os", NEW), Cited("marketing", "tmax-cloud", OLD)]
    assert reconsents(rules, renewed, AFTER) == (Reconsent("marketing", "tmax-cloud", OLD, NEW, ("items",)),)


def test_the_old_consent_covers_the_old_scope_and_the_new_one_the_new() -> None:
    rules = second('"password_hash", "membership_status"]', '"password_hash", "membership_status", "phone"]')
    old, new = part_of(rules, OLD, "sharing"), part_of(rules, NEW, "sharing")
    assert old is not None
    assert new is not None
    assert new.items - old.items == {"phone"}


def test_a_recipient_that_the_new_version_names_is_asked_about_and_never_assumed() -> None:
    rules = second('recipients = ["tmax-cloud", ', 'recipients = ["tmax-new", "tmax-cloud", ', fourth=True)
    asked = [Cited("sharing", "tmax-os", OLD)]
    assert reconsents(rules, asked, AFTER) == (Reconsent("sharing", "tmax-new", None, NEW, ("recipients",)),)
    assert reconsents(rules, [Cited("collection", "", OLD)], AFTER) == (), "who shares with nobody is left alone"
    assert told_parties(rules, OLD, "sharing") == {"tmax-cloud", "tmax-os", "tmax-anc"}
    assert told_parties(rules, NEW, "sharing") == {"tmax-new", "tmax-cloud", "tmax-os", "tmax-anc"}


def test_a_recipient_that_left_the_notice_is_asked_about_again() -> None:
    rules = second('recipients = ["tmax-cloud", "tmax-os", "tmax-anc"]', 'recipients = ["tmax-cloud", "tmax-os"]')
    assert [(r.party, r.changed) for r in reconsents(rules, SHARING, AFTER)] == [("tmax-anc", ("recipients",))]


def test_a_consent_under_a_version_nobody_knows_is_asked_for_again() -> None:
    found = reconsents(second(), [Cited("sharing", "tmax-os", "1999-01-01")], AFTER)
    assert found[0] == Reconsent("sharing", "tmax-os", "1999-01-01", NEW, ("items", "purposes", "period"))
    assert {r.party for r in found[1:]} == {"tmax-cloud", "tmax-anc"}, "nobody knows whether it told of them"


@pytest.mark.parametrize("name", ["corrected", "consent_changed", "released", "suspended", "withdrawal_requested"])
def test_nothing_reaches_a_fourth_affiliate_for_members_who_were_there_before(name: FactName) -> None:
    rules = second(fourth=True)
    member = Situation(
        "active",
        (("hypermeeting", "host"), ("wapl", "member")),
        frozenset({"tmax-cloud", "tmax-os", "tmax-anc"}),
        {},
        {a: Held(frozenset({"recipient"})) for a in ("tmax-cloud", "tmax-os", "tmax-anc")},
        (),
        AFTER,
    )
    change = Change(name, frozenset({"email", "name", "hypermeeting.phone"}))
    (action,) = [a for a in decide(rules, member, change).affiliates if a.recipient == "tmax-new"]
    assert isinstance(action, Nothing)


def test_a_fourth_affiliate_gets_the_whole_state_once_it_is_consented_to() -> None:
    rules = second(fourth=True)
    member = Situation("active", (), frozenset({"tmax-new"}), {}, {}, (), AFTER)
    (action,) = [a for a in decide(rules, member, Change("consent_changed")).affiliates if a.recipient == "tmax-new"]
    assert isinstance(action, Project)
    assert (action.member, action.roles) == (True, {"recipient"})


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("items", 'shared = ["email"', 'shared = ["ip", "email"', "never shared"),
        ("items", 'optional = ["phone"]', 'optional = ["device"]', "never shared"),
        ("notices", 'items = ["email", "name"]', 'items = ["email", "shoe_size"]', "a notice tells of an unknown item"),
        ("notices", 'purposes = ["P1.5"]', 'purposes = ["P1.9"]', "a notice tells of an unknown purpose"),
    ],
)
def test_data_that_would_share_too_much_is_not_loaded(file: str, old: str, new: str, fault: str) -> None:
    assert old in TEXTS[file]
    with pytest.raises(PolicyError) as caught:
        parse(TEXTS | {file: TEXTS[file].replace(old, new, 1)})
    assert any(fault in found for found in caught.value.faults)


def test_generated_items_are_known_and_never_shareable() -> None:
    rules = load()
    never = {i.id for i in rules.items.values() if not i.shareable}
    assert never == {"password", "ip", "cookie", "visited_at", "usage", "abuse", "device"}
    assert not never & rules.shared


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("email", True),
        ("phone", True),
        ("hypermeeting.phone", True),
        ("wapl.role", True),
        ("ip", True),
        ("shoe_size", False),
        ("chat.phone", False),
        ("hypermeeting.", False),
        (".email", False),
        ("", False),
    ],
)
def test_an_item_is_known_by_its_name_with_or_without_a_service(name: str, known: bool) -> None:
    assert load().knows_item(name) is known
