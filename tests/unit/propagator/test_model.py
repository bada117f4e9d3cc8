"""The fold of records into cells: a decision table by hand, and properties against an independent oracle."""

import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.base import Marketing
from schemas.events import MemberPart, ProcessedPart, Projection, Stop
from services.propagator.model import (
    Arrival,
    State,
    is_duplicate,
    member_row,
    processed_row,
    receive,
    suppress,
)

REF = "0b7d9a52-54a3-4c7e-9d2f-7a1f0c7b3e11"
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
YES = Marketing(use=True, email=True, sms=False, night=False)
LESS = Marketing(use=True, email=False, sms=False, night=False)


def at(seq: int) -> datetime:
    return NOW + timedelta(seconds=seq)


def projection(
    seq: int,
    prev: int,
    *,
    member: bool = True,
    marketing: Marketing | None = None,
    processed: bool | str = False,
    suspended: tuple[str, ...] = (),
):
    """`processed`: whether it has such a part; a status says so too, and what stands over it."""
    return Projection(
        change_id=str(uuid.UUID(int=seq)),
        member_ref=REF,
        seq=seq,
        prev=prev,
        at=at(seq),
        member=MemberPart(
            email=f"m{seq}@example.com",
            name=f"이름{seq}",
            password_hash=f"$argon2id${seq}",
            status="active",
            signed_up_at=at(0),
        )
        if member
        else None,
        marketing=marketing,
        processed=ProcessedPart(
            service="hypermeeting",
            role="host",
            items={"email": f"m{seq}@example.com"},
            status=processed if isinstance(processed, str) else None,
        )
        if processed
        else None,
        suspended=suspended,
    )


def stop(
    name: Any, seq: int, prev: int, *roles: Any, marketing: Marketing | None = None, suspended: tuple[str, ...] = ()
) -> Stop:
    return Stop(
        stop=name,
        change_id=str(uuid.UUID(int=seq)),
        member_ref=REF,
        seq=seq,
        prev=prev,
        at=at(seq),
        roles=roles,
        marketing=marketing,
        suspended=suspended,
    )


def arrival(change: Projection | Stop) -> Arrival:
    return Arrival(REF, change.seq, change.prev, change.change_id, change)


def unread(seq: int, prev: int) -> Arrival:
    return Arrival(REF, seq, prev, str(uuid.UUID(int=seq)), None)


def after(*arrivals: Projection | Stop | Arrival) -> tuple[State, list[str | None]]:
    state, stages = State(REF), []
    for change in arrivals:
        state, stage = receive(state, change if isinstance(change, Arrival) else arrival(change), NOW)
        stages.append(stage)
    return state, stages


def gaps(state: State) -> list[tuple[int, int]]:
    return [(g.after, g.upto) for g in state.gaps]


