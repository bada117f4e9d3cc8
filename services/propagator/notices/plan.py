"""The numbers of sending, read once from `delivery.toml`: schedule, time-out, concurrency, circuit."""

import tomllib
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from typing import Any, Final

FILE: Final = "delivery.toml"
KEY_LOOK_UP_S: Final = 10.0


class PlanError(ValueError):
    """The numbers contradict each other; says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The wait before each attempt; the last repeats. `jitter_share` makes a wait longer, never shorter."""

    delays: tuple[timedelta, ...]
    jitter_share: float
    retry_after_max: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """When a third party is left alone: after `failures` in a row, for `pause`, doubled up to `pause_max`."""

    failures: int
    pause: timedelta
    pause_max: timedelta
    retry_after_max: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All of it. `lease` outlasts a key look-up and a POST with its time-out."""

    schedule: Schedule
    circuit: Circuit
    timeout_s: float
    lease: timedelta
    in_flight: int
    manual_look: timedelta


def load() -> Plan:
    """Return the plan of this package; raise PlanError."""
    return parse(tomllib.loads(files(__package__).joinpath(FILE).read_text(encoding="utf-8")))


def parse(data: dict[str, Any]) -> Plan:
    """Return the plan in a TOML document; raise PlanError when it cannot work."""
    schedule, attempt, recipient, circuit = (data[part] for part in ("schedule", "attempt", "recipient", "circuit"))
    if not schedule["delays_s"] or schedule["delays_s"] != sorted(schedule["delays_s"]):
        raise PlanError("schedule.delays_s: give waits that never become shorter")
    if attempt["lease_s"] <= attempt["timeout_s"] + KEY_LOOK_UP_S:
        raise PlanError("attempt.lease_s: must outlast a key look-up and a POST with its time-out")
    if recipient["in_flight"] < 1 or circuit["failures"] < 1:
        raise PlanError("recipient.in_flight and circuit.failures: at least 1")
    return Plan(
        schedule=Schedule(
            delays=tuple(_seconds(s) for s in schedule["delays_s"]),
            jitter_share=schedule["jitter_share"],
            retry_after_max=_seconds(schedule["retry_after_max_s"]),
        ),
        circuit=Circuit(
            failures=circuit["failures"],
            pause=_seconds(circuit["pause_s"]),
            pause_max=_seconds(circuit["pause_max_s"]),
            retry_after_max=_seconds(circuit["retry_after_max_s"]),
        ),
        timeout_s=float(attempt["timeout_s"]),
        lease=_seconds(attempt["lease_s"]),
        in_flight=recipient["in_flight"],
        manual_look=_seconds(recipient["manual_look_s"]),
    )


def _seconds(number: float) -> timedelta:
    return timedelta(seconds=number)
