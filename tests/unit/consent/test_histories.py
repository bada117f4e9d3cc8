"""Random histories: no item leaves without a live grant or a processor's task, and a withdrawal dominates."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.events import Projection, Stop
from services.propagator import model as store
from tests.unit.consent.histories import (
    AFFILIATES,
    FOUR,
    ITEMS_OF,
    REF,
    Command,
    History,
    Oracle,
    Sent,
    a_member,
    channels,
    held_after,
)

PARTS = ("P1.1", "P1.5", "email", "name", "wapl.photo", "hypermeeting.phone")
some_affiliate = st.sampled_from(AFFILIATES)
some_channel = st.tuples(some_affiliate, st.sampled_from(("use", "email", "sms", "night")))
commands: st.SearchStrategy[Command] = st.one_of(
    st.tuples(st.sampled_from(("share", "unshare")), some_affiliate),
    st.tuples(st.sampled_from(("market", "unmarket")), some_channel),
    st.tuples(st.just("use"), st.sampled_from(sorted(ITEMS_OF))),
    st.tuples(st.just("leave_service"), st.sampled_from(("hypermeeting", "wapl"))),
    st.tuples(st.just("rename"), st.sampled_from(("김하나", "이둘", "박셋"))),
    st.tuples(st.sampled_from(("request", "cancel", "suspend", "release", "guardian", "of_age")), st.none()),
    st.tuples(st.just("born"), st.booleans()),
    st.tuples(st.just("shown_of_age"), st.none()),
    st.tuples(st.sampled_from(("suspend_part", "release_part")), st.sampled_from(PARTS)),
    st.tuples(st.sampled_from(("request", "cancel", "confirm")), st.none()),
)
histories = st.tuples(
    st.frozensets(some_affiliate), st.frozensets(some_channel), st.booleans(), st.lists(commands, max_size=14)
)
SHORT = settings(max_examples=60, deadline=None)
LONG = settings(max_examples=5000, deadline=None)
NOW = datetime(2026, 4, 1, tzinfo=UTC)
Drawn = tuple[frozenset[str], frozenset[tuple[str, str]], bool, list[Command]]


def lived(drawn: Drawn) -> History:
    sharing, marketing, minor, todo = drawn
    history = a_member(sharing, marketing, minor=minor)
    for command in todo:
        history.run(command)
    return history


def carried(sent: Sent) -> None:
    """Hold one record against what it might carry when it was written."""
    record = sent.record
    if isinstance(record, Stop):
        return
    assert held_after(set(), record) <= sent.may, "a row or channel without a live grant or task"
    if record.member is not None:
        told = record.member.model_dump()
        assert told.keys() - {"signed_up_at"} == FOUR
        assert {item for item, value in told.items() if value is None} == FOUR & sent.parts
    if record.processed is not None:
        assert sent.profile == (record.processed.service, record.processed.role)
        named = {f"{record.processed.service}.{item}": item for item in ITEMS_OF[sent.profile]}
        named |= {"email": "email", "name": "name"}
        assert record.processed.items.keys() == {item for full, item in named.items() if full not in sent.parts}
    assert record.member or record.processed, "a projection of nothing"


def check_no_item_leaves_without_a_grant_or_a_task(drawn: Drawn) -> None:
    history = lived(drawn)
    for sent in history.sent:
        carried(sent)
    assert history.member.in_force == status_in_force(history.oracle)
    every_store_says_the_status_in_force(history)
    if not history.oracle.suspended:
        nothing_suspended_is_in_sight(history)


def every_store_says_the_status_in_force(history: History) -> None:
    """Whoever has a row knows what may be done with it: a request to leave hides no suspension (37(2))."""
    for affiliate in AFFILIATES:
        member, processed = rows(folded([s.record for s in history.sent if s.affiliate == affiliate]))
        status = status_in_force(history.oracle)
        assert member is None or member.status == status
        assert processed is None or processed.status == (None if status == "active" else status)


def nothing_suspended_is_in_sight(history: History) -> None:
    """What every store shows after all records came: no item, and no advertising, that is suspended in part."""
    parts = history.oracle.parts
    for affiliate in AFFILIATES:
        member, processed = rows(folded([s.record for s in history.sent if s.affiliate == affiliate]))
        shown = {item for item in ("email", "name") if member is not None and getattr(member, item) is not None}
        if processed is not None and processed.items is not None:
            shown |= {n if n in {"email", "name"} else f"{processed.service}.{n}" for n in processed.items}
        assert not shown & parts
        assert member is None or member.marketing is None or "P1.5" not in parts


def status_in_force(oracle: Oracle) -> str:
    """The status every use goes by, in the oracle's words: what is stricter wins over a request to leave."""
    if oracle.status == "withdrawn":
        return "withdrawn"
    if oracle.status == "pending_guardian":
        return "pending_guardian"
    return "suspended" if oracle.suspended else "withdrawal_requested" if oracle.leaving else "active"


