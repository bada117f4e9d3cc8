"""The shapes of `rules/*.toml`: closed to unknown fields, immutable, one class per table."""

import hashlib
from typing import Literal

from pydantic import AwareDatetime, Field

from schemas.base import ItemName, RecipientId, Shape


class Purpose(Shape):
    """One purpose of clause 1."""

    id: str
    clause: str
    ko: str
    en: str


class Affiliate(Shape):
    """A company that shares the account. `processes` is the service whose member database it runs (4.3)."""

    id: RecipientId
    ko: str
    en: str
    clause: str
    operator: bool = False
    processes: str | None = None


class ThirdParty(Shape):
    """Anyone else who may be given items."""

    id: RecipientId
    ko: str
    en: str


class Item(Shape):
    """One item of clause 6.2. `account`: belongs to the account, not to a service's profile."""

    id: ItemName
    ko: str
    en: str
    account: bool = False
    kind: Literal["text", "list"] = "text"


class RoleItems(Shape):
    """A role in a service with the items it must and may have (6.2), beside those of the account."""

    id: str
    ko: str
    aliases: tuple[str, ...] = ()
    required: tuple[ItemName, ...] = ()
    optional: tuple[ItemName, ...] = ()

    @property
    def items(self) -> tuple[ItemName, ...]:
        """Every item of the role."""
        return self.required + self.optional


class Service(Shape):
    """A service with its roles."""

    id: str
    ko: str
    roles: tuple[RoleItems, ...] = Field(alias="role")

    def role(self, name: str) -> RoleItems | None:
        """Return the role of this id or alias."""
        return next((r for r in self.roles if name == r.id or name in r.aliases), None)


class Basis(Shape):
    """A legal basis of a disclosure, with the spellings it goes by."""

    id: str
    statute: str
    clause: str | None = None
    words: tuple[str, ...] = ()


class Rule(Shape):
    """A rule with its citations. One with `purposes` permits, from `effective_from` on."""

    id: str
    clause: tuple[str, ...] = Field(min_length=1)
    statute: tuple[str, ...] = Field(min_length=1)
    effective_from: AwareDatetime
    purposes: tuple[str, ...] = ()
    ko: str = Field(min_length=1)
    en: str = Field(min_length=1)


class NoticePart(Shape):
    """What is told before one consent: label and text, line by line."""

    consent: Literal["collection", "sharing", "marketing"]
    title: str
    lines: tuple[tuple[str, str], ...]


class Notice(Shape):
    """A version of the notice that is shown before consent."""

    version: str
    effective_from: AwareDatetime
    title: str
    parts: tuple[NoticePart, ...] = Field(alias="part")

    @property
    def text(self) -> str:
        """The canonical text: exactly what is shown, UTF-8, LF."""
        head = f"{self.title} (v{self.version})\n"
        return head + "".join(f"\n[{p.title}]\n" + "".join(f"- {k}: {v}\n" for k, v in p.lines) for p in self.parts)

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of `text`: what a consent's evidence points at (PIPA 22(2), 22(3))."""
        return hashlib.sha256(self.text.encode()).hexdigest()
