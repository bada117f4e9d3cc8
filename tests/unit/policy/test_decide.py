"""decide() over every status and change: total, explained, never more than consented, and it converges."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.base import Marketing, MemberStatus
from schemas.events import FactName
from services.policy.decide import (
    Action,
    Change,
    Held,
    LedgerEntry,
    Nothing,
    NoticeFor,
    Project,
    Situation,
    StopFor,
    decide,
)
from services.policy.model import load

RULES = load()
AT = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
AFFILIATES = ("tmax-cloud", "tmax-os", "tmax-anc")
ITEMS = ("email", "name", "password_hash", "hypermeeting.phone", "wapl.photo", "wapl.role")
SERVICE_OF = {"tmax-os": "hypermeeting", "tmax-anc": "wapl"}

some_affiliates = st.frozensets(st.sampled_from(AFFILIATES))
marketings = st.builds(Marketing, use=st.booleans(), email=st.booleans(), sms=st.booleans(), night=st.booleans())
helds = st.builds(
    Held,
    roles=st.frozensets(st.sampled_from(("recipient", "processor"))),
    marketing=st.none() | marketings,
    prev=st.integers(0, 9),
)
entries = st.builds(
    LedgerEntry,
    recipient=st.sampled_from(("demo-partner", "other-partner", "tmax-os")),
    kind=st.sampled_from(("affiliate", "third_party")),
    item=st.sampled_from(ITEMS),
    stale=st.booleans(),
)
situations = st.builds(
    Situation,
    status=st.sampled_from(get_args(MemberStatus)),
    profiles=st.lists(
        st.sampled_from((("hypermeeting", "host"), ("wapl", "member"), ("elsewhere", "guest"))),
        max_size=3,
        unique=True,
    ).map(tuple),
    sharing=some_affiliates,
    marketing=st.dictionaries(st.sampled_from(AFFILIATES), marketings),
    held=st.dictionaries(st.sampled_from((*AFFILIATES, "tmax-gone")), helds),
    ledger=st.lists(entries, max_size=6).map(tuple),
    at=st.just(AT),
    suspended=st.frozensets(st.sampled_from(("P1.1", "P1.5", "name", "hypermeeting.phone", "wapl.title")), max_size=2),
)
changes = st.builds(Change, name=st.sampled_from(get_args(FactName)), items=st.frozensets(st.sampled_from(ITEMS)))


def channels_on(marketing: Marketing | None) -> set[str]:
    return {name for name, yes in (marketing.model_dump() if marketing else {}).items() if yes}


def consented(situation: Situation, affiliate: str) -> tuple[set[str], set[str]]:
    """The oracle: rows and channels that consents and services alone give, written from the clauses."""
    rows: set[str] = set()
    if affiliate == "tmax-cloud" or (affiliate in AFFILIATES and affiliate in situation.sharing):
        rows.add("recipient")
    if SERVICE_OF.get(affiliate) in {service for service, _ in situation.profiles}:
        rows.add("processor")
    return rows, channels_on(situation.marketing.get(affiliate)) if "recipient" in rows else set()


def after(situation: Situation, actions: tuple[Action, ...]) -> Situation:
    """What everyone holds once the records have arrived."""
    held = dict(situation.held)
    for action in actions:
        if isinstance(action, Project):
            held[action.recipient] = Held(frozenset(action.roles), action.marketing)
        elif isinstance(action, StopFor):
            before = held[action.recipient]
            if action.stop == "marketing_revoked":
                held[action.recipient] = replace(before, marketing=action.marketing)
            elif "P1.5" in action.suspended:
                held[action.recipient] = replace(before, marketing=None)
            elif action.stop in {"sharing_revoked", "withdrawn", "erased"}:
                held[action.recipient] = Held(before.roles - action.roles)
    return replace(situation, held=held)


@given(situations, changes)
@settings(max_examples=300, deadline=None)
def test_every_status_with_every_change_has_one_explained_answer_per_affiliate(s: Situation, change: Change) -> None:
    decision = decide(RULES, s, change)
    assert [a.recipient for a in decision.affiliates] == sorted(set(AFFILIATES) | set(s.held))
    for action in (*decision.affiliates, *decision.notices):
        assert action.rules
        assert set(action.rules) <= set(RULES.rules)


@given(situations, changes)
@settings(max_examples=300, deadline=None)
def test_nobody_is_sent_more_than_consents_and_services_give(s: Situation, change: Change) -> None:
    for action in decide(RULES, s, change).affiliates:
        if not isinstance(action, Project):
            continue
        rows, channels = consented(s, action.recipient)
        assert action.roles
        assert action.roles <= rows
        assert channels_on(action.marketing) <= channels
        assert action.member == ("recipient" in action.roles)
        assert (action.processed_service is not None) == ("processor" in action.roles)
        assert action.processed_service in {None, SERVICE_OF.get(action.recipient)}


@given(situations, changes)
@settings(max_examples=300, deadline=None)
def test_nothing_new_is_shared_unless_the_member_is_live(s: Situation, change: Change) -> None:
    for action in decide(RULES, s, change).affiliates:
        if isinstance(action, Project):
            assert s.status not in {"pending_guardian", "withdrawn", "erased"}
            if s.status in {"suspended", "withdrawal_requested"}:
                held = s.held.get(action.recipient, Held())
                assert action.roles <= held.roles
                assert channels_on(action.marketing) <= channels_on(held.marketing)


@given(situations, changes)
@settings(max_examples=300, deadline=None)
def test_whatever_is_held_without_consent_is_taken_away_by_the_very_next_change(s: Situation, change: Change) -> None:
    held = after(s, decide(RULES, s, change).affiliates).held
    frozen = change.name in {"withdrawal_requested", "suspended"}
    if frozen and s.status not in {"withdrawn", "erased"}:
        return
    for affiliate, state in held.items():
        nobody = s.status in {"pending_guardian", "withdrawn", "erased"} or change.name in {"withdrawn", "erased"}
        rows = set() if nobody else consented(s, affiliate)[0]
        assert state.roles <= rows


@given(situations)
@settings(max_examples=200, deadline=None)
def test_repeating_a_consent_change_ends_with_exactly_what_is_consented_and_then_sends_nothing(s: Situation) -> None:
    live = replace(s, status="active", suspended=frozenset())
    change = Change("consent_changed")
    for _ in range(3):
        live = after(live, decide(RULES, live, change).affiliates)
    for affiliate in AFFILIATES:
        held = live.held.get(affiliate, Held())
        rows, channels = consented(live, affiliate)
        assert held.roles == rows
        if "recipient" in rows:
            assert channels_on(held.marketing) == channels
    assert all(isinstance(a, Nothing) for a in decide(RULES, live, change).affiliates)


@given(situations, changes)
@settings(max_examples=300, deadline=None)
def test_what_is_suspended_in_part_opens_no_row_and_every_record_says_what_it_is(s: Situation, change: Change) -> None:
    for action in decide(RULES, s, change).affiliates:
        if isinstance(action, Project):
            gained = action.roles - s.held.get(action.recipient, Held()).roles
            needs = {"email", "name"} | ({"password_hash"} if "recipient" in gained else set())
            needs |= {"P1.1"} if "processor" in gained else set()
            assert not gained or not needs & s.suspended
            assert action.marketing is None or "P1.5" not in s.suspended
            assert action.suspended == {n for n in s.suspended if n in action.items or n[0] == "P"}
        elif isinstance(action, StopFor) and action.suspended:
            assert (change.name, action.stop) == ("suspended", "suspended")
            assert action.suspended <= s.suspended
            assert action.roles == {r for r in s.held[action.recipient].roles if r in {"recipient", "processor"}}


@given(situations, st.frozensets(st.sampled_from(ITEMS), min_size=1))
@settings(max_examples=300, deadline=None)
def test_notices_go_to_exactly_the_third_parties_that_hold_an_old_value(s: Situation, items: frozenset[str]) -> None:
    told: dict[str, set[str]] = {}
    if s.status not in {"withdrawn", "erased"}:
        for e in s.ledger:
            affected = e.item in items and e.item != "password_hash"
            if e.kind == "third_party" and e.recipient != "tmax-os" and e.stale and affected:
                told.setdefault(e.recipient, set()).add(e.item)
    got = decide(RULES, s, Change("corrected", items)).notices
    assert {n.recipient: set(n.items) for n in got} == told
    assert len(got) == len(told)


@pytest.mark.parametrize("name", sorted(set(get_args(FactName)) - {"corrected"}))
def test_nothing_but_a_correction_is_notified(name: FactName) -> None:
    held = (LedgerEntry("demo-partner", "third_party", "email", stale=True),)
    assert decide(RULES, situation(ledger=held), Change(name, frozenset({"email"}))).notices == ()


@pytest.mark.parametrize(
    "entry",
    [
        LedgerEntry("tmax-os", "third_party", "email", stale=True),
        LedgerEntry("demo-partner", "affiliate", "email", stale=True),
        LedgerEntry("demo-partner", "third_party", "email", stale=False),
        LedgerEntry("demo-partner", "third_party", "name", stale=True),
    ],
    ids=["an affiliate", "an affiliate's row", "the new value", "another item"],
)
def test_only_a_third_party_with_the_old_value_is_notified(entry: LedgerEntry) -> None:
    assert decide(RULES, situation(ledger=(entry,)), Change("corrected", frozenset({"email"}))).notices == ()


@given(situations)
@settings(max_examples=300, deadline=None)
def test_withdrawal_and_erasure_leave_nobody_with_a_row(s: Situation) -> None:
    for name in ("withdrawn", "erased"):
        ended = replace(s, status=name)
        held = after(ended, decide(RULES, ended, Change(name)).affiliates).held
        assert all(not state.roles for state in held.values())


@given(situations)
@settings(max_examples=300, deadline=None)
def test_erasure_reaches_all_that_ever_held_something_and_nobody_else(s: Situation) -> None:
    erased = replace(s, status="erased")
    actions = decide(RULES, erased, Change("erased")).affiliates
    stops = {a.recipient: a for a in actions if isinstance(a, StopFor)}
    assert set(stops) == set(s.held)
    assert all(a.stop == "erased" and a.roles == {"recipient", "processor"} for a in stops.values())


def situation(**parts: object) -> Situation:
    empty = Situation("active", (), frozenset(), {}, {}, (), AT)
    return replace(empty, **parts)


def action_for(affiliate: str, s: Situation, change: Change) -> Action:
    (found,) = [a for a in decide(RULES, s, change).affiliates if a.recipient == affiliate]
    return found


def test_a_projection_says_under_which_purpose_and_rule_each_row_is_held() -> None:
    s = situation(profiles=(("hypermeeting", "host"),), sharing=frozenset({"tmax-os"}))
    action = action_for("tmax-os", s, Change("signed_up"))
    assert isinstance(action, Project)
    assert action.basis_of("recipient") == ("P1.1", "3.2-share")
    assert action.basis_of("processor") == ("P1.1", "4.3-process")
    operator = action_for("tmax-cloud", s, Change("signed_up"))
    assert isinstance(operator, Project)
    assert operator.basis_of("recipient") == ("P1.2", "4.3-operator")
    with pytest.raises(KeyError):
        operator.basis_of("processor")


def test_four_items_cross_and_nothing_else_of_a_full_profile() -> None:
    payload = {"email", "name", "phone", "department", "birth_date", "photo", "ip"}
    s = situation(profiles=(("wapl", "member"),), sharing=frozenset({"tmax-os"}))
    action = action_for("tmax-os", s, Change("signed_up", frozenset(payload)))
    assert isinstance(action, Project)
    assert payload & action.items == {"email", "name"}
    assert action.items == {"email", "name", "password_hash", "membership_status"}


def test_a_processor_gets_the_items_of_the_members_role_only() -> None:
    admin = action_for("tmax-os", situation(profiles=(("hypermeeting", "admin"),)), Change("signed_up"))
    general = action_for("tmax-os", situation(profiles=(("hypermeeting", "user"),)), Change("signed_up"))
    assert isinstance(admin, Project)
    assert isinstance(general, Project)
    assert admin.items == {"email", "name", "hypermeeting.customer_name", "hypermeeting.phone"}
    assert general.items == {"email", "name"}


def test_a_permission_is_worth_nothing_before_it_is_in_force() -> None:
    before = RULES.effective_from - timedelta(seconds=1)
    s = situation(sharing=frozenset({"tmax-os"}), at=before)
    assert action_for("tmax-os", s, Change("signed_up")) == Nothing("tmax-os", ("3.1-consent",))
    in_force = replace(s, at=RULES.effective_from)
    assert isinstance(action_for("tmax-os", in_force, Change("signed_up")), Project)


def test_an_affiliate_that_left_the_group_is_still_told_to_stop() -> None:
    s = situation(held={"tmax-gone": Held(frozenset({"recipient"}))}, sharing=frozenset({"tmax-gone"}))
    stop = action_for("tmax-gone", s, Change("consent_changed"))
    assert stop == StopFor("tmax-gone", "sharing_revoked", frozenset({"recipient"}), None, ("3.2-revoke",))


def test_a_password_never_goes_into_a_notice() -> None:
    held = (LedgerEntry("demo-partner", "third_party", "password_hash", stale=True),)
    assert decide(RULES, situation(ledger=held), Change("corrected", frozenset({"password_hash"}))).notices == ()


def test_one_notice_names_all_corrected_items_in_order() -> None:
    held = tuple(LedgerEntry("demo-partner", "third_party", i, stale=True) for i in ("name", "email", "wapl.photo"))
    change = Change("corrected", frozenset({"name", "email"}))
    (notice,) = decide(RULES, situation(ledger=held), change).notices
    assert (notice.recipient, notice.items, notice.rules) == ("demo-partner", ("email", "name"), ("5.7-notify",))


@pytest.mark.parametrize(
    ("delivery", "bases", "more", "withheld"),
    [
        (None, {"consent"}, {}, ()),
        (None, {"law", "동의서 2026-11"}, {}, ()),
        (None, {"PIPA 17(1)1"}, {}, ()),
        (None, {"law"}, {}, ("email",)),
        (None, {"legitimate_interest"}, {}, ("email",)),
        (None, {"clause 3"}, {}, ("email",)),
        (None, set(), {}, ("email",)),
        ("values", {"law"}, {}, ()),
        ("notice_only", {"consent"}, {}, ("email",)),
        ("values", {"consent"}, {"suspended": frozenset({"email"})}, ("email",)),
        ("values", {"consent"}, {"suspended": frozenset({"name", "P1.4"})}, ()),
        ("values", {"consent"}, {"status": "suspended"}, ("email",)),
        (None, {"consent"}, {"status": "withdrawal_requested"}, ()),
    ],
)
def test_a_notice_carries_a_value_only_to_whom_it_may_go(
    delivery: Any, bases: set[str], more: dict[str, Any], withheld: tuple[str, ...]
) -> None:
    party = RULES.third_parties["demo-partner"].model_copy(update={"delivery": delivery})
    rules = replace(RULES, third_parties={"demo-partner": party})
    held = (LedgerEntry("demo-partner", "third_party", "email", stale=True, bases=frozenset(bases)),)
    s = replace(situation(ledger=held), **more)
    expected = NoticeFor("demo-partner", ("email",), ("5.7-notify",), withheld)
    assert decide(rules, s, Change("corrected", frozenset({"email"}))).notices == (expected,)
