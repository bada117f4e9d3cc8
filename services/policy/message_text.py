"""Fill the text of a message: codes become words of the language, dates are written out. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from services.policy import ad_lint
from services.policy.messages import Company, FieldType, Kind, Language, Messages
from services.policy.model import Rules

NOTHING: Mapping[Language, str] = {"ko": "없음", "en": "none"}


class AdvertisementError(ValueError):
    """An advertisement does not look as the law wants; `faults` are the codes of `ad_lint.lint`."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(", ".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class Rendered:
    """What goes out: subject and body, LF line ends. Holds the member's name, so it goes to no log."""

    subject: str
    body: str


@dataclass(frozen=True)
class Address:
    """Which text: kind, sending company, language."""

    kind: str
    sender: str
    language: Language


def render(
    messages: Messages, rules: Rules, address: Address, data: Mapping[str, Any], name: str, opt_out: str | None = None
) -> Rendered:
    """Return the text of one message; `opt_out` is the link that refuses in one click, beside the company's address.

    Raises AdvertisementError, and KeyError for an unknown kind or company.
    """
    kind, company = messages.kinds[address.kind], messages.companies[address.sender]
    text = messages.texts[kind.id][address.language]
    fields = _words(messages, rules, kind, address.language, data)
    fixed = {"name": name, "sender": _named(company, address.language)}
    refusal = company.refusal if opt_out is None else f"{opt_out} ({company.refusal})"
    whole = fields | fixed | {"contact": company.contact, "refusal": refusal}
    made = Rendered(text.subject.format_map(whole).strip(), text.body.format_map(whole).strip() + "\n")
    if faults := faults_of(kind, company, address.language, made):
        raise AdvertisementError(faults)
    return made


def faults_of(kind: Kind, company: Company, language: Language, made: Rendered) -> list[str]:
    """Return what is wrong with a filled text as an advertisement; of others the template was looked at (`load`)."""
    if not kind.advertising:
        return []
    sender = _named(company, language)
    return ad_lint.lint(made.subject, made.body, sender=sender, contact=company.contact, refusal=company.refusal)


def _named(company: Company, language: Language) -> str:
    return company.ko if language == "ko" else company.en


def _words(messages: Messages, rules: Rules, kind: Kind, language: Language, data: Mapping[str, Any]) -> dict[str, str]:
    said = {}
    for name, expected in kind.all_fields.items():
        value = data.get(name)
        codes = value if isinstance(value, list) else [value] if value is not None else []
        words = [_word(messages, rules, expected, language, str(code)) for code in codes]
        said[name] = ", ".join(words) or NOTHING[language]
    return said


def _word(messages: Messages, rules: Rules, expected: FieldType, language: Language, code: str) -> str:
    if expected == "date":
        return _dated(date.fromisoformat(code), language)
    if expected in {"text", "uuid"}:
        return code
    found = _known(messages, rules, expected).get(code.rpartition(".")[2] if expected == "items" else code)
    return str(getattr(found, language)) if found is not None else code


def _known(messages: Messages, rules: Rules, expected: FieldType) -> Mapping[str, Any]:
    if expected in {"party", "parties"}:
        return {**rules.third_parties, **rules.affiliates}
    if expected == "items":
        return rules.items
    return rules.purposes if expected == "purposes" else messages.words.get(expected, {})


def _dated(day: date, language: Language) -> str:
    return f"{day.year}년 {day.month}월 {day.day}일" if language == "ko" else day.isoformat()
