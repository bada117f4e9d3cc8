"""Does a receiver do its part? Sends made-up notices, good and bad, and judges each answer by the cases of `CASES`.

The member is a random reference that nobody holds and the values are nobody's. A receiver that names the `sequence`
it now holds is judged on that as well; of one that does not, only what it answers can be seen.
"""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import aiohttp
import orjson

from schemas.events import Notice
from services.propagator.notices import model, onboarding, post
from services.propagator.notices.endpoints import Endpoint
from services.propagator.notices.model import Acknowledged, Reply
from services.propagator.notices.signing import Signer
from services.runtime.clock import Clock

STALE: Final = timedelta(minutes=10)
"""Twice the five minutes a receiver may allow."""
VALUE: Final = "conformance@example.invalid"


@dataclass(frozen=True, slots=True)
class Result:
    """One case: `reason` says what was wrong, or None."""

    case: str
    reason: str | None

    @property
    def ok(self) -> bool:
        return self.reason is None


@dataclass(frozen=True, slots=True)
class Trial:
    """One receiver under trial; all notices are about one made-up member."""

    client: aiohttp.ClientSession
    signer: Signer
    endpoint: Endpoint
    clock: Clock
    member_ref: str = field(default_factory=lambda: str(uuid.uuid4()))

    def notice(self, sequence: int) -> "Attempt":
        """Return a well-formed notice of a sequence, signed now."""
        at = self.clock()
        made = Notice(
            notice_id=str(uuid.uuid4()),
            change_id=str(uuid.uuid4()),
            member_ref=self.member_ref,
            recipient=self.endpoint.recipient,
            seq=sequence,
            corrected_at=at,
            items=("email",),
            values={"email": VALUE},
        )
        return self.signed(made.notice_id, model.body_of(made))

    def signed(self, message_id: str, body: bytes, late: timedelta = timedelta(0)) -> "Attempt":
        """Return an attempt signed as if `late` ago."""
        headers = self.signer.headers(message_id, self.clock() - late, body, *self.endpoint.secrets)
        return Attempt(headers, body)

    async def send(self, attempt: "Attempt") -> "Answered":
        """Return what the receiver answers."""
        reply = await post.post(self.client, self.endpoint, attempt.headers, attempt.body)
        return Answered(reply, model.answer_in(reply.body, attempt.headers["webhook-id"]))


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one POST carries."""

    headers: dict[str, str]
    body: bytes

    def but(self, **headers: str) -> "Attempt":
        """Return it with other headers under the same signature (`webhook_id`: webhook-id)."""
        return Attempt(self.headers | {name.replace("_", "-"): value for name, value in headers.items()}, self.body)

    @property
    def signatures(self) -> list[str]:
        return self.headers["webhook-signature"].split(" ")


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back, and the outcome in it, if any."""

    reply: Reply
    outcome: Acknowledged | None


Case = Callable[[Trial], Awaitable[str | None]]


async def run(trial: Trial) -> list[Result]:
    """Return the result of every case; a receiver that does not give the challenge back is sent nothing else."""
    why = await onboarding.challenge(trial.client, trial.signer, trial.endpoint, trial.clock)
    results = [Result("challenge", why)]
    if why is None:
        results += [Result(name, await case(trial)) for name, case in CASES.items()]
    return results


def _taken(answered: Answered) -> str | None:
    """A good notice is answered by a 2xx, with an outcome in its body or none yet (202)."""
    reply = answered.reply
    if reply.status is None:
        return f"no answer ({reply.error})"
    if not reply.is_success:
        return f"a good notice was answered {reply.status}, not 2xx"
    if reply.status != 202 and answered.outcome is None:
        return f"answered {reply.status} without an outcome (corrected, not_held, refused); 202 says it follows"
    return None


def _refused(answered: Answered) -> str | None:
    """A bad notice is answered by a 4xx: neither taken nor a reason to fall over."""
    reply = answered.reply
    if reply.status is not None and 400 <= reply.status < 500:
        return None
    if reply.status is None:
        return f"no answer ({reply.error}); a 4xx is right"
    return f"answered {reply.status}" + (": it was taken" if reply.is_success else "") + "; a 4xx is right"


def _same(first: Answered, second: Answered) -> str | None:
    """The same notice again is the same outcome."""
    return None if first.outcome == second.outcome else "the second answer has another outcome than the first"


def _holds(answered: Answered, sequence: int) -> str | None:
    """What the receiver says it holds, where it says so."""
    try:
        said = orjson.loads(answered.reply.body)
    except orjson.JSONDecodeError:
        return None
    held = said.get("sequence") if isinstance(said, dict) else None
    return None if held in {None, sequence} else f"it says that it holds sequence {held}; it must be {sequence}"


