"""Clause 4.3, PIPA 26: processors with their tasks, items and contracts, as `rules/processors.toml` has them.

Read by `model.parse` with the rest of the policy: `decide` refuses a flow to a processor without a contract in force.
"""

import hashlib
from datetime import date, datetime

from pydantic import Field, model_validator

from schemas.base import ItemName, RecipientId, Shape
from services.runtime.clock import KST


class Term(Shape):
    """Something a contract must state (decree 28(1))."""

    id: str
    ko: str


class Task(Shape):
    """A task given to a processor, with the least items it needs. `marketing`: 26(3), each member is told."""

    id: str
    ko: str
    en: str
    items: tuple[ItemName, ...] = ()
    marketing: bool = False


class Contract(Shape):
    """A written contract: reference, first and last day (KST, inclusive; no `until` = open end), its terms."""

    reference: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/+-]{0,60}$")
    since: date
    until: date | None = None
    terms: frozenset[str] = frozenset()

    @model_validator(mode="after")
    def _in_order(self) -> "Contract":
        if self.until is not None and self.until < self.since:
            raise ValueError("a contract ends before it starts")
        return self

    def in_force(self, at: datetime) -> bool:
        """Say whether it runs on the day of an instant."""
        day = at.astimezone(KST).date()
        return self.since <= day and (self.until is None or day <= self.until)


class Processor(Shape):
    """A processor: an affiliate's id, its tasks, its contracts."""

    id: RecipientId
    tasks: tuple[Task, ...] = Field(alias="task", min_length=1)
    contracts: tuple[Contract, ...] = Field(alias="contract", default=())

    def contract(self, at: datetime) -> Contract | None:
        """Return the contract in force at an instant."""
        return next((c for c in self.contracts if c.in_force(at)), None)

    def marketing_sha256(self) -> str | None:
        """Return the hex digest of what members are told of its marketing tasks; None when it has none."""
        told = "\n".join(f"{t.id}\t{t.ko}" for t in self.tasks if t.marketing)
        return hashlib.sha256(f"{self.id}\n{told}".encode()).hexdigest() if told else None


class Register(Shape):
    """The whole file."""

    terms: tuple[Term, ...] = Field(alias="term", min_length=1)
    processors: tuple[Processor, ...] = Field(alias="processor", default=())

    @model_validator(mode="after")
    def _complete(self) -> "Register":
        wanted = {t.id for t in self.terms}
        for contract in (c for p in self.processors for c in p.contracts):
            if contract.terms != wanted:
                named = ", ".join(sorted(contract.terms ^ wanted))
                raise ValueError(f"contract {contract.reference} lacks a term, or names an unknown one: {named}")
        return self
