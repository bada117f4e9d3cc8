"""Pure: sequences that break a consumer which does not keep the contract of docs/affiliates.md, and their right end.

Each case has a member of its own. `sent` is the order on the topic, in two phases: the backend is stopped between them.
The right end is folded from `all` records in order of their sequence by the reference model, whatever order was sent.
"""

import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from schemas.base import Marketing
from schemas.events import MemberPart, ProcessedPart, Projection, Stop
from services.propagator import model
from services.propagator.model import Arrival, State

BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)
YES: Final = Marketing(use=True, email=True, sms=False, night=False)
Shape = Projection | Stop


@dataclass
class Case:
    """One member's records. `destroyed`: its key is gone from the start (`always`) or in the second phase (`later`)."""

    name: str
    member_ref: str
    first: list[Shape] = field(default_factory=list)
    second: list[Shape] = field(default_factory=list)
    destroyed: str | None = None

    def expected(self) -> dict[str, Any] | None:
        """Return the cells the backend must report of this member; None when it must hold nothing."""
        state = State(self.member_ref)
        for shape in sorted({s.seq: s for s in [*self.first, *self.second]}.values(), key=lambda s: s.seq):
            unread = self.destroyed == "always" and isinstance(shape, Projection)
            said = None if unread else shape
            state, _ = model.receive(
                state, Arrival(self.member_ref, shape.seq, shape.prev, shape.change_id, said), BEGAN
            )
        return _cells(state)

    def gaps(self) -> list[tuple[int, int]]:
        """Return what must be reported missing: (after, up to)."""
        state = State(self.member_ref)
        for shape in [*self.first, *self.second]:
            arrival = Arrival(self.member_ref, shape.seq, shape.prev, shape.change_id, None)
            state, _ = model.receive(state, arrival, BEGAN)
        return [(gap.after, gap.upto) for gap in state.gaps]


def _cells(state: State) -> dict[str, Any] | None:
    member, processed = model.member_row(state), model.processed_row(state)
    if state.suppressed or (member is None and processed is None):
        return None
    held = member is not None and member.signed_up_at is not None  # what is suspended of it is null
    shown = {n: getattr(member, n) for n in ("email", "name", "password_hash")} if held else None
    runs = processed if processed is not None and processed.service else None
    return {
        "member": shown,
        "processed": {"service": runs.service, "role": runs.role, "items": dict(runs.items or {})} if runs else None,
        "marketing": dict(member.marketing) if member and member.marketing else None,
        "status": member.status if member else runs.status if runs else None,
    }


@dataclass
class Writer:
    """Writes one member's records, each after the one before."""

    member_ref: str
    chance: random.Random
    seq: int = 0
    prev: int = 0

    def state(self, *, processed: bool = False, marketing: bool = False, mail: bool = True) -> Projection:
        """The next full state of a recipient; without `mail` its e-mail is suspended in part."""
        seq, prev = self._next()
        email = f"m{seq}.{self.member_ref[:8]}@example.com" if mail else None
        part = MemberPart(
            email=email, name=f"이름{seq}", password_hash=f"$argon2id${seq}", status="active", signed_up_at=BEGAN
        )
        items = {"title": f"직책{seq}"} | ({"email": email} if email else {})
        runs = ProcessedPart(service="hypermeeting", role="host", items=items)
        return Projection(
            **self._told(seq, prev),
            member=part,
            marketing=YES if marketing else None,
            processed=runs if processed else None,
            suspended=() if mail else ("email",),
        )

    def run(self, status: Any = None) -> Projection:
        """The next full state of one who only runs a service; `status` is what stands over the membership."""
        seq, prev = self._next()
        items: dict[str, Any] = {"email": f"m{seq}.{self.member_ref[:8]}@example.com", "title": f"직책{seq}"}
        runs = ProcessedPart(service="hypermeeting", role="host", items=items, status=status)
        return Projection(**self._told(seq, prev), member=None, marketing=None, processed=runs)

    def stop(self, name: Any, *roles: Any) -> Stop:
        """The next stop record."""
        seq, prev = self._next()
        return Stop(stop=name, roles=roles or ("recipient",), **self._told(seq, prev))

    def _next(self) -> tuple[int, int]:
        self.seq += self.chance.randint(1, 3)
        self.prev, before = self.seq, self.prev
        return self.seq, before

    def _told(self, seq: int, prev: int) -> dict[str, Any]:
        change_id = str(uuid.UUID(int=self.chance.getrandbits(128), version=4))
        at = BEGAN + timedelta(minutes=seq)
        return {"change_id": change_id, "member_ref": self.member_ref, "seq": seq, "prev": prev, "at": at}


