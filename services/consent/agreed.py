"""What is consented to, held against the policy: the notice version cited, and the parties and channels it tells of."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from services.consent import model
from services.consent.bodies import ConsentsBody
from services.consent.model import ConsentRef
from services.consent.refusals import field
from services.policy.model import Rules
from services.policy.scope import told_parties
from services.policy.shapes import Locale
from services.runtime.problem import Problem

ToParties = Literal["sharing", "marketing"]


def at_sign_up(rules: Rules, consents: ConsentsBody, version: str) -> tuple[ConsentRef, ...]:
    """Return the consents of a sign-up; raise Problem 422 without collection, or for what cannot stand.

    `true` means the affiliates that the cited notice names: one that it does not tell of is not consented to.
    """
    if not consents.collection:
        raise field(
            422,
            "collection_consent_required",
            "/consents/collection",
            "회원 가입에는 개인정보 수집·이용 동의가 필요합니다.",
            "Membership needs the consent to collection.",
        )
    told = sorted(told_parties(rules, version, "sharing"))
    chosen = consents.sharing if isinstance(consents.sharing, dict) else dict.fromkeys(told, consents.sharing)
    recipients = sorted(r for r, yes in chosen.items() if yes)
    _known(rules, chosen, "/consents/sharing")
    _told(rules, recipients, "/consents/sharing", version, "sharing")
    marketing = consents.marketing.model_dump()
    if any(marketing[c] for c in ("email", "sms", "night")) and not marketing["use"]:
        raise model.marketing_needs_use("/consents/marketing/use")
    senders = sorted(told_parties(rules, version, "marketing"))
    sharing = [ConsentRef("sharing", r) for r in recipients]
    channels = [ConsentRef("marketing", s, c) for s in senders for c, yes in marketing.items() if yes]
    return (ConsentRef("collection"), *sharing, *channels)


def given_to(rules: Rules, named: list[str] | None, pointer: str, version: str, consent: ToParties) -> frozenset[str]:
    """Return the affiliates a consent is given to: those named, or all the notice tells of.

    Raise Problem 422 for an unknown one, and for one that the cited notice does not tell of (PIPA 17(2)).
    """
    if named is None:
        return told_parties(rules, version, consent)
    _known(rules, named, pointer)
    _told(rules, named, pointer, version, consent)
    return frozenset(named)


def taken_from(rules: Rules, named: list[str] | None, pointer: str) -> frozenset[str]:
    """Return the affiliates a consent is taken back from: those named, or all. Raise Problem 422 for an unknown one."""
    chosen = named if named is not None else sorted(rules.affiliates)
    _known(rules, chosen, pointer)
    return frozenset(chosen)


def notice(rules: Rules, version: str, at: datetime, locale: Locale = "ko", *, giving: bool = True) -> tuple[str, str]:
    """Return (version, hash of the text shown) of the notice a consent at `at` cites.

    Raise Problem 422 unless it was in force by then; a consent given must cite the one in force (PIPA 15(2)), while
    taking back may cite any.
    """
    found = rules.notice(version)
    current = rules.current_notice(at)
    if found is None or found.effective_from > at:
        raise _notice_refused(
            "unknown_notice_version",
            f"알 수 없는 고지 버전입니다. 현재 버전: {current}",
            f"Unknown notice version. The current one is {current}",
        )
    if giving and version != current:
        raise _notice_refused(
            "superseded_notice_version",
            f"고지가 바뀌었습니다. 현재 버전을 보여 주고 다시 동의를 받아 주세요: {current}",
            f"The notice has changed. Show the current one and ask again: {current}",
        )
    if locale not in found.locales:
        raise field(
            422,
            "notice_not_in_language",
            "/notice_locale",
            "이 고지는 그 언어로 제공되지 않습니다.",
            "This notice does not exist in that language.",
        )
    return version, found.hash_of(locale)


def _notice_refused(code: str, ko: str, en: str) -> Problem:
    return field(422, code, "/notice_version", ko, en)


def _known(rules: Rules, ids: Iterable[str], pointer: str) -> None:
    if any(i not in rules.affiliates for i in ids):
        known = ", ".join(sorted(rules.affiliates))
        raise field(
            422,
            "unknown_recipient",
            pointer,
            f"관계사가 아닌 수신자가 있습니다. 가능한 값: {known}",
            f"Not an affiliate. Choose from: {known}",
        )


def _told(rules: Rules, ids: Iterable[str], pointer: str, version: str, consent: ToParties) -> None:
    told = told_parties(rules, version, consent)
    if any(i not in told for i in ids):
        named = ", ".join(sorted(told))
        raise field(
            422,
            "recipient_not_in_notice",
            pointer,
            f"이 고지는 그 관계사를 알리지 않았습니다. 고지에 있는 곳: {named}",
            f"The cited notice does not tell of that affiliate. It names: {named}",
        )
