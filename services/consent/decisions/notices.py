"""The notices shown before consent, by version and language: what a consent's hash can be checked against."""

from datetime import datetime
from typing import Any

from services.policy.model import Rules
from services.policy.shapes import Locale, Notice, NoticePart
from services.runtime.problem import Problem


def listed(rules: Rules, at: datetime) -> dict[str, Any]:
    """Return every version in order: `{"notices": [{"version", "effective_from", "current", "sha256"}]}`, by locale."""
    ordered = sorted(rules.notices.values(), key=lambda n: n.effective_from)
    return {"notices": [_head(rules, notice, at) for notice in ordered]}


def shown(rules: Rules, version: str, locale: Locale, at: datetime) -> dict[str, Any]:
    """Return one version in a language, text and scope; 404 for a version or a language there is not."""
    notice = rules.notice(version)
    if notice is None or locale not in notice.locales:
        raise Problem(
            404,
            "notice_version_not_found",
            "그 버전이나 언어의 고지가 없습니다.",
            "There is no notice of that version in that language.",
        )
    parts = [_part(part, locale) for part in notice.parts]
    return {**_head(rules, notice, at), "locale": locale, "text": notice.rendered(locale), "parts": parts}


def _head(rules: Rules, notice: Notice, at: datetime) -> dict[str, Any]:
    return {
        "version": notice.version,
        "effective_from": notice.effective_from,
        "current": notice.version == rules.current_notice(at),
        "sha256": {locale: notice.hash_of(locale) for locale in notice.locales},
    }


def _part(part: NoticePart, locale: Locale) -> dict[str, Any]:
    words = part.words(locale)
    scope = {name: sorted(getattr(part, name)) for name in ("purposes", "items", "recipients")}
    told = {"title": words.title, "lines": [{"label": k, "text": v} for k, v in words.lines]}
    return {"consent": part.consent, **told, **scope, "period": part.period}