def _duplicates(w: Writer, case: Case) -> None:
    one, two = w.state(), w.state(marketing=True)
    case.first, case.second = [one, one, two, two], [one, two]


def _reversed(w: Writer, case: Case) -> None:
    made = (w.state(), w.state(processed=True), w.state(processed=True, marketing=True))
    case.first = [*reversed(made)]


def _gap(w: Writer, case: Case) -> None:
    one, _lost, three = w.state(), w.state(), w.state()
    case.first = [one, three]


def _late(w: Writer, case: Case) -> None:
    one, late, three = w.state(), w.state(), w.state()
    case.first, case.second = [one, three], [late]


def _replay_after_revocation(w: Writer, case: Case) -> None:
    before = [w.state(processed=True, marketing=True), w.state(processed=True)]
    case.first = [*before, w.stop("sharing_revoked", "recipient")]
    case.second = list(case.first)


def _stop_before_state(w: Writer, case: Case) -> None:
    one, two = w.state(), w.state()
    case.first, case.second = [one, w.stop("sharing_revoked", "recipient")], [two]


def _stop_first_of_all(w: Writer, case: Case) -> None:
    one = w.state(marketing=True)
    case.first, case.second = [w.stop("marketing_revoked")], [one]


def _withdrawn(w: Writer, case: Case) -> None:
    state, request = w.state(processed=True), w.stop("withdrawal_requested", "recipient", "processor")
    case.first = [state, w.stop("withdrawn", "recipient", "processor")]
    case.second = [request, state]


def _suspended(w: Writer, case: Case) -> None:
    case.first = [w.state(marketing=True), w.stop("suspended")]
    case.second = [w.state(marketing=True)]


def _suspended_in_part(w: Writer, case: Case) -> None:
    case.first, case.second = [w.state(processed=True)], [w.state(processed=True, mail=False)]


def _suspended_at_a_processor(w: Writer, case: Case) -> None:
    case.first = [w.run(), w.stop("suspended", "processor")]
    case.second = [w.run("suspended")]


def _processor_ends(w: Writer, case: Case) -> None:
    case.first = [w.state(processed=True, marketing=True), w.stop("sharing_revoked", "processor")]


def _erased(w: Writer, case: Case) -> None:
    one = w.state(processed=True)
    case.first, case.second = [one, w.stop("erased", "recipient", "processor")], [one, w.state()]
    case.destroyed = "later"


def _destroyed(w: Writer, case: Case) -> None:
    case.first = [w.state(), w.state()]
    case.destroyed = "always"


def _shuffled(w: Writer, case: Case) -> None:
    made: list[Shape] = [w.state(processed=w.chance.random() < 0.5, marketing=w.chance.random() < 0.5)]
    for _ in range(12):
        stop = w.chance.choice(["sharing_revoked", "marketing_revoked", "suspended", None, None])
        made.append(w.stop(stop) if stop else w.state(processed=w.chance.random() < 0.5))
    sent = [*made, *w.chance.choices(made, k=6)]
    w.chance.shuffle(sent)
    case.first, case.second = sent[:9], sent[9:]


MAKERS: Final[dict[str, Callable[[Writer, Case], None]]] = {
    "duplicates change nothing": _duplicates,
    "the newest state wins in any order": _reversed,
    "a gap is noted and nothing waits for it": _gap,
    "a late record closes its gap": _late,
    "a replay brings back nothing that was revoked": _replay_after_revocation,
    "a stop that comes before its state": _stop_before_state,
    "a stop as the first record of all": _stop_first_of_all,
    "a withdrawal ends both rows for good": _withdrawn,
    "a suspension ends with the next state": _suspended,
    "what is suspended in part is empty in the state": _suspended_in_part,
    "a suspension stands over a processor's row too": _suspended_at_a_processor,
    "a processor's end leaves the recipient's row": _processor_ends,
    "an erased member never comes back": _erased,
    "a destroyed key is skipped, not an error": _destroyed,
    "any interleaving ends the same": _shuffled,
}


def make(seed: int, shuffles: int = 5) -> Sequence[Case]:
    """Return every case for a seed; the interleaving one `shuffles` times."""
    chance, found = random.Random(seed), []  # noqa: S311 - a test's choices, repeatable by its seed
    for name, maker in MAKERS.items():
        for _ in range(shuffles if maker is _shuffled else 1):
            case = Case(name, str(uuid.UUID(int=chance.getrandbits(128), version=4)))
            maker(Writer(case.member_ref, chance), case)
            found.append(case)
    return found
