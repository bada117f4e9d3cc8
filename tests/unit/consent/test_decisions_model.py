"""answer() over random pasts: total, explained, stable for ever, and never yes without evidence."""

from datetime import UTC, datetime, timedelta
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.base import MemberStatus
from services.consent.decisions import model
from services.consent.decisions.history import Given, Grant, History, ProfileSpan, StatusSpan
from services.consent.decisions.model import Question
from services.policy import questions
from services.policy.marketing import MediumId
from services.policy.model import load

RULES = load()
T0 = datetime(2026, 1, 1, tzinfo=UTC)
PARTIES = ("tmax-cloud", "tmax-os", "tmax-anc")
ITEMS = ("email", "name", "password_hash", "membership_status", "phone", "hypermeeting.phone", "wapl.photo", "ip", None)

instants = st.integers(0, 1000).map(lambda hours: T0 + timedelta(hours=hours))
spans = st.builds(StatusSpan, st.sampled_from(get_args(MemberStatus)), instants, st.just("c"))
targets = st.one_of(
    st.tuples(st.just("sharing"), st.sampled_from(PARTIES), st.just("")),
    st.tuples(st.just("marketing"), st.sampled_from(PARTIES), st.sampled_from(("use", "email", "sms", "night"))),
    st.just(("collection", "", "")),
)


@st.composite
def grants(draw: st.DrawFn) -> Grant:
    given_at = draw(instants)
    ended = draw(st.none() | st.integers(0, 500))
    version = draw(st.sampled_from(("2021-02-22", "2021-02-22", "1999-01-01")))
    end = None if ended is None else given_at + timedelta(hours=ended)
    return Grant(draw(st.integers(1, 99)), *draw(targets), version, "h", "web", "member", "c", given_at, end, None)


profiles = st.builds(
    ProfileSpan,
    st.sampled_from(("hypermeeting", "wapl", "elsewhere")),
    st.sampled_from(("admin", "host", "member", "unknown", None)),
    st.just(()),
    st.just("web"),
    st.just("c"),
    instants,
)
ledgers = st.builds(
    Given,
    st.just("d"),
    st.sampled_from((*PARTIES, "demo-partner")),
    st.sampled_from(("recipient", "processor")),
    st.frozensets(st.sampled_from(("email", "name", "phone", "hypermeeting.phone"))),
    st.sampled_from(("P1.1", "delivery")),
    st.just("consent"),
    instants,
)
pasts = st.builds(
    History,
    signed_up_at=st.just(T0),
    statuses=st.lists(spans, max_size=4).map(lambda found: tuple(sorted(found, key=lambda s: s.since))),
    grants=st.lists(grants(), max_size=8).map(tuple),
    profiles=st.lists(profiles, max_size=4).map(lambda found: tuple(sorted(found, key=lambda p: p.at))),
    ledger=st.lists(ledgers, max_size=5).map(tuple),
    checks=st.just(()),
)
asked = st.builds(
    Question,
    st.sampled_from((*PARTIES, "demo-partner")),
    st.sampled_from(("P1.1", "P1.2", "P1.3", "P1.4", "P1.5")),
    st.integers(-10, 1100).map(lambda hours: T0 + timedelta(hours=hours)),
    st.sampled_from(ITEMS),
    st.none() | st.sampled_from(get_args(MediumId)),
)


@given(pasts, asked)
@settings(max_examples=300, deadline=None)
def test_every_question_about_every_past_has_one_explained_answer(past: History, question: Question) -> None:
    found = model.answer(RULES, past, question)
    assert found.rule in questions.NAMED
    assert found.evidence or found.rule, "an answer says why"
    if found.allowed:
        assert len(found.evidence) > 1, "a yes rests on more than the status"


@given(pasts, asked)
@settings(max_examples=300, deadline=None)
def test_a_yes_needs_a_live_consent_a_task_or_a_ledger_row(past: History, question: Question) -> None:
    """The oracle: written from the clauses, with none of the product's functions but the values it compares."""
    if not model.answer(RULES, past, question).allowed:
        return
    at, who = question.at, question.recipient
    live = {
        (g.purpose, g.party, g.channel)
        for g in past.grants
        if g.given_at <= at and (g.ended_at is None or g.ended_at > at)
    }
    begun = [s.status for s in past.statuses if s.since <= at] or [past.statuses[0].status]
    assert begun[-1] in {"active", "dormant_notified", "withdrawal_requested"}
    assert question.item != "ip"
    if who == "demo-partner":
        assert any(g.recipient == who and g.at <= at for g in past.ledger)
    elif question.purpose == "P1.5":
        assert ("marketing", who, "use") in live
        assert question.medium is None or ("marketing", who, question.medium) in live
        assert begun[-1] != "withdrawal_requested"
    elif who != "tmax-cloud" and ("sharing", who, "") not in live:
        service = {"tmax-os": "hypermeeting", "tmax-anc": "wapl"}[who]
        used = [p.role for p in past.profiles if p.service == service and p.at <= at]
        assert used
        assert used[-1] is not None
        assert question.purpose == "P1.1"


@given(pasts, asked, st.lists(spans, max_size=2), st.lists(grants(), max_size=2))
@settings(max_examples=200, deadline=None)
def test_what_happens_later_changes_no_answer_about_before(
    past: History, question: Question, later_spans: list[StatusSpan], later_grants: list[Grant]
) -> None:
    after = question.at + timedelta(hours=1)
    statuses = (*past.statuses, *(StatusSpan(s.status, after, "l") for s in later_spans))
    given_later = tuple(
        Grant(g.consent_id, g.purpose, g.party, g.channel, g.notice_version, "h", "web", "member", "l", after)
        for g in later_grants
    )
    told = History(past.signed_up_at, statuses, (*past.grants, *given_later), past.profiles, past.ledger, past.checks)
    if past.statuses:
        assert model.answer(RULES, told, question) == model.answer(RULES, past, question)
