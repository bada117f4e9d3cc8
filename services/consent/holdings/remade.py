"""Pure: the fewest records that bring an affiliate's store to what it must hold of one member.

The last full state it was told, made again from the present values, and every stop after it. The first of them has
`prev` 0: whatever came before is covered by it. Sequences, change ids and instants are those of the changes themselves,
so that a store ends in the same rows as by the records it got at the time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from schemas import codec
from schemas.base import MemberStatus, Role
from schemas.envelope import Envelope, to_headers
from schemas.events import FactName, Projection, Stop, StopName, event_type
from schemas.topics import affiliate_topic
from services.consent import records
from services.consent.model import HeldState, Member
from services.keyring import derive
from services.policy import ids
from services.runtime.outbox import Record

SOURCE: Final = "/dongui/consent/holdings"
STOPS: Final[Mapping[str, StopName]] = {
    ids.ERASE: "erased",
    ids.WITHDRAWN: "withdrawn",
    ids.WITHDRAWAL_REQUEST: "withdrawal_requested",
    ids.SUSPEND: "suspended",
    ids.SUSPEND_PART: "suspended",
    ids.REVOKE: "sharing_revoked",
    ids.PROCESS_END: "sharing_revoked",
    ids.MARKETING_STOP: "marketing_revoked",
}
"""The first rule of an addressee says what it was sent: a permission a full state, any other the stop it causes."""


@dataclass(frozen=True)
class Told:
    """One change an affiliate was told of. `status` is the member's then in force.

    `suspended`: what its record named as suspended in part.
    """

    change_id: str
    seq: int
    name: FactName
    at: datetime
    roles: tuple[Role, ...]
    rule: str
    status: MemberStatus
    suspended: tuple[str, ...] = ()

    @property
    def stop(self) -> StopName | None:
        """The stop it was sent; None for a full state. A request to leave lifts no suspension, told of or not."""
        stop = STOPS.get(self.rule)
        return "suspended" if stop == "withdrawal_requested" and self.status == "suspended" else stop


@dataclass(frozen=True)
class Holding:
    """What makes the records: the member now, what the affiliate holds, the service it processes, what it was told."""

    affiliate: str
    member: Member
    held: HeldState
    service: str | None
    told: Sequence[Told]


def remake(holding: Holding, data_key: bytes | None) -> list[Record]:
    """Return the records in order; without a key (destroyed) only what needs none."""
    made, prev = [], 0
    for told in _needed(holding.told):
        if told.stop is not None:
            made.append(_stop(holding, told, told.stop, prev))
        elif data_key is not None and holding.member.email is not None:
            made.append(_state(holding, told, data_key, prev))
        else:
            continue  # a withdrawn member's values are gone everywhere; the stop that follows says all there is
        prev = told.seq
    return made


def _needed(told: Sequence[Told]) -> Sequence[Told]:
    erased = [t for t in told if t.stop == "erased"]
    if erased:
        return erased[-1:]
    last = max((i for i, t in enumerate(told) if t.stop is None), default=0)
    return told[last:]


def _state(holding: Holding, told: Told, data_key: bytes, prev: int) -> Record:
    """The values of now are those of then: what changed since and is this affiliate's was told since.

    But status and what is suspended in part are what it was told: under a whole suspension a part is recorded and not
    told.
    """
    roles, parts = frozenset(told.roles), frozenset(told.suspended)
    member = replace(holding.member, status=told.status, status_before=None, suspended=parts)
    part = records.member_part(member) if "recipient" in roles else None
    runs = holding.service if "processor" in roles and holding.service in member.profiles else None
    shape = Projection(
        change_id=told.change_id,
        member_ref=member.member_ref,
        seq=told.seq,
        prev=prev,
        at=told.at,
        member=part,
        marketing=holding.held.marketing if part else None,
        processed=records.processed_part(member, runs),
        suspended=told.suspended,
    )
    kid = derive.format_kid(holding.affiliate, member.member_ref, holding.held.epoch)
    topic = affiliate_topic(holding.affiliate)
    sealed = codec.seal(shape, key=derive.content_key(data_key, kid), kid=kid, topic=topic)
    return _record(holding, told, "projection", sealed, prev)


def _stop(holding: Holding, told: Told, stop: StopName, prev: int) -> Record:
    shape = Stop(
        stop=stop,
        change_id=told.change_id,
        member_ref=holding.member.member_ref,
        seq=told.seq,
        prev=prev,
        at=told.at,
        roles=tuple(sorted(told.roles)),
        marketing=holding.held.marketing if stop == "marketing_revoked" else None,
        suspended=told.suspended,
    )
    envelope = _envelope(holding, told, "stop", prev)
    return _record(holding, told, "stop", codec.encode_clear(shape, envelope), prev)


def _record(holding: Holding, told: Told, schema: str, payload: bytes, prev: int) -> Record:
    env = _envelope(holding, told, schema, prev)
    return Record(env.id, affiliate_topic(holding.affiliate), env.subject, env.type, payload, to_headers(env))


def _envelope(holding: Holding, told: Told, schema: str, prev: int) -> Envelope:
    return Envelope(
        id=str(uuid5(UUID(told.change_id), f"holdings/{holding.affiliate}")),
        type=event_type(told.name),
        source=SOURCE,
        subject=holding.member.member_ref,
        sequence=told.seq,
        previous=prev,
        time=told.at,
        dataschema=f"urn:dongui:{schema}:v1",
        content_type="application/jose" if schema == "projection" else "application/json",
        change_id=told.change_id,
    )
