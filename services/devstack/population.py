"""An invented member base for the demo: faker's ko_KR people, with what each store must hold in the end."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from argon2 import PasswordHasher

from services.devstack.provision import AFFILIATES

NOTICE_VERSION = "2021-02-22"
OPERATOR = "tmax-cloud"
PROCESSORS = {"hypermeeting": "tmax-os", "wapl": "tmax-anc"}
SHARING_SHARE, MARKETING_SHARE, PROFILE_SHARE = 0.8, 0.4, 0.5


@dataclass
class Expected:
    """Rows that each store must hold of this population: as a recipient (3.2) and as a processor (4.3)."""

    members: Counter[str] = field(default_factory=Counter)
    processed: Counter[str] = field(default_factory=Counter)

    def count(self, row: dict[str, Any]) -> None:
        """Count one row in; the operator of the account holds every member."""
        shared = [a for a in AFFILIATES if a == OPERATOR or row["consents"]["sharing"]]
        self.members.update(shared)
        self.processed.update(PROCESSORS[p["service"]] for p in row["profiles"])


def write(path: Path, count: int, domain: str, seed: int) -> Expected:
    """Write `count` sign-ups as NDJSON, every address below `domain`; return what the stores must hold then."""
    expected = Expected()
    with path.open("wb") as file:
        for row in _rows(count, domain, seed):
            expected.count(row)
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    return expected


def _rows(count: int, domain: str, seed: int) -> Iterator[dict[str, Any]]:
    from faker import Faker  # noqa: PLC0415 - the extra `devstack`, and slow to import

    people, dice = Faker("ko_KR"), random.Random(seed)  # noqa: S311 - invented people need no secrecy
    people.seed_instance(seed)
    # One hash for all of them: nobody signs in, and 2,000 real ones would take a minute.
    password_hash = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(people.password(16))
    for number in range(count):
        yield {
            "email": f"member{number:05d}@{domain}",
            "name": people.name(),
            "password_hash": password_hash,
            "profiles": _profiles(people, dice),
            "consents": _consents(dice),
            "notice_version": NOTICE_VERSION,
        }


def _consents(dice: random.Random) -> dict[str, Any]:
    marketing = dice.random() < MARKETING_SHARE
    return {
        "collection": True,
        "sharing": dice.random() < SHARING_SHARE,
        "marketing": {"use": marketing, "email": marketing and dice.random() < 0.5},
    }


def _profiles(people: Any, dice: random.Random) -> list[dict[str, Any]]:
    if dice.random() > PROFILE_SHARE:
        return []
    if dice.random() < 0.5:
        return [hypermeeting(people.phone_number(), people.job())]
    return [{"service": "wapl", "role": "member", "office_phone": people.phone_number(), "title": people.job()[:50]}]


def hypermeeting(phone: str, title: str) -> dict[str, Any]:
    """Return the profile of a meeting host (clause 6.2)."""
    items = {"phone": phone, "department": "영업팀", "title": title[:50]}
    return {"service": "hypermeeting", "role": "host", **items}
