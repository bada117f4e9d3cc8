"""The records made again from the ledger end in the same rows as all that was ever sent, whatever the history."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings

from schemas.events import Projection, Stop
from services.consent.holdings.remade import Holding, Told, remake
from services.propagator import model as store
from services.propagator.model import Arrival, State
from tests.unit.consent.histories import AFFILIATES, DATA_KEY, REF, RUNS, History, opened
from tests.unit.consent.test_histories import Drawn, histories, lived

NOW = datetime(2026, 4, 1, tzinfo=UTC)


def told_to(history: History, affiliate: str) -> list[Told]:
    """Return what the ledger keeps of the changes an affiliate was told of."""
    return [
        Told(fact.change_id, fact.seq, fact.change, fact.at, to.roles, to.rules[0], status, to.suspended)
        for fact, status in history.facts
        for to in fact.addressees
        if to.id == affiliate
    ]


def stored(shapes: list[Projection | Stop]) -> State:
    """Fold records into a store's state of the member."""
    state = State(REF)
    for shape in shapes:
        state, _ = store.receive(state, Arrival(REF, shape.seq, shape.prev, shape.change_id, shape), NOW)
    return state


def check_remade(drawn: Drawn) -> None:
    history = lived(drawn)
    for affiliate in AFFILIATES:
        sent = stored([s.record for s in history.sent if s.affiliate == affiliate])
        held = history.member.held.get(affiliate)
        told = told_to(history, affiliate)
        assert (held is None) == (told == [])
        if held is None:
            continue
        holding = Holding(affiliate, history.member, held, RUNS.get(affiliate), told)
        again = stored([opened(record) for record in remake(holding, DATA_KEY)])
        assert store.member_row(again) == store.member_row(sent)
        assert store.processed_row(again) == store.processed_row(sent)
        assert (again.seq, again.gaps) == (sent.seq, ())
        assert held.prev == sent.seq


def test_a_suspension_that_a_request_to_leave_once_hid_is_made_again() -> None:
    """Stores were told of the request over the suspension until this was put right: they hear the suspension again."""
    history = lived((frozenset(), frozenset(), False, [("suspend", None), ("request", None)]))
    rules = {1: "4.3-operator", 2: "5.1-suspend", 3: "3.2-withdrawal-request"}
    told = [Told(f.change_id, f.seq, f.change, f.at, ("recipient",), rules[f.seq], s) for f, s in history.facts]
    holding = Holding("tmax-cloud", history.member, history.member.held["tmax-cloud"], None, told)
    row = store.member_row(stored([opened(record) for record in remake(holding, DATA_KEY)]))
    assert row is not None
    assert (row.seq, row.status) == (3, "suspended")


MARKETED = frozenset({("tmax-cloud", "use")})
HOSTED = ("use", ("hypermeeting", "host"))


@given(histories)
@example((frozenset(), frozenset(), False, [HOSTED, ("suspend", None), ("suspend_part", "email")]))
@example((frozenset({"tmax-os"}), frozenset(), False, [HOSTED, ("suspend_part", "name"), ("unshare", "tmax-os")]))
@example((frozenset(), MARKETED, False, [("suspend", None), ("suspend_part", "P1.5"), ("rename", "김하나")]))
@settings(max_examples=80, deadline=None)
def test_what_is_made_again_is_what_was_sent(drawn: Drawn) -> None:
    check_remade(drawn)


@pytest.mark.long
@pytest.mark.timeout(900)
@given(histories)
@settings(max_examples=5000, deadline=None)
def test_what_is_made_again_is_what_was_sent_long(drawn: Drawn) -> None:
    check_remade(drawn)


def test_marketing_stays_known_when_only_the_service_ends() -> None:
    """A processor's row that goes does not make the ledger forget the instruction beside the member row."""
    sharing, marketing = frozenset({"tmax-os"}), frozenset({("tmax-os", "email")})
    history = lived((sharing, marketing, False, [("use", ("hypermeeting", "host")), ("leave_service", "hypermeeting")]))
    kept = history.member.held["tmax-os"].marketing
    assert kept is not None
    assert kept.email
    history.run(("unmarket", ("tmax-os", "use")))
    last = history.sent[-1].record
    assert isinstance(last, Stop)
    assert last.stop == "marketing_revoked"
