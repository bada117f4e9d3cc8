"""The case of a destruction: what is due, who may say what, and convergence whatever is killed or repeated."""

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.consent.erasure import model
from services.consent.erasure.model import Case, Gate
from services.consent.model import Member
from services.policy.erasure import Schedule, catalogue
from services.runtime.clock import KST
from services.runtime.problem import Problem

ID = "0198a000-0000-7000-8000-000000000001"
REF = "0198a000-0000-7000-8000-000000000002"
SELECTED = datetime(2026, 11, 23, 10, tzinfo=KST)
SCHEDULE = Schedule(
    due_on=date(2026, 11, 30),
    execute_from=datetime(2026, 11, 24, 10, tzinfo=KST),
    start_by=datetime(2026, 11, 30, tzinfo=KST),
    shred_by=datetime(2026, 11, 30, 18, tzinfo=KST),
)
EARLY = SELECTED + timedelta(hours=1)
GRACE_OVER = SCHEDULE.execute_from
LAST_DAY = SCHEDULE.start_by
LIMIT = SCHEDULE.shred_by
OWED = Gate(unanswered=("tmax-os",))


def a_case(**changes: Any) -> Case:
    case = Case(
        erasure_id=ID,
        member_ref=REF,
        class_id="withdrawal",
        state="approved",
        selected_at=SELECTED,
        selected_by="shop",
        duty_subject=ID,
        schedule=SCHEDULE,
        standing_version="2021-02-22",
    )
    return replace(case, **changes)


UNAPPROVED: dict[str, Any] = {"state": "selected", "standing_version": None}
EXECUTING: dict[str, Any] = {"state": "executing", "change_id": ID}


@pytest.mark.parametrize(
    ("changes", "gate", "now", "move"),
    [
        ({}, Gate(), EARLY, "wait"),
        ({}, Gate(), GRACE_OVER - timedelta(seconds=1), "wait"),
        ({}, Gate(), GRACE_OVER, "start"),
        ({"asked_at": EARLY}, Gate(), EARLY, "start"),
        ({"held": True}, Gate(), GRACE_OVER, "wait"),
        ({"held": True}, Gate(), LIMIT, "wait"),
        (UNAPPROVED, Gate(), GRACE_OVER, "wait"),
        (UNAPPROVED, Gate(), LAST_DAY - timedelta(seconds=1), "wait"),
        (UNAPPROVED, Gate(), LAST_DAY, "start"),
        (EXECUTING, Gate(), EARLY, "shred"),
        (EXECUTING, OWED, GRACE_OVER, "wait"),
        (EXECUTING, Gate(retained=False), GRACE_OVER, "wait"),
        (EXECUTING, Gate(messages=1), GRACE_OVER, "wait"),
        (EXECUTING | {"asked_at": EARLY}, Gate(messages=1), EARLY, "shred"),
        (EXECUTING | {"asked_at": EARLY}, OWED, EARLY, "wait"),
        (EXECUTING | {"asked_at": EARLY}, Gate(retained=False), EARLY, "wait"),
        (EXECUTING, OWED, LIMIT - timedelta(seconds=1), "wait"),
        (EXECUTING, OWED, LIMIT, "shred"),
        (EXECUTING | {"held": True}, Gate(), LIMIT, "wait"),
        ({"state": "erased"}, Gate(), LIMIT, "wait"),
    ],
)
def test_what_is_due_for_a_case(changes: dict[str, Any], gate: Gate, now: datetime, move: str) -> None:
    assert model.next_move(a_case(**changes), gate, now) == move


def test_a_shred_is_forced_when_something_was_owed_or_nobody_had_approved() -> None:
    executing = a_case(**EXECUTING)
    assert model.shredded(executing, Gate()).forced is False
    assert model.shredded(executing, OWED).forced is True
    assert model.shredded(executing, Gate(retained=False)).forced is True
    unapproved = model.started(a_case(**UNAPPROVED), ID)
    assert (unapproved.state, model.shredded(unapproved, Gate()).forced) == ("executing", True)


@pytest.mark.parametrize(
    ("note", "class_id"),
    [
        (None, "withdrawal"),
        ("dormancy", "dormancy"),
        ("deletion_request", "deletion_request"),
        ("suspension", "withdrawal"),
    ],
)
def test_the_note_of_a_withdrawal_says_its_class(note: str | None, class_id: str) -> None:
    assert model.class_of(note) == class_id


def test_a_class_without_a_standing_approval_waits_for_a_person() -> None:
    found = model.selected(catalogue(), ID, REF, "deletion_request", "officer-a", SELECTED)
    assert (found.state, found.standing_version, found.schedule) == ("selected", None, SCHEDULE)
    ordinary = model.selected(catalogue(), ID, REF, "withdrawal", "shop", SELECTED)
    assert (ordinary.state, ordinary.standing_version) == ("approved", "2021-02-22")


@pytest.mark.parametrize("state", ["selected", "approved", "executing", "erased"])
def test_whoever_selected_a_case_never_approves_it(state: Any) -> None:
    with pytest.raises(Problem) as refused:
        model.approve(a_case(state=state, selected_by="officer-a"), "officer-a", EARLY)
    assert (refused.value.status, refused.value.code) == (403, "selector_cannot_approve")


