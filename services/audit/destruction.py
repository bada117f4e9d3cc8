"""What the log says of a destruction, against what its certificate says. Pure: both verifiers ask here.

The register's entry `erased` is written in the transaction of the shred (clause 7), so whoever changes the case
afterwards, and has that certified, contradicts it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

Json = Mapping[str, Any]

ERASED: Final = frozenset({"applied", "superseded", "skipped_destroyed"})
BORNE_OUT: Final = ("destroyed_at", "class", "forced", "statutory_records_owed", "recipients")
"""What the entry bears out. A certificate without its proof (before there were any) says these on its signer's word."""


def differing(told: Json, fact: Json, entry: Json) -> list[str]:
    """Return which parts of a certificate the proven fact and entry contradict; `entry` when it is of something else.

    Raises KeyError, TypeError, ValueError, AttributeError for parts that are not of their form.
    """
    codes, whose = entry["codes"], {"subject": told["erasure_id"], "member_ref": told["member_ref"]}
    wanted = {"kind": "erasure", "state": "erased", **whose}
    holds = {
        "entry": all(entry.get(name) == value for name, value in wanted.items()),
        "destroyed_at": _second(entry["at"]) == _second(told["destroyed_at"]),
        "class": codes["class"] == told["class"]["id"],
        "forced": told["forced"] is (codes["outcome"] == "forced"),
        "statutory_records_owed": codes["retained"] == "no" or told["statutory_records_owed"] == 0,
        "recipients": _same(fact["addressees"], told["recipients"])
        and _answered(told["recipients"], codes.get("unanswered", "")),
    }
    return [name for name, held in holds.items() if not held]


def _second(text: str) -> datetime:
    """A certificate tells instants to the second, in another zone."""
    return datetime.fromisoformat(text).replace(microsecond=0)


def _same(addressees: Sequence[Json], recipients: Sequence[Json]) -> bool:
    return sorted(one["id"] for one in addressees) == sorted(one["id"] for one in recipients)


def _answered(recipients: Sequence[Json], unanswered: str) -> bool:
    """Who has not erased must have been named when the key went, or counted where the names were too many."""
    silent = {one["id"] for one in recipients if one["stage"] not in ERASED}
    if unanswered.isdecimal():
        return len(silent) <= int(unanswered)
    return silent <= set(unanswered.split("+"))
