"""May an advertisement be sent at this very instant (clause 1.5, Network Act 50)? Pure; asked again for each sending.

Three consents, not one: to marketing use (PIPA 22(1)7), to reception per sender and medium, and to night sending.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cache
from importlib.resources import files
from typing import Final, Literal

from pydantic import AwareDatetime, Field

from schemas.base import Marketing, Shape
from services.policy.duties import all_duties
from services.policy.shapes import Rule
from services.runtime.clock import KST

MediumId = Literal["email", "sms", "push", "phone"]
SEND: Final = "1.5-send"
USE: Final = "1.5-use"
CHANNEL: Final = "1.5-channel"
NIGHT: Final = "1.5-night"
RECONFIRM: Final = "1.5-reconfirm"
RULE_IDS: Final = frozenset({SEND, USE, CHANNEL, NIGHT, RECONFIRM})
RECONFIRM_DUTY: Final = "marketing_reconfirm"


class Medium(Shape):
    """A way to reach a member: the reception consent it needs (None: never offered), and whether night counts."""

    id: MediumId
    ko: str
    consent: Literal["email", "sms"] | None = None
    night: bool


class _Data(Shape):
    night_from: time
    night_to: time
    opt_out_days: int = Field(ge=30)
    medium: tuple[Medium, ...]
    rule: tuple[Rule, ...]


@dataclass(frozen=True)
class Advertising:
    """The data of `rules/marketing.toml`."""

    night_from: time
    night_to: time
    opt_out_days: int
    media: Mapping[str, Medium]
    rules: Mapping[str, Rule]

    def is_night(self, at: datetime) -> bool:
        """Say whether an aware instant lies in [21:00:00, 08:00:00) KST."""
        local = at.astimezone(KST).time()
        return local >= self.night_from or local < self.night_to


@cache
def advertising() -> Advertising:
    """Return the installed data; ValueError when it and this module do not name the same rules."""
    text = files("services.policy").joinpath("rules/marketing.toml").read_text(encoding="utf-8")
    data = _Data.model_validate(tomllib.loads(text))
    found = {rule.id: rule for rule in data.rule}
    if frozenset(found) != RULE_IDS:
        raise ValueError("rules/marketing.toml and services/policy/marketing.py name different rules")
    return Advertising(data.night_from, data.night_to, data.opt_out_days, {m.id: m for m in data.medium}, found)


def may_send(
    consents: Marketing | None,
    channel: MediumId,
    at: datetime,
    *,
    reconfirmed: bool,
    data: Advertising | None = None,
) -> tuple[bool, str]:
    """Return (allowed, id of the rule that decides) for one sender's advertisement sent at the aware instant `at`.

    `consents` are the live ones for that sender (None: none); `reconfirmed` is False once the two-year check is
    overdue. Raises ValueError for a naive instant and KeyError for an unknown channel.
    """
    if at.tzinfo is None:
        raise ValueError("an instant with an offset")
    known = data or advertising()
    medium = known.media[channel]
    if consents is None or not consents.use:
        return False, USE
    if medium.consent is None or not getattr(consents, medium.consent):
        return False, CHANNEL
    if not reconfirmed:
        return False, RECONFIRM
    if medium.night and known.is_night(at) and not consents.night:
        return False, NIGHT
    return True, SEND


def reception(channel: MediumId, at: datetime) -> tuple[str, ...]:
    """Return the reception consents a sending at `at` needs beside that to use: the medium's, and at night the night's.

    Each of them is checked every two years (Network Act 50(8), 50(3)).
    """
    known = advertising()
    medium = known.media[channel]
    night = medium.night and known.is_night(at)
    return (*((medium.consent,) if medium.consent else ()), *(("night",) if night else ()))


def reconfirm_by(consented_at: datetime, checks: int) -> date:
    """Return the last day (KST) of the next two-year check after `checks` done ones.

    The anchor is the day of the consent, never that of the last check (decree 62-3): the day before the same day of
    every second year, not moved for a holiday.
    """
    duty = all_duties()[RECONFIRM_DUTY]
    period = (duty.years or 0) * (checks + 1)
    return duty.model_copy(update={"years": period}).due_on(consented_at)


def reconfirmed(consented_at: AwareDatetime, checks: int, at: datetime) -> bool:
    """Say whether no two-year check is overdue at an instant: `checks` are those done since the consent."""
    return at.astimezone(KST).date() <= reconfirm_by(consented_at, checks)
