"""What one process tells the other of its legal holds, read strictly: no follower meets a step that it cannot store.

Whoever may write to the receipts topic may write an entry of this kind, and its `codes` are free: one that says too
little is logged and skipped, for the same batch would come again for ever.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import structlog
from aiokafka import ConsumerRecord

from schemas.receipts import HOLD_KIND, RegisterEntry
from services.runtime.register_record import entries

log = structlog.get_logger("holds")
Place = Literal["consent", "retention"]


@dataclass(frozen=True)
class HoldStep:
    """A hold on a member that was put for a coded reason (`held`), or was lifted; without a reason then."""

    hold_id: str
    member_ref: str
    held: bool
    reason: str
    at: datetime


def steps(batch: "Iterable[ConsumerRecord[Any, Any]]", place: Place) -> Iterator[HoldStep]:
    """Yield the steps told at `place` among the records of the receipts topic, in order."""
    for said in entries(batch, HOLD_KIND):
        if said.codes.get("place") != place:
            continue
        if (step := _step(said)) is not None:
            yield step
        else:
            log.error("hold_ill_formed", entry_id=said.entry_id)


def _step(said: RegisterEntry) -> HoldStep | None:
    held, reason = said.state == "held", said.codes.get("reason", "")
    if said.member_ref is None or said.state not in {"held", "lifted"} or (held and not reason):
        return None
    return HoldStep(said.subject, said.member_ref, held, reason, said.at)
