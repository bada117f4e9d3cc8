"""Clause 5 as data (`rules/rights.toml`): what may be asked, on which ground it may be refused, words of answers."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

from pydantic import Field

from schemas.base import Channel, Shape
from services.policy.duties import all_duties

TypeId = Literal["access", "correction", "deletion", "suspension"]
DEFERRED = "deferred_access"
"""The kind of duty that runs from the end of a deferral's reason (35(3))."""


class RequestType(Shape):
    """A right of 5.1: its clock, whether it can be put off or granted in part, the form of its answer."""

    id: TypeId
    ko: str
    en: str
    clause: str
    statute: str
    duty: str
    defer: bool = False
    partial: bool = False
    answer_form: str


class IntakeChannel(Shape):
    """A way a request may arrive (5.2)."""

    id: Channel
    ko: str
    clause: str


class Ground(Shape):
    """A ground of refusal or restriction for some types. One that is not `offered` is law, but not for a company."""

    id: str
    types: tuple[TypeId, ...] = Field(min_length=1)
    clause: str
    statute: str
    ko: str
    en: str
    offered: bool = True
    needs_statute: bool = False
    not_while_withdrawing: bool = False
    before_verification: bool = False
    note: str | None = None


class Statute(Shape):
    """A law that names data as to be collected: items of 6.2, classes of records of 2.1."""

    id: str
    ko: str
    items: frozenset[str] = frozenset()
    records: frozenset[str] = frozenset()

    def names(self, item: str) -> bool:
        """Say whether it names an item, or a class of records written `record.<class>`."""
        return item in self.items or item.removeprefix("record.") in self.records


class AgentKind(Shape):
    """Who may act for the person (5.3), with which document; `minor_documents` for a member under 14."""

    id: Literal["mandate", "legal_representative"]
    ko: str
    actor: Literal["agent", "guardian"]
    documents: frozenset[str]
    minor_documents: frozenset[str] = frozenset()
    scoped: bool = False

    def accepts(self, document: str | None, *, minor: bool) -> bool:
        """Say whether a document proves this agency."""
        return document in (self.documents | self.minor_documents if minor else self.documents)


class Deferral(Shape):
    """A proper reason to put an access off."""

    id: str
    ko: str
    en: str


class Form(Shape):
    """A form of the notice on handling personal data, or a document that takes its place."""

    id: str
    ko: str
    citation: str
    note: str | None = None


class Period(Shape):
    """How long something is kept."""

    what: str
    until: str
    clause: str
    statute: str


class Objection(Shape):
    """How to object: belongs to every refusal, restriction and deferral."""

    ko: str
    en: str
    statute: str


@dataclass(frozen=True)
class Catalogue:
    """Everything of clause 5 that is data."""

    types: Mapping[str, RequestType]
    channels: Mapping[str, IntakeChannel]
    grounds: Mapping[tuple[str, str], Ground]
    """By (type, ground)."""
    statutes: Mapping[str, Statute]
    agents: Mapping[str, AgentKind]
    deferrals: Mapping[str, Deferral]
    forms: Mapping[str, Form]
    periods: tuple[Period, ...]
    objection: Objection

    def offered(self, type_id: str) -> tuple[str, ...]:
        """Return the grounds that may be chosen for a type once the identity is sure."""
        found = [g for (t, _), g in self.grounds.items() if t == type_id]
        return tuple(sorted(g.id for g in found if g.offered and not g.before_verification))

    def told(self, type_id: TypeId, outcome: str) -> tuple[str, ...]:
        """Return the kinds of duty that end when the person knows an outcome (decree 41(4), 43(3), 44(2)).

        Word of a deferral ends the ten days and nothing else: the access itself is still owed.
        """
        own = self.types[type_id]
        return (own.duty, DEFERRED) if own.defer and outcome != "deferred" else (own.duty,)


class _Data(Shape):
    type: tuple[RequestType, ...]
    channel: tuple[IntakeChannel, ...]
    ground: tuple[Ground, ...]
    statute: tuple[Statute, ...]
    agent: tuple[AgentKind, ...]
    deferral: tuple[Deferral, ...]
    form: tuple[Form, ...]
    period: tuple[Period, ...]
    objection: Objection


@cache
def catalogue() -> Catalogue:
    """Return the installed catalogue. Raises ValueError when its entries do not hold together."""
    return parse(files("services.policy").joinpath("rules/rights.toml").read_text(encoding="utf-8"))


def parse(text: str) -> Catalogue:
    """Return the catalogue of a TOML text. Raises ValueError naming what is wrong."""
    data = _Data.model_validate(tomllib.loads(text))
    pairs = [((t, g.id), g) for g in data.ground for t in g.types]
    found = Catalogue(
        types={t.id: t for t in data.type},
        channels={c.id: c for c in data.channel},
        grounds=dict(pairs),
        statutes={s.id: s for s in data.statute},
        agents={a.id: a for a in data.agent},
        deferrals={d.id: d for d in data.deferral},
        forms={f.id: f for f in data.form},
        periods=data.period,
        objection=data.objection,
    )
    if len(found.grounds) != len(pairs):
        raise ValueError("a ground is given twice for one type")
    _check(found)
    return found


def _check(found: Catalogue) -> None:
    if set(found.types) != set(get_args(TypeId)):
        raise ValueError("the types are not those of clause 5.1")
    documents = {d for a in found.agents.values() for d in a.documents | a.minor_documents}
    named = {t.answer_form for t in found.types.values()} | documents
    if unknown := named - set(found.forms):
        raise ValueError(f"unknown form: {', '.join(sorted(unknown))}")
    if unknown := {t.duty for t in found.types.values()} - set(all_duties()):
        raise ValueError(f"unknown duty: {', '.join(sorted(unknown))}")