async def _notice(trial: Trial) -> str | None:
    return _taken(await trial.send(trial.notice(1)))


async def _duplicate(trial: Trial) -> str | None:
    """The same id again, signed anew: what every receiver gets after a lost answer."""
    first = trial.notice(2)
    before = await trial.send(first)
    after = await trial.send(trial.signed(first.headers["webhook-id"], first.body, timedelta(seconds=-1)))
    return _taken(before) or _taken(after) or _same(before, after)


async def _replayed(trial: Trial) -> str | None:
    """The very bytes again after a newer notice: may be refused, must not be done again."""
    older, newer = trial.notice(3), trial.notice(4)
    before = await trial.send(older)
    if why := _taken(before) or _taken(await trial.send(newer)):
        return why
    again = await trial.send(older)
    return None if _refused(again) is None else _taken(again) or _same(before, again) or _holds(again, 4)


async def _reordered(trial: Trial) -> str | None:
    """An older notice after a newer: taken, and the newer value stays."""
    older, newer = trial.notice(6), trial.notice(7)
    first = await trial.send(newer)
    late = await trial.send(older)
    return _taken(first) or _taken(late) or _holds(first, 7) or _holds(late, 7)


async def _stale(trial: Trial) -> str | None:
    fresh = trial.notice(8)
    return _refused(await trial.send(trial.signed(fresh.headers["webhook-id"], fresh.body, STALE)))


async def _future(trial: Trial) -> str | None:
    fresh = trial.notice(8)
    return _refused(await trial.send(trial.signed(fresh.headers["webhook-id"], fresh.body, -STALE)))


async def _tampered_body(trial: Trial) -> str | None:
    good = trial.notice(9)
    body = good.body.replace(VALUE.encode(), b"c0nformance@example.invalid")
    return _refused(await trial.send(Attempt(good.headers, body)))


async def _tampered_id(trial: Trial) -> str | None:
    return _refused(await trial.send(trial.notice(9).but(webhook_id=str(uuid.uuid4()))))


async def _tampered_timestamp(trial: Trial) -> str | None:
    good = trial.notice(9)
    return _refused(await trial.send(good.but(webhook_timestamp=str(int(good.headers["webhook-timestamp"]) - 1))))


async def _tampered_signature(trial: Trial) -> str | None:
    good = trial.notice(9)
    flipped = [one[:-8] + ("A" if one[-8] != "A" else "B") + one[-7:] for one in good.signatures]
    return _refused(await trial.send(good.but(webhook_signature=" ".join(flipped))))


async def _unsigned(trial: Trial) -> str | None:
    good = trial.notice(9)
    bare = {name: value for name, value in good.headers.items() if name != "webhook-signature"}
    return _refused(await trial.send(Attempt(bare, good.body)))


async def _foreign_key(trial: Trial) -> str | None:
    """Signed well, by keys that are not ours."""
    good = trial.notice(9)
    foreign = Signer(uuid.uuid4().bytes * 2)
    headers = foreign.headers(good.headers["webhook-id"], trial.clock(), good.body, uuid.uuid4().bytes * 2)
    return _refused(await trial.send(Attempt(headers, good.body)))


async def _rotation(trial: Trial) -> str | None:
    """Signatures of an unknown key and of an unknown version before the good ones: one good one is enough."""
    good = trial.notice(10)
    foreign = Signer(uuid.uuid4().bytes * 2)
    other = foreign.headers(good.headers["webhook-id"], trial.clock(), good.body, uuid.uuid4().bytes * 2)
    many = f"v9,bm90aGluZw== {other['webhook-signature']} {good.headers['webhook-signature']}"
    return _taken(await trial.send(good.but(webhook_signature=many)))


async def _unknown_field(trial: Trial) -> str | None:
    good = trial.notice(11)
    message = orjson.loads(good.body)
    message["data"]["added_later"] = message["added_later"] = True
    return _taken(await trial.send(trial.signed(good.headers["webhook-id"], orjson.dumps(message))))


async def _ping(trial: Trial) -> str | None:
    return onboarding.ping_failure(await onboarding.ping(trial.client, trial.signer, trial.endpoint, trial.clock))


CASES: Final[dict[str, Case]] = {
    "notice": _notice,
    "duplicate": _duplicate,
    "replayed": _replayed,
    "reordered": _reordered,
    "stale": _stale,
    "future": _future,
    "tampered-body": _tampered_body,
    "tampered-id": _tampered_id,
    "tampered-timestamp": _tampered_timestamp,
    "tampered-signature": _tampered_signature,
    "unsigned": _unsigned,
    "foreign-key": _foreign_key,
    "rotation": _rotation,
    "unknown-field": _unknown_field,
    "ping": _ping,
}
