"""Messages to members as data (`rules/messages.toml`, `message_texts.toml`): kinds, companies that send, texts, words.

`load()` refuses data that contradicts itself, and any text that the lint of advertisements would refuse.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Formatter
from typing import Literal

from pydantic import Field

from schemas.base import ItemName, RecipientId, Shape
from services.policy import ad_lint, duties

Medium = Literal["email", "sms", "push"]
Language = Literal["ko", "en"]
LANGUAGES: tuple[Language, ...] = ("ko", "en")
FIXED = frozenset({"name", "sender", "contact", "refusal"})
"""Placeholders of every text."""
FieldType = Literal[
    "date", "uuid", "text", "party", "parties", "items", "purposes", "wish", "channels", "right", "outcome", "consents"
]


class Limits(Shape):
    """From how many persons on a company owes the notices of source and of yearly use (law.md F5, F6)."""

    persons: int = Field(ge=1)
    sensitive_persons: int = Field(ge=1)


class Company(Shape):
    """A company that sends: names, contact, how to refuse its advertisements.

    `persons` and `sensitive_persons`: how many it handles beside this system; `limits`: its own, lower than the law's.
    """

    id: RecipientId
    ko: str = Field(min_length=1)
    en: str = Field(min_length=1)
    contact: str = Field(min_length=1)
    refusal: str = Field(min_length=1)
    persons: int = Field(default=0, ge=0)
    sensitive_persons: int = Field(default=0, ge=0)
    limits: Limits | None = None

    def owes_notices(self, statutory: Limits, held: int) -> bool:
        """Say whether F5 and F6 bind it, with `held` persons in this system (who may be among those beside it)."""
        limits = self.limits or statutory
        return max(self.persons, held) >= limits.persons or self.sensitive_persons >= limits.sensitive_persons


class Kind(Shape):
    """A kind of message. `sender`: the operator of the account, or each company for itself."""

    id: str
    clause: str
    statute: str
    sender: Literal["operator", "each"] = "operator"
    duty: str | None = None
    advertising: bool = False
    refusable: bool = False
    fields: dict[str, FieldType]
    optional: dict[str, FieldType] = Field(default_factory=dict)

    @property
    def all_fields(self) -> dict[str, FieldType]:
        """Every field by its name."""
        return self.fields | self.optional


class Word(Shape):
    """What a code is called in a text."""

    ko: str
    en: str


class Text(Shape):
    """A subject and a body with `{placeholders}`."""

    subject: str = Field(min_length=1)
    body: str = Field(min_length=1)


class _Data(Shape):
    warn_days_before_reconfirmation: int = Field(ge=1)
    silent_bases: tuple[str, ...]
    reach: dict[Medium, tuple[ItemName, ...]]
    limits: Limits
    company: tuple[Company, ...] = Field(min_length=1)
    kind: tuple[Kind, ...]
    words: dict[str, dict[str, Word]]


class _Texts(Shape):
    texts: dict[str, dict[Language, Text]]


@dataclass(frozen=True)
class Messages:
    """The data in use. `companies` are in the order of the file, the operator of the account first."""

    warn_days: int
    silent_bases: tuple[str, ...]
    limits: Limits
    reach: Mapping[Medium, tuple[str, ...]]
    companies: Mapping[str, Company]
    kinds: Mapping[str, Kind]
    words: Mapping[str, Mapping[str, Word]]
    texts: Mapping[str, Mapping[Language, Text]]

    @property
    def operator(self) -> str:
        """The company that sends where the kind names no other."""
        return next(iter(self.companies))

    def reached_by(self, medium: str) -> frozenset[str]:
        """Return the items that a sending by a medium uses as the address; none where we keep no address for it."""
        return frozenset(item for known, items in self.reach.items() if known == medium for item in items)


class MessagesError(ValueError):
    """The data of messages contradicts itself; the text says where."""


@cache
def load() -> Messages:
    """Return the installed data. Raises MessagesError."""
    folder = files("services.policy").joinpath("rules")
    return parse(*(folder.joinpath(f"{n}.toml").read_text(encoding="utf-8") for n in ("messages", "message_texts")))


def parse(messages: str, texts: str) -> Messages:
    """Return the data of the two TOML texts. Raises MessagesError, and pydantic.ValidationError for a wrong shape."""
    data = _Data.model_validate(tomllib.loads(messages))
    found = Messages(
        warn_days=data.warn_days_before_reconfirmation,
        silent_bases=data.silent_bases,
        limits=data.limits,
        reach=data.reach,
        companies={c.id: c for c in data.company},
        kinds={k.id: k for k in data.kind},
        words=data.words,
        texts=_Texts.model_validate({"texts": tomllib.loads(texts)}).texts,
    )
    if faults := list(_faults(found)):
        raise MessagesError("; ".join(faults))
    return found


def _faults(found: Messages) -> Iterator[str]:
    for company in found.companies.values():
        own = company.limits or found.limits
        if own.persons > found.limits.persons or own.sensitive_persons > found.limits.sensitive_persons:
            yield f"{company.id}: limits above the law's"
    yield from (f"a text of no kind: {i}" for i in sorted(set(found.texts) - set(found.kinds)))
    for kind in found.kinds.values():
        if kind.duty is not None and kind.duty not in duties.all_duties():
            yield f"{kind.id}: unknown duty"
        for language in LANGUAGES:
            if (text := found.texts.get(kind.id, {}).get(language)) is None:
                yield f"{kind.id}: no text in {language}"
            else:
                yield from (f"{kind.id}.{language}: {fault}" for fault in _text_faults(kind, text))


def _text_faults(kind: Kind, text: Text) -> Iterator[str]:
    """An advertisement's own placeholders stand for themselves, so that the lint sees where they are."""
    used = {name for part in (text.subject, text.body) for _, name, _, _ in Formatter().parse(part) if name is not None}
    yield from (f"unknown placeholder {name}" for name in sorted(used - FIXED - set(kind.all_fields)))
    yield from (f"{name} is said nowhere" for name in sorted(set(kind.fields) - used))
    if "sender" not in used:
        yield "sender is said nowhere"
    subject, body = text.subject.strip(), text.body.strip()
    if kind.advertising:
        yield from ad_lint.lint(subject, body, sender="{sender}", contact="{contact}", refusal="{refusal}")
    elif ad_lint.labelled(subject, body):
        yield "label_on_information"