FULL = projection(1, 0, marketing=YES, processed=True)
RUNS = projection(1, 0, member=False, processed=True)
DECISIONS = [
    # records in order of arrival; (seq, e-mail, status, withdrawn, marketing) or None; (seq, service, status) or None
    ([FULL], (1, "m1@example.com", "active", None, YES), (1, "hypermeeting", None)),
    ([FULL, stop("sharing_revoked", 2, 1, "recipient")], None, (1, "hypermeeting", None)),
    ([FULL, stop("sharing_revoked", 2, 1, "processor")], (1, "m1@example.com", "active", None, YES), None),
    (
        [FULL, stop("marketing_revoked", 2, 1, marketing=LESS)],
        (2, "m1@example.com", "active", None, LESS),
        (1, "hypermeeting", None),
    ),
    ([FULL, stop("marketing_revoked", 2, 1)], (2, "m1@example.com", "active", None, None), (1, "hypermeeting", None)),
    (
        [FULL, stop("withdrawal_requested", 2, 1, "recipient")],
        (2, "m1@example.com", "withdrawal_requested", None, YES),
        (2, "hypermeeting", "withdrawal_requested"),
    ),
    (
        [FULL, stop("suspended", 2, 1, "processor", "recipient")],
        (2, "m1@example.com", "suspended", None, YES),
        (2, "hypermeeting", "suspended"),
    ),
    # who only runs a service is told by its row alone what stands over it, and a correction does not hide it
    ([RUNS, stop("suspended", 2, 1, "processor")], None, (2, "hypermeeting", "suspended")),
    (
        [RUNS, stop("suspended", 2, 1, "processor"), projection(3, 2, member=False, processed="suspended")],
        None,
        (3, "hypermeeting", "suspended"),
    ),
    (
        [projection(3, 2, member=False, processed="suspended"), stop("suspended", 2, 1, "processor"), RUNS],
        None,
        (3, "hypermeeting", "suspended"),
    ),
    (
        [stop("suspended", 2, 1, "processor"), projection(3, 2, member=False, processed=True)],
        None,
        (3, "hypermeeting", None),
    ),
    (
        [FULL, stop("suspended", 2, 1, "processor", "recipient"), stop("sharing_revoked", 3, 2, "recipient")],
        None,
        (2, "hypermeeting", "suspended"),
    ),
    (
        [FULL, stop("withdrawn", 2, 1, "recipient", "processor")],
        (2, None, "withdrawn", at(2), None),
        (2, None, "withdrawn"),
    ),
    (
        [stop("withdrawn", 2, 1, "recipient", "processor"), FULL],
        (2, None, "withdrawn", at(2), None),
        (2, None, "withdrawn"),
    ),
    (
        [stop("withdrawal_requested", 2, 1, "recipient"), FULL],
        (2, "m1@example.com", "withdrawal_requested", None, YES),
        (2, "hypermeeting", "withdrawal_requested"),
    ),
    ([stop("sharing_revoked", 2, 1, "recipient"), FULL], None, (1, "hypermeeting", None)),
    ([FULL, stop("erased", 2, 1, "recipient", "processor")], None, None),
    ([stop("erased", 2, 1, "recipient", "processor"), FULL], None, None),
    ([stop("erased", 2, 1, "recipient", "processor"), projection(3, 2)], None, None),
    (
        [FULL, stop("sharing_revoked", 2, 1, "recipient"), projection(3, 2, marketing=LESS)],
        (3, "m3@example.com", "active", None, LESS),
        None,
    ),
    ([projection(3, 2, member=False, processed=True), FULL], None, (3, "hypermeeting", None)),
    # suspended in part: the status stays; what is named is out of sight
    (
        [FULL, stop("suspended", 2, 1, "recipient", suspended=("email",))],
        (2, None, "active", None, YES),
        (2, "hypermeeting", None),
    ),
    (
        [stop("suspended", 2, 1, "recipient", suspended=("P1.5",)), FULL],
        (2, "m1@example.com", "active", None, None),
        (2, "hypermeeting", None),
    ),
    (
        [
            FULL,
            projection(3, 2, marketing=YES, processed=True),
            stop("suspended", 2, 1, "recipient", suspended=("email",)),
        ],
        (3, "m3@example.com", "active", None, YES),
        (3, "hypermeeting", None),
    ),
]


@pytest.mark.parametrize(("records", "member", "processed"), DECISIONS)
def test_the_visible_rows_follow_the_decision_table(records: Any, member: Any, processed: Any) -> None:
    state, _ = after(*records)
    row, held = member_row(state), processed_row(state)
    found = row and (row.seq, row.email, row.status, row.withdrawn_at, row.marketing)
    assert found == (member and (*member[:4], member[4] and member[4].model_dump()))
    assert (held and (held.seq, held.service, held.status)) == processed


def test_a_withdrawn_row_keeps_no_personal_value() -> None:
    state, _ = after(FULL, stop("withdrawn", 2, 1, "recipient", "processor"))
    row, held = member_row(state), processed_row(state)
    assert row is not None
    assert held is not None
    assert (row.email, row.name, row.password_hash, row.signed_up_at, row.marketing) == (None,) * 5
    assert (held.service, held.role, held.items) == (None, None, None)


def test_a_projection_that_skips_a_seq_opens_a_gap_and_the_late_one_closes_it_as_superseded() -> None:
    state, stages = after(projection(1, 0), projection(4, 3))
    assert (state.seq, gaps(state), stages) == (4, [(1, 3)], ["applied", "applied"])
    state, stages = after(projection(1, 0), projection(4, 3), projection(3, 1))
    assert (gaps(state), stages[-1]) == ([], "superseded")
    row = member_row(state)
    assert row is not None
    assert row.email == "m4@example.com"


def test_a_late_record_leaves_open_what_is_missing_before_and_after_it() -> None:
    state, _ = after(projection(9, 8), projection(5, 4))
    assert gaps(state) == [(0, 4), (5, 8)]


def test_sequences_that_were_not_sent_to_this_recipient_are_no_gap() -> None:
    state, stages = after(projection(2, 0), projection(7, 2), projection(9, 7))
    assert (state.seq, gaps(state), stages) == (9, [], ["applied"] * 3)


def test_a_duplicate_changes_nothing_and_is_not_answered() -> None:
    once, _ = after(FULL, projection(4, 3))
    again, stages = after(FULL, projection(4, 3), FULL, projection(4, 3))
    assert again == once
    assert stages[2:] == [None, None]
    assert is_duplicate(once, 1)
    assert not is_duplicate(once, 2)
    assert not is_duplicate(once, 5)


