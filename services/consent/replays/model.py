"""Pure: how a replay moves from its plan to its end, and who may move it. Refusals carry a stable code."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

State = Literal["planned", "approved", "running", "completed", "failed", "cancelled"]
Reported = Literal["running", "completed", "failed"]
ENDED: Final = frozenset({"completed", "cancelled"})


class ReplayRefusedError(Exception):
    """The move is not allowed; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Replay:
    """What decides over a replay's next state."""

    replay_id: str
    sha256: str
    planned_by: str
    state: State
    approved_by: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Replay":
        """Read it from its row."""
        return cls(row["replay_id"], row["sha256"], row["planned_by"], row["state"], row["approved_by"])


def approve(replay: Replay, sha256: str, by: str) -> bool:
    """Say whether an approval is new; approving again what the same person approved is not.

    Raises ReplayRefusedError: `plan_changed` when the plan is not the one that was registered,
    `second_person_required` for who planned it, `replay_ended` after the end.
    """
    if sha256 != replay.sha256:
        raise ReplayRefusedError("plan_changed")
    if by == replay.planned_by:
        raise ReplayRefusedError("second_person_required")
    if replay.state in ENDED:
        raise ReplayRefusedError("replay_ended")
    return replay.approved_by is None


def report(replay: Replay, sha256: str, state: Reported) -> State:
    """Return the state after what an executor reports: a cancelled replay stays so, and the executor must stop.

    Raises ReplayRefusedError: `plan_changed`, `approval_required`, and `replay_ended` for one that was completed.
    """
    if sha256 != replay.sha256:
        raise ReplayRefusedError("plan_changed")
    if replay.approved_by is None and replay.state != "cancelled":
        raise ReplayRefusedError("approval_required")
    if replay.state == "completed" and state != "completed":
        raise ReplayRefusedError("replay_ended")
    return "cancelled" if replay.state == "cancelled" else state


def cancel(replay: Replay) -> State:
    """Return the state after a cancellation; raise ReplayRefusedError `replay_ended` when it is completed."""
    if replay.state == "completed":
        raise ReplayRefusedError("replay_ended")
    return "cancelled"
