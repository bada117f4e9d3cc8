"""What is consented to, held against the policy: the notice version cited, and the parties and channels it tells of."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Literal

from services.consent import age, model
from services.consent.bodies import ConsentBody, ConsentsBody
from services.consent.model import ConsentRef, Member, Step
from services.consent.refusals import field
from services.policy.model import Rules
from services.policy.scope import told_parties
from services.policy.shapes import Locale
from services.runtime.problem import Problem

ToParties = Literal["sharing", "marketing"]
StepOf = Callable[[Member], Step]


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


def step_of(rules: Rules, purpose: str, body: ConsentBody, at: datetime) -> StepOf:
    """Return what a PUT of a consent makes of the member. Raise Problem 422 for fields that are not this purpose's.

    The step raises Problem 409 for a child's consent without its guardian, and for a guardian of one who is no child.
    """
    if purpose == "collection":
        found = _collection(body, at)
    else:
        found = _sharing(rules, body) if purpose == "sharing" else _marketing(rules, body)
    return _by_who_may(found, body, at)


def _by_who_may(step_of: StepOf, body: ConsentBody, at: datetime) -> StepOf:
    """Each consent of a child is the guardian's to give, not that of the sign-up alone (PIPA 22-2(1))."""

    def step(member: Member) -> Step:
        found = step_of(member)  # first what is refused whoever consents
        child = age.is_child(member, at)
        if child and body.granted and body.guardian is None:
            raise model.guardian_needed()
        if body.guardian is not None and not child:
            raise age.guardian_not_for_adults()
        return found

    return step


def _collection(body: ConsentBody, at: datetime) -> StepOf:
    if not body.granted:
        raise field(
            422,
            "collection_ends_by_withdrawal",
            "/granted",
            "수집·이용 동의는 회원 탈퇴로 철회합니다.",
            "The consent to collection is taken back by leaving.",
        )
    _no_other(body, (), "수집·이용 동의에는 받는 곳이나 채널이 없습니다.", "Collection names no party and no channel.")

    return lambda member: model.consent_to_collection(member, of_age=age.is_of_age(member, at))


def _sharing(rules: Rules, body: ConsentBody) -> StepOf:
    ko, en = "제공(sharing) 동의에는 recipients만 쓸 수 있습니다.", "Sharing takes `recipients` only."
    _no_other(body, ("recipients",), ko, en)
    parties = _parties(rules, body, body.recipients, "/recipients", "sharing")
    return lambda member: model.change_sharing(member, body.granted, parties)


def _marketing(rules: Rules, body: ConsentBody) -> StepOf:
    ko, en = "마케팅 동의에는 senders를 쓰세요.", "Marketing takes `senders`, not `recipients`."
    _no_other(body, ("senders", "channel"), ko, en)
    parties = _parties(rules, body, body.senders, "/senders", "marketing")
    channel = body.channel or "use"
    return lambda member: model.change_marketing(member, body.granted, parties, channel)


def _no_other(body: ConsentBody, mine: tuple[str, ...], ko: str, en: str) -> None:
    for name in ("channel", "senders", "recipients"):
        if name not in mine and getattr(body, name) is not None:
            raise field(422, "field_not_for_purpose", f"/{name}", ko, en)


def _parties(rules: Rules, body: ConsentBody, named: list[str] | None, at: str, purpose: ToParties) -> frozenset[str]:
    if body.granted:
        return given_to(rules, named, at, body.notice_version, purpose)
    return taken_from(rules, named, at)


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