def test_a_late_stop_takes_away_what_a_later_projection_did_not_give_again() -> None:
    """A projection is full state, so it decides all; a stop that came late is then only noted."""
    state, stages = after(projection(3, 2, marketing=YES), stop("marketing_revoked", 2, 1))
    row = member_row(state)
    assert row is not None
    assert row.marketing == YES.model_dump()
    assert stages == ["applied", "superseded"]


def test_a_record_nobody_can_read_any_more_is_seen_and_skipped() -> None:
    state, stages = after(FULL, unread(2, 1))
    assert (state.seq, stages) == (2, ["applied", "skipped_destroyed"])
    assert member_row(state) == member_row(after(FULL)[0])


def test_a_suppressed_member_stays_away_whatever_comes() -> None:
    state = suppress(State(REF))
    for change in (FULL, projection(5, 4, processed=True), stop("withdrawn", 6, 5, "recipient")):
        state, stage = receive(state, arrival(change), NOW)
        assert stage == "skipped_destroyed"
        assert (member_row(state), processed_row(state)) == (None, None)
    assert gaps(state) == [(1, 4)]


def test_what_is_suspended_in_part_is_named_and_out_of_sight_until_a_projection_lifts_it() -> None:
    state, _ = after(FULL, stop("suspended", 2, 1, "recipient", "processor", suspended=("email", "hypermeeting.phone")))
    row, held = member_row(state), processed_row(state)
    assert row is not None
    assert held is not None
    assert (row.email, row.name, row.suspended) == (None, "이름1", ("email", "hypermeeting.phone"))
    assert (held.items, held.suspended) == ({}, ("email", "hypermeeting.phone"))
    state, _ = receive(state, arrival(projection(3, 2, processed=True)), NOW)
    row, held = member_row(state), processed_row(state)
    assert row is not None
    assert held is not None
    assert (row.email, row.suspended) == ("m3@example.com", None)
    assert (held.items, held.suspended) == ({"email": "m3@example.com"}, None)


# Properties. The oracle never folds: it looks at the whole set of records and asks which one decides.


class Oracle:
    """What a store must hold after a set of records, whatever the order they came in."""

    def __init__(self, received: Sequence[Projection | Stop | Arrival]) -> None:
        self.records = sorted(received, key=lambda r: r.seq)
        self.readable = [r for r in self.records if not isinstance(r, Arrival)]
        self.erased = any(isinstance(r, Stop) and r.stop == "erased" for r in self.readable)

    def gaps(self) -> list[tuple[int, int]]:
        seen, found = 0, []
        for record in self.records:
            if record.prev > seen:
                found.append((seen, record.prev))
            seen = record.seq
        return found

    def last(self, role: str | None, *stops: str) -> Projection | Stop | None:
        deciding = [
            r
            for r in self.readable
            if isinstance(r, Projection) or (r.stop in stops and (role is None or role in r.roles))
        ]
        return deciding[-1] if deciding else None

    def member(self) -> dict[str, Any] | None:
        values = self.last("recipient", "sharing_revoked", "withdrawn")
        if self.erased or values is None:
            return None
        ended = isinstance(values, Stop) and values.stop == "withdrawn"
        if not ended and (isinstance(values, Stop) or values.member is None):
            return None
        status = self._status()
        marketing = self._marketing()
        parts, parts_seq = self.parts()
        hidden = () if ended else parts
        assert status is not None
        part = None if ended else values.member  # type: ignore[union-attr]
        named = self.named(status)
        return {
            "seq": max(values.seq, status.seq, marketing.seq if marketing else 0, parts_seq),
            "email": part.email if part and "email" not in hidden else None,
            "name": part.name if part and "name" not in hidden else None,
            "password_hash": part and part.password_hash,
            "signed_up_at": part and part.signed_up_at,
            "status": named,
            "withdrawn_at": status.at if named == "withdrawn" else None,
            "marketing": marketing.marketing.model_dump() if not ended and marketing and marketing.marketing else None,
            "suspended": hidden or None,
        }

    def _status(self) -> Projection | Stop | None:
        """A suspension that names parts says nothing about the status."""
        found = [
            r
            for r in self.readable
            if isinstance(r, Projection)
            or (r.stop in {"withdrawal_requested", "suspended", "withdrawn"} and not r.suspended)
        ]
        return found[-1] if found else None

    @staticmethod
    def named(status: Projection | Stop | None) -> str | None:
        """A stop names itself; of a state the member's part says it, or else the processor's."""
        if status is None or isinstance(status, Stop):
            return status and status.stop
        return next((part.status for part in (status.member, status.processed) if part), None)

    def parts(self) -> tuple[tuple[str, ...], int]:
        """What is suspended in part: by the last projection, or a suspension that names something after it."""
        found = [r for r in self.readable if isinstance(r, Projection) or r.suspended]
        return (found[-1].suspended, found[-1].seq) if found else ((), 0)

    def _marketing(self) -> Projection | Stop | None:
        """Sharing and withdrawal end marketing for the recipient role only; its own stop names no role."""
        found = [
            r
            for r in self.readable
            if isinstance(r, Projection)
            or r.stop == "marketing_revoked"
            or "P1.5" in r.suspended
            or (r.stop in {"sharing_revoked", "withdrawn"} and "recipient" in r.roles)
        ]
        return found[-1] if found else None

    def processed(self) -> dict[str, Any] | None:
        found, stands = self.last("processor", "sharing_revoked", "withdrawn"), self._status()
        if self.erased or found is None:
            return None
        over = self.named(stands)
        status = None if over == "active" else over
        seq = max(found.seq, self.parts()[1], stands.seq if stands else 0)
        if isinstance(found, Stop):
            ended = {"seq": seq, "service": None, "role": None, "items": None, "suspended": None, "status": status}
            return ended if found.stop == "withdrawn" else None
        part = found.processed
        parts, _ = self.parts()
        return part and {
            "seq": seq,
            "service": part.service,
            "role": part.role,
            "items": {name: v for name, v in part.items.items() if name not in parts},
            "suspended": parts or None,
            "status": status,
        }


