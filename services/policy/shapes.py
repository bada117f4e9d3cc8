"""The shapes of `rules/*.toml`: closed to unknown fields, immutable, one class per table."""

import hashlib
from typing import Literal

from pydantic import AwareDatetime, Field

from schemas.base import ItemName, RecipientId, Shape


class Purpose(Shape):
    """One purpose of clause 1. `only_with`: it exists only for members with a role that requires this item (1.3)."""

    id: str
    clause: str
    ko: str
    en: str
    only_with: ItemName | None = None


class Affiliate(Shape):
    """A company that shares the account. `processes` is the service whose member database it runs (4.3)."""

    id: RecipientId
    ko: str
    en: str
    clause: str
    operator: bool = False
    processes: str | None = None


Delivery = Literal["values", "notice_only"]
"""Whether a correction notice carries the new values, or only says that there are some to be pulled (5.7)."""


class ThirdParty(Shape):
    """Anyone else who may be given items. Without a `delivery` of its own, that of each disclosure's basis counts."""

    id: RecipientId
    ko: str
    en: str
    delivery: Delivery | None = None


class Item(Shape):
    """One item of clause 6.2. `account`: belongs to the account, not to a service's profile.

    `shareable = false`: it never goes to anybody, whatever was consented to (what is generated in use).
    """

    id: ItemName
    ko: str
    en: str
    account: bool = False
    shareable: bool = True
    kind: Literal["text", "list", "date"] = "text"


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
    delivery: Delivery = "notice_only"


class Rule(Shape):
    """A rule with its citations. One with `purposes` permits, from `effective_from` on."""

    id: str
    clause: tuple[str, ...] = Field(min_length=1)
    statute: tuple[str, ...] = Field(min_length=1)
    effective_from: AwareDatetime
    purposes: tuple[str, ...] = ()
    ko: str = Field(min_length=1)
    en: str = Field(min_length=1)


Locale = Literal["ko", "en"]
ConsentPurpose = Literal["collection", "sharing", "marketing"]


class NoticeWords(Shape):
    """One part of a notice in another language."""

    title: str
    lines: tuple[tuple[str, str], ...]


class NoticePart(Shape):
    """What is told before one consent: label and text, line by line, and the same as data: the consent's scope.

    `recipients` are those named (affiliates, or the senders of advertisements); `period` is a code.
    """

    consent: ConsentPurpose
    title: str
    lines: tuple[tuple[str, str], ...]
    purposes: frozenset[str] = Field(min_length=1)
    items: frozenset[ItemName] = Field(min_length=1)
    recipients: frozenset[RecipientId] = frozenset()
    period: str = Field(pattern=r"^[a-z][a-z_]{0,40}$")
    en: NoticeWords | None = None

    def words(self, locale: Locale) -> NoticeWords:
        """Return title and lines in a language; KeyError when the part has none in it."""
        if locale == "ko":
            return NoticeWords(title=self.title, lines=self.lines)
        if self.en is None:
            raise KeyError(locale)
        return self.en


class Notice(Shape):
    """A version of the notice that is shown before consent."""

    version: str
    effective_from: AwareDatetime
    title: str
    title_en: str | None = None
    parts: tuple[NoticePart, ...] = Field(alias="part")

    @property
    def locales(self) -> tuple[Locale, ...]:
        """The languages it can be shown in; Korean always."""
        whole = self.title_en is not None and all(p.en is not None for p in self.parts)
        return ("ko", "en") if whole else ("ko",)

    @property
    def text(self) -> str:
        """The canonical text in Korean: exactly what is shown, UTF-8, LF."""
        return self.rendered("ko")

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of `text`: what a consent's evidence points at (PIPA 22(2), 22(3))."""
        return self.hash_of("ko")

    def part(self, consent: str) -> NoticePart | None:
        """Return what is told before one consent; None when this version does not ask for it."""
        return next((p for p in self.parts if p.consent == consent), None)

    def rendered(self, locale: Locale) -> str:
        """Return the text exactly as shown in a language; KeyError when it has none in it."""
        title = self.title if locale == "ko" else self.title_en
        if title is None:
            raise KeyError(locale)
        shown = [p.words(locale) for p in self.parts]
        head = f"{title} (v{self.version})\n"
        return head + "".join(f"\n[{w.title}]\n" + "".join(f"- {k}: {v}\n" for k, v in w.lines) for w in shown)

    def hash_of(self, locale: Locale) -> str:
        """Return the hex SHA-256 of the text in a language; KeyError when it has none in it."""
        return hashlib.sha256(self.rendered(locale).encode()).hexdigest()
