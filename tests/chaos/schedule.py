"""Pure: which fault happens when, as a function of the seed alone, so that a seed that failed can be run again.

Effects are the machine's and differ from run to run; what is done to it does not. Two faults never hold the same
thing at the same time, and every fault has ended before the run has.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

AFFILIATES: Final = ("tmax-cloud", "tmax-os", "tmax-anc")
WORKERS: Final = tuple(f"propagator-{a}" for a in AFFILIATES)
CLOCKED: Final = ("consent", "audit", "notices", *WORKERS)
"""The processes whose clock can be set: those whose time is in records."""
PROCESSES: Final = (*CLOCKED, "witness", "retention")
DATABASES: Final = (*AFFILIATES, "consent", "keyring", "audit", "notices")
POSTGRES, KAFKA, KAFKA_NET, DISK = "postgres", "kafka", "kafka-net", "disk"
PAUSE_S: Final = (1.0, 4.0)
QUIET_S: Final = 3.0
"""Nothing happens in the first seconds: there must be something to lose."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault: how often by weight, on what, how long in seconds, and between which sizes."""

    weight: int
    targets: Sequence[str]
    for_s: tuple[float, float]
    holds: Sequence[str] = ()
    """What no other fault may hold meanwhile; `{}` is the target."""
    size: tuple[float, float] = (0.0, 0.0)


KINDS: Final = {
    "kill": Kind(8, PROCESSES, (0.2, 3), ["{}"]),
    "term": Kind(4, PROCESSES, (0.2, 2), ["{}"]),
    "freeze": Kind(4, PROCESSES, (1, 14), ["{}"]),
    "worker": Kind(4, AFFILIATES, (4, 12), ["worker {}"]),
    "clock": Kind(3, CLOCKED, (3, 12), ["clock {}"], (-20, 60)),
    "database_kill": Kind(2, [POSTGRES], (0.5, 4), [POSTGRES]),
    "database_away": Kind(3, DATABASES, (2, 12), [POSTGRES]),
    "broker_kill": Kind(2, [KAFKA], (0.5, 8), [KAFKA]),
    "broker_freeze": Kind(2, [KAFKA], (2, 12), [KAFKA]),
    "postgres_slow": Kind(2, CLOCKED, (3, 12), ["net {}"], (0.02, 0.3)),
    "postgres_cut": Kind(3, CLOCKED, (0, 6), ["net {}"]),
    "postgres_stall": Kind(2, CLOCKED, (2, 12), ["net {}"]),
    "kafka_slow": Kind(2, [KAFKA_NET], (3, 12), [KAFKA_NET], (0.02, 0.3)),
    "kafka_cut": Kind(3, [KAFKA_NET], (0, 6), [KAFKA_NET]),
    "kafka_stall": Kind(2, [KAFKA_NET], (2, 12), [KAFKA_NET]),
    "commits_refused": Kind(2, [KAFKA_NET], (2, 10), [KAFKA_NET]),
    "disk_full": Kind(1, [DISK], (2, 6), [POSTGRES, KAFKA]),
}
KILLS: Final = ("kill", "term", "database_kill", "broker_kill")
CUTS: Final = ("postgres_cut", "postgres_stall", "postgres_slow", "kafka_cut", "kafka_stall", "kafka_slow")
SOAK: Final = tuple(name for name in KINDS if name not in {"kill", "term", "disk_full"})
"""In a soak a process lives from the beginning to the end: its memory is what is looked at."""


@dataclass(frozen=True)
class Fault:
    """One fault: at which second of the run, what, on what, how long, how much (seconds of clock or of delay)."""

    at_s: float
    kind: str
    target: str
    for_s: float
    size: float = 0.0

    def __str__(self) -> str:
        size = f" {self.size:+.2f}" if self.size else ""
        return f"{self.at_s:7.1f} s  {self.kind:<16}{self.target:<22}{self.for_s:5.1f} s{size}"


def schedule(seed: int, seconds: float, *, kinds: Sequence[str] = tuple(KINDS), scale: float = 1.0) -> list[Fault]:
    """Return the faults of a run of this many seconds, in order; `scale` stretches the pauses between them."""
    dice = random.Random(f"chaos {seed}")  # a text is hashed the same way everywhere
    weights = [KINDS[name].weight for name in kinds]
    held: dict[str, float] = {}
    found: list[Fault] = []
    now = QUIET_S
    while now < seconds:
        name = dice.choices(list(kinds), weights)[0]
        fault, holds = _drawn(dice, now, name)
        if fault.at_s + fault.for_s < seconds and all(held.get(thing, 0.0) < now for thing in holds):
            held |= dict.fromkeys(holds, fault.at_s + fault.for_s)
            found.append(fault)
        now += dice.uniform(*PAUSE_S) * scale
    return found


def _drawn(dice: random.Random, now: float, name: str) -> tuple[Fault, list[str]]:
    kind = KINDS[name]
    target = dice.choice(kind.targets)
    fault = Fault(round(now, 2), name, target, round(dice.uniform(*kind.for_s), 2), round(dice.uniform(*kind.size), 2))
    return fault, [thing.format(target) for thing in kind.holds]
