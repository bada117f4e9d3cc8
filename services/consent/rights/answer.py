"""Pure: what the person is shown. For an access the five blocks of decree 41(1); else the result (43(3), 44(2)).

Never a password, not even its hash; never a provision to investigators (G5): that ledger is not read here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.consent.model import Member
from services.consent.rights import scope
from services.consent.rights.model import Request, withheld
from services.policy.model import Rules
from services.policy.rights import catalogue
from services.policy.scope import provider_of
from services.runtime.clock import KST

SECRET = "password_hash"  # noqa: S105 - the name of an item
SECRET_SHOWN = "일방향 암호화되어 있어 회사도 알 수 없음"  # noqa: S105
CORPORATE_ITEM = "customer_name"
ROLE_WORDS = {"recipient": "제공", "processor": "위탁"}
CONSENT_WORDS = {"collection": "수집·이용", "sharing": "관계사 제공", "marketing": "마케팅"}


@dataclass(frozen=True)
class Found:
    """What the database says about the person at one instant: ledger and consents as rows."""

    member: Member
    disclosures: Sequence[Mapping[str, Any]]
    consents: Sequence[Mapping[str, Any]]
    at: datetime


def document(rules: Rules, request: Request, found: Found) -> dict[str, Any]:
    """Return the answer as JSON blocks; content only of a granted access."""
    told = {
        "id": request.id,
        "member_ref": request.member_ref,
        "type": request.type,
        "received_at": text_of(request.received_at),
        "decided_at": text_of(request.decided_at) if request.decided_at else None,
        "as_of": text_of(found.at),
        "controller": _operator(rules),
        **result_of(request),
    }
    kept_back = withheld(request, scope.everything(rules, request.type, found.member))
    if kept_back:
        told["withheld_items"] = [_named(rules, item) for item in sorted(kept_back)]
    if request.type == "access" and request.outcome in {"granted", "partial"}:
        told["blocks"] = blocks(rules, request, found)
    return told


def result_of(request: Request) -> dict[str, Any]:
    """Return the outcome with its ground in words and, where anything is refused or put off, how to object (38(5))."""
    found = catalogue()
    told: dict[str, Any] = {}
    if request.outcome is not None:
        form = found.forms[found.types[request.type].answer_form]
        told = {"outcome": request.outcome, "form": {"id": form.id, "title": form.ko}}
    if request.ground is not None:
        ground = found.grounds[request.type, request.ground]
        told["ground"] = {"id": ground.id, "statute": ground.statute, "clause": ground.clause, "ko": ground.ko}
    if request.statute is not None:
        told["statute"] = {"id": request.statute, "ko": found.statutes[request.statute].ko}
    if request.outcome == "partial":
        told |= named("granted_", request.granted)
    if request.state == "deferred" or request.outcome in {"partial", "refused"}:
        told["objection"] = found.objection.model_dump(mode="json")
    return told


def named(prefix: str, found: frozenset[str] | None) -> dict[str, list[str] | None]:
    """Items and purposes apart, as the bodies take them."""
    if found is None:
        return {}
    purposes = sorted(name for name in found if name.startswith("P"))
    return {f"{prefix}items": sorted(found - {*purposes}), **({f"{prefix}purposes": purposes} if purposes else {})}


def blocks(rules: Rules, request: Request, found: Found) -> dict[str, Any]:
    """Return items and content, purposes, periods, provision to third parties, facts and content of consents."""
    return {
        "items": _items(rules, request, found.member),
        "purposes": _purposes(rules, found.member),
        "periods": [p.model_dump() for p in catalogue().periods],
        "third_parties": [_provision(rules, row) for row in found.disclosures],
        "consents": [_consent(rules, row) for row in found.consents],
    }


def _items(rules: Rules, request: Request, member: Member) -> list[dict[str, Any]]:
    values = member.values()
    wanted = set(values) if request.items is None else set(values) & request.items
    wanted -= withheld(request, values)
    shown = [_named(rules, i) | {"content": SECRET_SHOWN if i == SECRET else values[i]} for i in sorted(wanted)]
    return [*shown, *_membership(member)] if request.items is None else shown


def _membership(member: Member) -> Iterable[dict[str, Any]]:
    yield {"item": "membership_status", "ko": "회원 상태", "content": member.status}
    yield {"item": "signed_up_at", "ko": "가입일", "content": text_of(member.signed_up_at)}
    if member.withdrawn_at is not None:
        yield {"item": "withdrawn_at", "ko": "탈퇴일", "content": text_of(member.withdrawn_at)}


def _purposes(rules: Rules, member: Member) -> list[dict[str, str]]:
    """P1.3 is for corporate customers, P1.5 for who consented to it; the others are membership itself."""
    corporate = any(CORPORATE_ITEM in p.items for p in member.profiles.values())
    marketing = any(c.purpose == "marketing" for c in member.consents)
    unused = {"P1.3": not corporate, "P1.5": not marketing}
    return [
        {"id": p.id, "clause": p.clause, "ko": p.ko, "en": p.en}
        for p in rules.purposes.values()
        if not unused.get(p.id, False)
    ]


def _provision(rules: Rules, row: Mapping[str, Any]) -> dict[str, Any]:
    purpose = rules.purposes.get(row["purpose"])
    return {
        "recipient": {"id": row["recipient"], "ko": _party(rules, row["recipient"])},
        "kind": row["kind"],
        "role": {"id": row["role"], "ko": ROLE_WORDS[row["role"]]},
        "items": [_named(rules, item) for item in row["items"]],
        "purpose": {"id": row["purpose"], "ko": purpose.ko if purpose else row["purpose"]},
        "basis": row["basis"],
        "at": text_of(row["at"]),
    }


def _consent(rules: Rules, row: Mapping[str, Any]) -> dict[str, Any]:
    """The fact (when, how, by whom) and the content (which notice) of one consent, ended ones included."""
    notice = rules.notice(row["notice_version"])
    lines = next((p.lines for p in notice.parts if p.consent == row["purpose"]), ()) if notice else ()
    return {
        "purpose": {"id": row["purpose"], "ko": CONSENT_WORDS[row["purpose"]]},
        "party": {"id": row["party"], "ko": _party(rules, row["party"])} if row["party"] else None,
        "provider": _operator(rules) if row["purpose"] == "sharing" else None,
        "channel": row["channel"] or None,
        "given_at": text_of(row["given_at"]),
        "ended_at": text_of(row["ended_at"]) if row["ended_at"] else None,
        "collected_via": row["collected_via"],
        "actor": row["actor"],
        "notice_version": row["notice_version"],
        "notice_hash": row["notice_hash"],
        "notice": [{"label": label, "text": text} for label, text in lines],
    }


def _operator(rules: Rules) -> dict[str, str]:
    operator = rules.affiliates[provider_of(rules)]
    return {"id": operator.id, "ko": operator.ko, "en": operator.en}


def _named(rules: Rules, item: str) -> dict[str, str]:
    """An item with its Korean name, or a purpose; `<service>.<item>` names the service too."""
    if item in rules.purposes:
        return {"item": item, "ko": rules.purposes[item].ko}
    service, _, name = item.rpartition(".")
    known = rules.items.get(name)
    ko = known.ko if known else {"role": "역할", "birth_date": "생년월일"}.get(name, name)
    return {"item": item, "ko": f"{rules.services[service].ko} {ko}" if service in rules.services else ko}


def _party(rules: Rules, party: str) -> str:
    known = rules.affiliates.get(party) or rules.third_parties.get(party)
    return known.ko if known else party


def text_of(at: datetime) -> str:
    """Return an instant as people in Korea write it: ISO 8601 in KST, to the second."""
    return at.astimezone(KST).isoformat(timespec="seconds")
