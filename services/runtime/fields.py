"""Fields that many requests have: days, instants and cursors, read strictly and within what can be reckoned with.

pydantic would read a bare number as seconds since 1970; a year at the end of the calendar overflows once an hour or a
day is added.
"""

import re
from datetime import date, datetime
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, StrictInt
from pydantic_core import PydanticCustomError

FIRST_YEAR, LAST_YEAR = 1900, 9998
DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
INSTANT: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}.*", re.ASCII)
BIGINT_MAX: Final = 2**63 - 1
COUNT_MAX: Final = 2**53 - 1
"""Beyond it not every reader of JSON tells one whole number from the next."""
DAY_CURSOR: Final = r"^(\d{4}-\d{2}-\d{2}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$"
Dated = TypeVar("Dated", bound=date)


def _day(value: object) -> object:
    if type(value) is date or (isinstance(value, str) and DAY.fullmatch(value)):
        return value
    raise PydanticCustomError("date_type", "a date as YYYY-MM-DD")


def _instant(value: object) -> object:
    if isinstance(value, datetime) or (isinstance(value, str) and INSTANT.fullmatch(value)):
        return value
    raise PydanticCustomError("instant_type", "an instant with its offset, as 2026-11-23T10:00:00+09:00")


def _whole(value: object) -> object:
    """JSON has one kind of number: 33.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _near(value: Dated) -> Dated:
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise PydanticCustomError("year_out_of_range", "a year between 1900 and 9998")
    return value


def _day_cursor(value: str) -> str:
    try:
        date.fromisoformat(value.partition("/")[0] or "2021-02-22")
    except ValueError:
        raise PydanticCustomError("unknown_cursor", "the `next` of the page before") from None
    return value


Day = Annotated[date, BeforeValidator(_day), AfterValidator(_near)]
"""A day in Korea, as YYYY-MM-DD."""
Instant = Annotated[AwareDatetime, BeforeValidator(_instant), AfterValidator(_near)]
"""An instant with its offset."""
Count = Annotated[StrictInt, Field(ge=0, le=COUNT_MAX), BeforeValidator(_whole)]
"""How many of something."""
Cursor = Annotated[int, Field(ge=0, le=BIGINT_MAX)]
"""`next` of the page before; 0 is the beginning."""
Order = Literal["oldest", "newest"]
"""Which end of a list is read first; the cursor goes on from there."""
Id = Annotated[str, Field(max_length=80)]
"""Somebody's or something's id as it was given; whether there is one is asked later."""
DayCursor = Annotated[str, Field(pattern=DAY_CURSOR, max_length=60), AfterValidator(_day_cursor)]
"""The same of lists in order of a day: the day and the id of the last row, or nothing."""
