"""Clause 3.3-2: may an agency be given this, on this paper? Pure; statutes and lists are `rules/investigations.toml`.

Deny by default: an item goes only when the statute lists it, the paper names it, and the company holds it.
A statute that allows does not oblige: what may go is decided by a person (services/consent/registers).
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Final, Literal

from schemas.base import Shape
from services.policy import calendar
from services.runtime.clock import KST

PaperKind = Literal["written_request", "urgent_request", "court_permission", "warrant"]
Stated = Literal["reason", "relation", "scope"]
Purpose = Literal["trial", "investigation", "sentence", "national_security"]
Refusal = Literal[
    "no_legal_basis",
    "unknown_agency",
    "agency_not_entitled",
    "purpose_not_covered",
    "paper_not_accepted",
    "paper_incomplete",
    "paper_expired",
]
ItemRefusal = Literal["never", "outside_statute", "outside_paper", "not_held"]


class Agency(Shape):
    """Who may ask, and on which days (KST, inclusive)."""

    id: str
    ko: str
    since: date | None = None
    until: date | None = None

    def acts_on(self, day: date) -> bool:
        """Say whether it exists on a day."""
        return (self.since is None or self.since <= day) and (self.until is None or day <= self.until)


class Named(Shape):
    """An item by the name requests use."""

    id: str
    ko: str


class LegalBasis(Shape):
    """A statute that allows providing: to whom, what for, which items, on which papers stating what."""

    id: str
    statute: str
    ko: str
    agencies: frozenset[str]
    purposes: frozenset[Purpose]
    items: frozenset[str]
    papers: frozenset[PaperKind]
    states: frozenset[Stated]


class RefusedBasis(Shape):
    """What is cited and allows nothing."""

    id: str
    statute: str


HALF: Final = r"^\d{4}H[12]$"


@dataclass(frozen=True)
class Law:
    """The whole of the data, by ids."""

    agencies: Mapping[str, Agency]
    items: Mapping[str, Named]
    bases: Mapping[str, LegalBasis]
    refused: Mapping[str, RefusedBasis]
    never: frozenset[str]
    not_held: frozenset[str]
    ledger_years: int

    def keep_until(self, decided_at: datetime) -> date:
        """Return the last day (KST) a ledger entry is kept; one of a denial just as long."""
        return calendar.last_day(decided_at, years=self.ledger_years)


@dataclass(frozen=True)
class Paper:
    """What the agency presents: its kind, what it states, the items it names, the last day it is good for (KST)."""

    kind: PaperKind
    states: frozenset[str]
    names: frozenset[str]
    valid_until: date | None = None


@dataclass(frozen=True)
class Request:
    """A request as received: who, on which basis, what for, with which paper, which items, when."""

    agency: str
    basis: str
    purpose: str
    paper: Paper
    items: Sequence[str]
    received_at: datetime


@dataclass(frozen=True)
class Assessment:
    """What may be provided, what may not and why; `refusal` when the request as a whole allows nothing."""

    allowed: tuple[str, ...]
    denied: Mapping[str, str]
    refusal: Refusal | None = None


def assess(law: Law, request: Request) -> Assessment:
    """Return what each statute and paper allow of a request. Total: what nobody listed is denied."""
    refusal = _refusal(law, request)
    if refusal is not None:
        return Assessment((), {item: "never" if item in law.never else refusal for item in request.items}, refusal)
    basis = law.bases[request.basis]
    answers = {item: _item_refusal(law, basis, request.paper, item) for item in request.items}
    denied = {item: why for item, why in answers.items() if why is not None}
    return Assessment(tuple(sorted(set(answers) - set(denied))), denied)


def _refusal(law: Law, request: Request) -> Refusal | None:
    basis = law.bases.get(request.basis)
    if basis is None:
        return "no_legal_basis"
    day = request.received_at.astimezone(KST).date()
    agency = law.agencies.get(request.agency)
    if agency is None:
        return "unknown_agency"
    if agency.id not in basis.agencies or not agency.acts_on(day):
        return "agency_not_entitled"
    if request.purpose not in basis.purposes:
        return "purpose_not_covered"
    return _paper_refusal(basis, request.paper, day)


def _paper_refusal(basis: LegalBasis, paper: Paper, day: date) -> Refusal | None:
    if paper.kind not in basis.papers:
        return "paper_not_accepted"
    if not basis.states <= paper.states:
        return "paper_incomplete"
    return "paper_expired" if has_run_out(paper.valid_until, day) else None


def has_run_out(valid_until: date | None, day: date) -> bool:
    """Say whether a paper's last day (KST) is over on a day; one that states none does not run out (3.3, G2, G3).

    Asked when a request comes in and again when something is given: a warrant opens nothing after its last day.
    """
    return valid_until is not None and valid_until < day


def _item_refusal(law: Law, basis: LegalBasis, paper: Paper, item: str) -> ItemRefusal | None:
    if item in law.never:
        return "never"
    if item not in basis.items:
        return "outside_statute"
    if item not in paper.names:
        return "outside_paper"
    return "not_held" if item in law.not_held else None


def half_of(at: datetime) -> str:
    """Return the half-year of an instant in Korea: `2026H2`."""
    day = at.astimezone(KST).date()
    return f"{day.year}H{1 if day.month <= 6 else 2}"


def bounds(half: str) -> tuple[datetime, datetime]:
    """Return the first instant of a half-year and the first after it (KST). ValueError for what is none."""
    year, number = int(half[:4]), half[4:]
    start = datetime(year, 1 if number == "H1" else 7, 1, tzinfo=KST)
    end = datetime(year, 7, 1, tzinfo=KST) if number == "H1" else datetime(year + 1, 1, 1, tzinfo=KST)
    return start, end


def end_of(half: str) -> datetime:
    """Return the last instant of a half-year: the event from which its report is due."""
    return bounds(half)[1] - timedelta(microseconds=1)


@cache
def law() -> Law:
    """Return the data in use."""
    text = files("services.policy").joinpath("rules/investigations.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    return Law(
        agencies={e["id"]: Agency.model_validate(e) for e in data["agency"]},
        items={e["id"]: Named.model_validate(e) for e in data["item"]},
        bases={e["id"]: LegalBasis.model_validate(e) for e in data["basis"]},
        refused={e["id"]: RefusedBasis.model_validate(e) for e in data["refused"]},
        never=frozenset(data["never"]),
        not_held=frozenset(data["not_held"]),
        ledger_years=data["ledger_years"],
    )
