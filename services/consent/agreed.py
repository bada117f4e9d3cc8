"""What a body says the member agreed to, checked against the policy: parties, channels, notice version."""

from collections.abc import Iterable
from datetime import datetime

from services.consent import model
from services.consent.bodies import ConsentsBody
from services.consent.model import ConsentRef
from services.consent.refusals import field
from services.policy.model import Rules


def at_sign_up(rules: Rules, consents: ConsentsBody) -> tuple[ConsentRef, ...]:
    """Return the consents of a sign-up; raise Problem 422 without collection, or for what cannot stand."""
    if not consents.collection:
        raise field(
            422,
            "collection_consent_required",
            "/consents/collection",
            "회원 가입에는 개인정보 수집·이용 동의가 필요합니다.",
            "Membership needs the consent to collection.",
        )
    affiliates = sorted(rules.affiliates)
    chosen = consents.sharing if isinstance(consents.sharing, dict) else dict.fromkeys(affiliates, consents.sharing)
    _known(rules, chosen, "/consents/sharing")
    marketing = consents.marketing.model_dump()
    if any(marketing[c] for c in ("email", "sms", "night")) and not marketing["use"]:
        raise model.marketing_needs_use("/consents/marketing/use")
    sharing = [ConsentRef("sharing", r) for r, yes in sorted(chosen.items()) if yes]
    channels = [ConsentRef("marketing", a, c) for a in affiliates for c, yes in marketing.items() if yes]
    return (ConsentRef("collection"), *sharing, *channels)


def parties(rules: Rules, named: list[str] | None, pointer: str) -> frozenset[str]:
    """Return the affiliates named, all when none is named; raise Problem 422 for an unknown one."""
    chosen = named if named is not None else sorted(rules.affiliates)
    _known(rules, chosen, pointer)
    return frozenset(chosen)


def notice(rules: Rules, version: str, at: datetime) -> tuple[str, str]:
    """Return (version, hash) of the notice a consent given at `at` cites; 422 unless it was in force by then."""
    found = rules.notice(version)
    if found is None or found.effective_from > at:
        raise field(
            422,
            "unknown_notice_version",
            "/notice_version",
            "알 수 없는 고지 버전입니다. 현재 버전: " + rules.current_notice(at),
            "Unknown notice version. The current one is " + rules.current_notice(at),
        )
    return version, found.sha256


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