def check_nobody_holds_what_is_not_granted_once_the_next_change_has_come(drawn: Drawn) -> None:
    """One change takes one thing away; so after as many as there are things, nothing is held that may not be."""
    history = lived(drawn)
    if history.oracle.status != "withdrawn":
        for name in ("김하나", "이둘", "박셋"):
            history.run(("rename", name))
    for affiliate in AFFILIATES:
        held = history.oracle.held.get(affiliate, set())
        assert held <= history.oracle.may_hold(affiliate)
        if not (history.oracle.suspended or history.oracle.leaving):
            assert held == history.oracle.may_send(affiliate)


def check_a_withdrawal_dominates_in_any_order(drawn: Drawn, seed: int) -> None:
    history = lived(drawn)
    for name in ("guardian", "request", "confirm"):
        history.run((name, None))
    assert history.oracle.status == "withdrawn"
    for affiliate in AFFILIATES:
        records = [s.record for s in history.sent if s.affiliate == affiliate]
        shuffled = records + random.Random(seed).sample(records, len(records) // 2)  # some arrive twice
        random.Random(seed).shuffle(shuffled)
        in_order, any_order = folded(records), folded(shuffled)
        assert rows(any_order) == rows(in_order)
        member, processed = rows(any_order)
        assert member is None or (member.email, member.name, member.marketing) == (None, None, None)
        assert processed is None or processed.items is None


def folded(records: list[Projection | Stop]) -> store.State:
    state = store.State(REF)
    for i, record in enumerate(records):
        arrival = store.Arrival(REF, record.seq, record.prev, record.change_id, record)
        state, _ = store.receive(state, arrival, NOW + timedelta(seconds=i))
    return state


def rows(state: store.State) -> tuple[store.MemberRow | None, store.ProcessedRow | None]:
    return store.member_row(state), store.processed_row(state)


@given(histories)
@example((frozenset(), frozenset(), False, [("suspend", None), ("request", None), ("rename", "김하나")]))
@example((frozenset(), frozenset(), False, [("use", ("wapl", "member")), ("suspend", None), ("rename", "이둘")]))
@example((frozenset(), frozenset(), False, [("suspend_part", "name"), ("rename", "박셋"), ("release_part", "name")]))
@SHORT
def test_no_item_leaves_without_a_grant_or_a_task(drawn: Drawn) -> None:
    check_no_item_leaves_without_a_grant_or_a_task(drawn)


@given(histories)
@SHORT
def test_nobody_holds_what_is_not_granted_once_the_next_change_has_come(drawn: Drawn) -> None:
    check_nobody_holds_what_is_not_granted_once_the_next_change_has_come(drawn)


@given(histories, st.integers(0, 2**16))
@SHORT
def test_a_withdrawal_dominates_in_any_order(drawn: Drawn, seed: int) -> None:
    check_a_withdrawal_dominates_in_any_order(drawn, seed)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_five_thousand_histories_each() -> None:
    given(histories)(LONG(check_no_item_leaves_without_a_grant_or_a_task))()
    given(histories)(LONG(check_nobody_holds_what_is_not_granted_once_the_next_change_has_come))()
    given(histories, st.integers(0, 2**16))(LONG(check_a_withdrawal_dominates_in_any_order))()


def test_the_oracle_would_find_a_row_without_a_grant() -> None:
    """The check can fail: the same record, held against a member who shares with nobody, is refused."""
    history = a_member(frozenset({"tmax-os"}), frozenset({("tmax-os", "email")}), minor=False)
    (sent,) = [s for s in history.sent if s.affiliate == "tmax-os"]
    assert isinstance(sent.record, Projection)
    assert channels(sent.record.marketing) == {"use", "email"}
    carried(sent)
    history.oracle.sharing.clear()
    with pytest.raises(AssertionError, match="without a live grant"):
        carried(Sent("tmax-os", sent.record, history.oracle.may_send("tmax-os"), None))