def test_an_approval_lets_an_unapproved_case_run_and_confirms_one_that_ran() -> None:
    approved = model.approve(a_case(**UNAPPROVED), "officer-b", EARLY)
    assert (approved.state, approved.approved_by, approved.approved_at) == ("approved", "officer-b", EARLY)
    confirmed = model.approve(a_case(state="erased"), "officer-b", EARLY)
    assert (confirmed.state, confirmed.confirmed) == ("erased", True)
    assert model.approve(confirmed, "officer-c", LIMIT) == confirmed


def test_an_execution_needs_an_approval_and_no_hold() -> None:
    assert code_of(lambda: model.ask(a_case(**UNAPPROVED), EARLY)) == "approval_required"
    assert code_of(lambda: model.ask(a_case(held=True), EARLY)) == "erasure_held"
    asked = model.ask(a_case(), EARLY)
    assert asked.asked_at == EARLY
    assert model.ask(asked, LIMIT) == asked


def test_a_hold_pauses_and_its_end_gives_the_law_its_days_again() -> None:
    held = model.hold(a_case(asked_at=EARLY))
    assert code_of(lambda: model.hold(held)) == "already_held"
    assert code_of(lambda: model.hold(a_case(state="erased"))) == "already_erased"
    assert code_of(lambda: model.lift(a_case(), catalogue(), ID, EARLY)) == "not_held"
    lifted = model.lift(held, catalogue(), REF, datetime(2026, 12, 10, 10, tzinfo=KST))
    assert (lifted.held, lifted.asked_at, lifted.duty_subject) == (False, None, REF)
    assert lifted.schedule.due_on == date(2026, 12, 15)
    assert lifted.state == "approved"


def test_only_one_who_has_left_is_erased_and_the_step_changes_no_item() -> None:
    left = Member(REF, 4, "withdrawn", SELECTED)
    step = model.erase(left)
    assert (step.change, step.items, step.member) == ("erased", frozenset(), left)
    assert code_of(lambda: model.erase(replace(left, status="active"))) == "not_withdrawn"


def code_of(act: Any) -> str:
    with pytest.raises(Problem) as refused:
        act()
    return refused.value.code


@dataclass
class World:
    """Two databases and a log, as plain facts: `row` is what was committed, the key lives elsewhere."""

    row: Case
    now: datetime = SELECTED
    key: bool = True
    facts: int = 0
    owed: set[str] = field(default_factory=set)
    retained: bool = True
    messages: int = 2
    shreds: int = 0

    def gate(self) -> Gate:
        if self.row.state != "executing":
            return Gate()
        return Gate(tuple(sorted(self.owed)), self.retained, self.messages)

    def look(self, killed: bool) -> None:
        """One look of the saga; `killed` ends it right before its commit."""
        before, gate = self.row, self.gate()
        move = model.next_move(before, gate, self.now)
        if move == "start":
            approved = before.standing_version is not None or before.approved_at is not None
            assert not before.held
            assert approved or self.now >= before.schedule.start_by
            if not killed:
                self.row, self.facts = model.started(before, ID), self.facts + 1
                self.owed, self.retained = {"tmax-cloud", "tmax-os"}, False
        if move == "shred":
            assert self.facts == 1
            assert not before.held
            done = not self.owed and self.retained and (self.messages == 0 or before.asked_at is not None)
            assert done or self.now >= before.schedule.shred_by
            self.key, self.shreds = False, self.shreds + 1
            if not killed:
                self.row = model.shredded(before, gate)

    def staff(self, verb: str) -> None:
        """A person does something; what is refused changes nothing."""
        acts: dict[str, Any] = {
            "approve": lambda c: model.approve(c, "officer-b", self.now),
            "ask": lambda c: model.ask(c, self.now),
            "hold": model.hold,
            "lift": lambda c: model.lift(c, catalogue(), REF, self.now),
        }
        try:
            self.row = acts[verb](self.row)
        except Problem:
            return

    def answer(self, who: str) -> None:
        self.owed.discard(who)
        self.retained = self.retained or who == "retention"
        self.messages -= who == "mail" and self.messages > 0


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("look"), st.booleans()),
        st.tuples(st.just("hours"), st.integers(1, 40)),
        st.tuples(st.just("staff"), st.sampled_from(["approve", "ask", "hold", "lift"])),
        st.tuples(st.just("answer"), st.sampled_from(["tmax-cloud", "tmax-os", "retention", "mail"])),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(class_id=st.sampled_from(["withdrawal", "deletion_request"]), events=EVENTS)
def test_whatever_is_killed_repeated_or_late_a_case_ends_erased_once_and_in_order(
    class_id: str, events: list[tuple[str, Any]]
) -> None:
    world = World(model.selected(catalogue(), ID, REF, class_id, "officer-a", SELECTED))
    for name, argument in events:
        if name == "hours":
            world.now += timedelta(hours=argument)
        else:
            getattr(world, name)(argument)
        assert world.key or world.facts == 1
        assert world.row.state != "erased" or not world.key
    world.staff("lift")
    world.now = max(world.now, world.row.schedule.shred_by)
    for _ in range(3):
        world.look(killed=True)
        world.look(killed=False)
    assert (world.row.state, world.key, world.facts) == ("erased", False, 1)
    shreds = world.shreds
    world.look(killed=False)
    assert world.shreds == shreds
