"""`python -m benchmarks.allocated MEMRAY EVENTS`: print the allocator's calls of one event on each path, as JSON."""

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import orjson
from aiokafka import ConsumerRecord

from benchmarks import apply, audit, members
from benchmarks.crowd import DATA_KEY
from benchmarks.http import body
from services.audit import tree
from services.audit.leaf import Leaf, of_record
from services.consent import agreed, handlers, model, profiles, store
from services.consent.bodies import SignUpBody
from services.consent.handlers import Caller, Consent
from services.keyring import derive
from services.policy import model as policy
from services.propagator import store as stores
from services.propagator.answers import receipt
from services.propagator.handlers import Propagator
from services.propagator.model import State, receive
from services.runtime.clock import utc_now

AFFILIATE: Final = "tmax-os"
ABSENT: Any = None
"""What these paths never touch: pools, a keyring, a hasher."""
Work = Callable[[], Awaitable[None]]
"""Works through all events once."""


class Nowhere:
    """Takes statements with their arguments to no database."""

    @classmethod
    def made(cls) -> Any:
        """Return one, as a transaction."""
        return cls()

    async def execute(self, *_: object) -> None:
        """Do nothing."""

    async def executemany(self, *_: object) -> None:
        """Do nothing."""


class Keys:
    """The content keys of the benchmark's members, without a service that is asked for them."""

    async def find(self, kids: list[str]) -> dict[str, bytes]:
        """Return each key."""
        return {kid: derive.content_key(DATA_KEY, kid) for kid in kids}


def applied(events: int) -> Work:
    """Return the path of an affiliate's records: first sign-ups, then as many corrections of the same members."""
    refs, at = apply.references(events // 2), utc_now()
    made = [apply.record(AFFILIATE, ref, seq, at) for seq in (1, 2) for ref in refs]
    raws: Any = [
        ConsumerRecord("", 0, n, 0, 0, m.key, m.sealed, None, 0, 0, tuple(m.headers)) for n, m in enumerate(made)
    ]
    keys: Any = Keys()
    propagator, tx = Propagator(AFFILIATE, ABSENT, keys, utc_now), Nowhere.made()

    async def work() -> None:
        before = {ref: State(ref) for ref in refs}
        after, receipts = dict(before), []
        for arrival in await propagator.said(raws):
            ref = arrival.member_ref
            after[ref], stage = receive(after[ref], arrival, at)
            assert stage == "applied"
            receipts.append(receipt(AFFILIATE, arrival.change_id, ref, arrival.seq, stage, at))
        await stores.write(tx, [(before[ref], after[ref]) for ref in refs], list(filter(None, receipts)), at)

    return work


def logged(events: int) -> Work:
    """Return the path of the log's records: facts, each followed by the receipts of three affiliates."""
    made = list(audit.records(events))

    async def work() -> None:
        frontier = tree.Frontier()
        for record in made:
            leaf = of_record(record)
            assert isinstance(leaf, Leaf)
            frontier.push(tree.leaf_hash(leaf.body))

    return work


def signed_up(events: int) -> Work:
    """Return the path of sign-ups that share everything; the password's hash is given."""
    rules, caller, tx = policy.load(), Caller("benchmark", "service"), Nowhere.made()
    consent = Consent(ABSENT, ABSENT, rules, utc_now, ABSENT, bytes(32), lambda: None)

    async def one(number: int) -> None:
        asked = SignUpBody(**body(f"member-{number}@example.kr"))
        at = consent.clock()
        version = agreed.notice(rules, asked.notice_version, at, asked.notice_locale)
        given = agreed.at_sign_up(rules, asked.consents, asked.notice_version)
        wanted = profiles.validated(rules, {}, asked.profiles)
        step = model.sign_up(handlers.new_member(asked, "$argon2id$", wanted, at, caller.channel), given)
        context = handlers.context_of(consent, caller, version)
        out = handlers.outgoing(rules, step, {}, DATA_KEY, context)
        assert len(out.records) == members.RECORDS_EACH
        await store.write_change(tx, (step, out, context), bytes(32))

    async def work() -> None:
        for number in range(events):
            await one(number)

    return work


PATHS: Final = {"apply": applied, "audit": logged, "sign_up": signed_up}


async def counted(tracker: Any, reader: Any, work: Work) -> int:
    """Return how often memory was asked for or given back while all events were worked through, the second time."""
    await work()  # what a first use prepares is not what an event costs
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "allocations"
        with tracker(file, trace_python_allocators=True):
            await work()
        return int(reader(file).metadata.total_allocations)


def main() -> None:
    """Count each path."""
    folder, events = sys.argv[1], int(sys.argv[2])
    sys.path.append(folder)  # behind ours: its own dependencies replace none of ours
    from memray import FileReader, Tracker  # noqa: PLC0415

    found = {
        name: round(asyncio.run(counted(Tracker, FileReader, of(events))) / events, 1) for name, of in PATHS.items()
    }
    sys.stdout.buffer.write(orjson.dumps(found))


if __name__ == "__main__":
    main()
