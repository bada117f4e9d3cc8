"""What the screens say, in Korean and English, as data (`texts/*.toml`); and instants, days and durations in words."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

from services.runtime.clock import KST

Language = Literal["ko", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("ko", "en")
MINUTE, HOUR, DAY = 60, 3600, 86_400


@cache
def texts(language: Language) -> Mapping[str, Mapping[str, str]]:
    """Return the texts of a language by group and key."""
    return tomllib.loads(files("services.console").joinpath(f"texts/{language}.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Words:
    """The texts of one language."""

    language: Language

    def t(self, key: str, **values: object) -> str:
        """Return a text by `group.key`; raise KeyError for one that is not there (a fault of the template)."""
        group, _, name = key.partition(".")
        return texts(self.language)[group][name].format(**values)

    def word(self, group: str, code: object) -> str:
        """Return what a code of an API means; the code itself when we have no word for it."""
        return texts(self.language)[group].get(str(code), str(code))

    def items(self, names: Iterable[str]) -> str:
        """Return item names in words; those of a service keep its name before them."""
        said = []
        for name in names:
            service, dot, plain = name.rpartition(".")
            said.append(f"{service}{dot}{self.word('item', plain)}")
        return ", ".join(said)

    def duration(self, seconds: float) -> str:
        """Return a duration in its two largest units: 2일 3시간, 5분 10초, 0.4초."""
        if seconds < 10:
            return self.t("time.seconds", n=f"{seconds:.1f}".removesuffix(".0"))
        whole = int(seconds)
        sizes = (("days", DAY, HOUR), ("hours", HOUR, MINUTE), ("minutes", MINUTE, 1), ("seconds", 1, 1))
        units = [(name, whole // size, whole % size // smaller) for name, size, smaller in sizes]
        position = next(i for i, (_, n, _) in enumerate(units) if n)
        name, n, rest = units[position]
        said = self.t(f"time.{name}", n=n)
        return said if name == "seconds" or not rest else f"{said} {self.t(f'time.{units[position + 1][0]}', n=rest)}"

    def countdown(self, days: int) -> str:
        """Return a countdown in working days: D-3, today, or how many days late."""
        if days == 0:
            return self.t("duty.today")
        return self.t("duty.left", n=days) if days > 0 else self.t("duty.late", n=-days)


def instant(value: str | datetime) -> datetime:
    """Return an instant of an API."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def kst(value: str | datetime) -> str:
    """Return an instant as staff read it: to the second, in Korea."""
    return instant(value).astimezone(KST).strftime("%Y-%m-%d %H:%M:%S")


def utc(value: str | datetime) -> str:
    """Return an instant in UTC, for the title of the one in Korea."""
    return instant(value).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def seconds_between(start: str | datetime, end: str | datetime) -> float:
    """Return the seconds from one instant of an API to another."""
    return (instant(end) - instant(start)).total_seconds()


def at_end_of(day: date) -> datetime:
    """Return the last instant of a day in Korea."""
    return datetime.combine(day, datetime.max.time(), KST)


def short(reference: Any) -> str:
    """Return the beginning of an id, enough to tell two apart on one page."""
    return str(reference)[-12:]
