"""Changes sent to the consent process on a fixed schedule, whether or not the last one was answered (open loop)."""

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from benchmarks import http
from benchmarks.load import Connections

REFUSED = 503
Request = tuple[str, bytes]
"""The member that is changed (empty: a new one), and the request."""


class Answered(NamedTuple):
    """A change that was accepted: its member and number, and the Unix seconds at which it was due and answered."""

    ref: str
    seq: int
    due: float
    at: float

    @property
    def key(self) -> tuple[str, int]:
        """What the change is called in every store."""
        return self.ref, self.seq

    @property
    def http_ms(self) -> float:
        """Milliseconds from when it was due to its answer."""
        return 1000 * (self.at - self.due)


@dataclass
class Answers:
    """What became of the changes that were sent."""

    sign_ups: list[Answered]
    corrections: list[Answered]
    refused: int = 0
    unanswered: int = 0

    @property
    def all(self) -> list[Answered]:
        """Everything that was accepted."""
        return [*self.sign_ups, *self.corrections]


def requests(refs: Sequence[str], sign_up_every: int, token: str) -> list[Request]:
    """Return a correction of each member's name, but every `sign_up_every`th (0: none) is a sign-up in its place."""
    known = {"Authorization": f"Bearer {token}"}

    def one(number: int, ref: str) -> Request:
        headers = known | {"Idempotency-Key": str(uuid.uuid4())}
        if sign_up_every and number % sign_up_every == 0:
            return "", http.sign_up(f"{uuid.uuid4().hex}@example.kr", headers)
        return ref, http.correct(ref, headers | {"If-Match": "*"})

    return [one(number, ref) for number, ref in enumerate(refs)]


async def sent(port: int, made: Sequence[Request], rate: float, patience_s: float) -> Answers:
    """Send requests at `rate` a second; return what was answered in `patience_s` from the first.

    What is still without an answer then is counted and given up. Raises RuntimeError for an answer that is neither 2xx
    nor 503.
    """
    loop, sender = asyncio.get_running_loop(), _Sender(Connections(port), Answers([], []))
    start, wall = loop.time(), time.time()
    try:
        async with asyncio.TaskGroup() as group:
            for number, (ref, request) in enumerate(made):
                await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
                group.create_task(sender.send(ref, request, wall + number / rate, start + patience_s))
    finally:
        sender.connections.close()
    return sender.answers


@dataclass(frozen=True)
class _Sender:
    connections: Connections
    answers: Answers

    async def send(self, ref: str, request: bytes, due: float, give_up_at: float) -> None:
        """Send one and note what came of it; `due` is in Unix seconds, `give_up_at` on the loop's clock."""
        try:
            async with asyncio.timeout_at(give_up_at):
                status, body = await self.connections.send(request)
        except TimeoutError:
            self.answers.unanswered += 1
        else:
            self._note(ref, due, status, body)

    def _note(self, ref: str, due: float, status: int, body: bytes) -> None:
        at = time.time()
        if status == REFUSED:
            self.answers.refused += 1
        elif status >= 300:
            raise RuntimeError(f"the server answered {status}: {body[:500].decode(errors='replace')}")
        else:
            told = orjson.loads(body)
            answer = Answered(ref or told["member_ref"], told["seq"], due, at)
            (self.answers.corrections if ref else self.answers.sign_ups).append(answer)
