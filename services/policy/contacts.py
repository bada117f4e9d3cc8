"""Clauses 9, 10 and 11 as versioned data (`rules/contacts.toml`): officer, remedies, cookies, subjects of inquiries."""

import tomllib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import AwareDatetime, Field

from schemas.base import Shape
from schemas.events import RecordClass


class Officer(Shape):
    """The privacy officer (개인정보 보호책임자) as published."""

    clause: str
    name: str
    email: str
    phone: str


class Remedy(Shape):
    """An agency outside the company; `note` says what of the published words no longer holds."""

    clause: str
    ko: str
    url: str
    phone: str
    note: str | None = None


class Cookies(Shape):
    """What is told about cookies. Refusing them never keeps anyone from signing up."""

    clause: str
    use: str
    refuse: str
    effect: str
    needed_to_sign_up: Literal[False]


class Contacts(Shape):
    """What one version of the policy says in clauses 9 to 11."""

    version: str
    effective_from: AwareDatetime
    officer: Officer
    remedies: tuple[Remedy, ...] = Field(alias="remedy", min_length=1)
    cookies: Cookies


class Subject(Shape):
    """What an inquiry is about, the role that answers it, and the class of the statutory record it leaves (2.1)."""

    id: str
    ko: str
    routed_to: Literal["cpo"]
    kept_as: RecordClass | None = None


class _Data(Shape):
    versions: tuple[Contacts, ...] = Field(alias="version", min_length=1)
    subjects: tuple[Subject, ...] = Field(alias="subject", min_length=1)


@cache
def _data() -> _Data:
    text = files("services.policy").joinpath("rules/contacts.toml").read_text(encoding="utf-8")
    return _Data.model_validate(tomllib.loads(text))


def versions() -> Mapping[str, Contacts]:
    """Return every version by its name, oldest first."""
    return {c.version: c for c in sorted(_data().versions, key=lambda c: c.effective_from)}


def current(at: datetime) -> Contacts:
    """Return the version in force at an instant; before the first, the first."""
    ordered = list(versions().values())
    started = [c for c in ordered if c.effective_from <= at]
    return (started or ordered[:1])[-1]


def subjects() -> Mapping[str, Subject]:
    """Return what inquiries can be about, by id."""
    return {s.id: s for s in _data().subjects}