ROLES = st.sampled_from([("recipient",), ("processor",), ("processor", "recipient")])
MARKETING = st.sampled_from([None, YES, LESS])
PARTS = st.sampled_from([(), (), ("email",), ("P1.5",), ("P1.5", "name")])
STOPS = st.sampled_from(
    ["sharing_revoked", "marketing_revoked", "withdrawal_requested", "suspended", "withdrawn", "erased"]
)


@st.composite
def sent(draw: st.DrawFn, *, erasures: bool = True) -> list[Projection | Stop | Arrival]:
    """A chain of records as one recipient is sent them: rising seqs with holes, each naming the one before."""
    chain: list[Projection | Stop | Arrival] = []
    prev = 0
    for _ in range(draw(st.integers(1, 8))):
        seq = prev + draw(st.integers(1, 3))
        kind = draw(st.sampled_from(["projection", "projection", "stop", "stop", "unread"]))
        if kind == "projection":
            flags = draw(st.tuples(st.booleans(), MARKETING, st.sampled_from([False, True, "suspended"])))
            made = projection(seq, prev, member=flags[0], marketing=flags[1], processed=flags[2], suspended=draw(PARTS))
            chain.append(made)
        elif kind == "stop":
            name = draw(STOPS.filter(lambda n: erasures or n != "erased"))
            marketing = draw(MARKETING) if name == "marketing_revoked" else None
            parts = draw(PARTS) if name == "suspended" else ()
            chain.append(stop(name, seq, prev, *draw(ROLES), marketing=marketing, suspended=parts))
        else:
            chain.append(unread(seq, prev))
        prev = seq
    return chain


@st.composite
def deliveries(draw: st.DrawFn) -> list[Projection | Stop | Arrival]:
    """What arrives of a chain: some records lost, others twice, in any order."""
    chain = draw(sent())
    lost = draw(st.sets(st.integers(0, len(chain) - 1), max_size=len(chain) - 1))
    arrived = [record for i, record in enumerate(chain) if i not in lost]
    twice = draw(st.lists(st.sampled_from(arrived), max_size=4))
    return draw(st.permutations([*arrived, *twice]))


def columns(row: Any) -> dict[str, Any] | None:
    if row is None:
        return None
    return {name: getattr(row, name) for name in row.__slots__ if name != "member_ref"}


@pytest.mark.f(8)
@settings(max_examples=400, deadline=None)
@given(deliveries())
def test_any_order_and_duplication_ends_where_the_oracle_says(received: list[Any]) -> None:
    oracle = Oracle(list({r.seq: r for r in received}.values()))
    state, stages = after(*received)
    assert state.seq == max(r.seq for r in received)
    assert gaps(state) == oracle.gaps()
    assert state.suppressed == oracle.erased
    assert columns(member_row(state)) == oracle.member()
    assert columns(processed_row(state)) == oracle.processed()
    assert sum(stage is not None for stage in stages) == len({r.seq for r in received})


@pytest.mark.f(20)
@settings(max_examples=200, deadline=None)
@given(deliveries(), st.integers(0, 2**32))
def test_a_full_replay_in_another_order_changes_nothing(received: list[Any], seed: int) -> None:
    state, _ = after(*received)
    again = state
    for record in random.Random(seed).sample(received, len(received)):
        again, stage = receive(again, record if isinstance(record, Arrival) else arrival(record), at(99))
        assert stage is None
    assert again == state
