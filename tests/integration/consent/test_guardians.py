"""Members under 14: nothing is shared until a guardian's consent is verified; one that nobody confirms is forgotten."""

import uuid
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from schemas.events import Fact, Projection
from schemas.receipts import RegisterEntry
from schemas.topics import FACTS, RECEIPTS
from services.consent import sealing
from services.consent.guardians import handlers
from services.policy.guardians import methods
from tests.integration.consent.harness import Service, a_sign_up, a_token, bearer
from tests.integration.consent.pinned import as_of

CHILD = {"birth_date": "2020-01-01"}
GUARDIAN = {"name": "홍부모", "contact": "010-9999-0000"}
NIGHT_BEFORE = datetime(2026, 11, 29, 14, 59, 59, tzinfo=UTC)
LAST_DAY = datetime(2026, 11, 29, 15, 0, tzinfo=UTC)


async def test_a_verified_guardian_lets_sharing_begin(service: Service) -> None:
    ref = (await service.sign_up(**CHILD))["member_ref"]
    assert await service.sent_to("tmax-os") == []
    body = {"method": "site_and_phone_identity", "guardian": GUARDIAN}
    answer = await service.post(f"/v1/members/{ref}/guardian/confirm", body)
    assert (answer.status_code, answer.json()["seq"], answer.headers["etag"]) == (200, 2, '"2"')
    for affiliate in ("tmax-cloud", "tmax-os", "tmax-anc"):
        (sent,) = await service.sent_to(affiliate)
        assert isinstance(sent, Projection)
        assert sent.member is not None
        assert (sent.prev, sent.member.status) == (0, "active")
    fact = (await service.shapes(FACTS))[-1]
    assert isinstance(fact, Fact)
    assert (fact.change, fact.note, fact.actor) == ("released", "guardian_confirmed", "guardian")
    assert (await service.http.get(f"/v1/members/{ref}")).json()["status"] == "active"


async def test_what_is_known_of_a_guardian_is_sealed_and_its_steps_are_registered(service: Service) -> None:
    ref = (await service.sign_up(**CHILD))["member_ref"]
    named = (await service.post(f"/v1/members/{ref}/guardian", {"guardian": GUARDIAN})).json()
    row = await service.pool.fetchrow("SELECT * FROM guardian WHERE member_ref = $1", ref)
    assert row is not None
    assert GUARDIAN["contact"].encode() not in row["sealed"]
    data_key = await service.consent.keyring.data_key(ref)
    label = f"guardian/{named['guardian_id']}"
    assert orjson.loads(sealing.unseal(data_key, ref, label, row["sealed"])) == GUARDIAN
    assert (await service.post(f"/v1/members/{ref}/guardian/confirm", {"method": "paper"})).status_code == 200
    entries = [e for e in await service.shapes(RECEIPTS) if isinstance(e, RegisterEntry)]
    assert [(e.kind, e.state, e.subject == named["guardian_id"]) for e in entries] == [
        ("guardian", "named", True),
        ("guardian", "confirmed", True),
    ]
    assert entries[1].codes["method"] == "paper"
    duty = await service.pool.fetchrow("SELECT * FROM duty WHERE subject = $1", named["guardian_id"])
    assert duty is not None
    assert (duty["kind"], duty["outcome"]) == ("guardian_destroy", "confirmed")


async def test_a_guardian_whom_nobody_confirms_is_destroyed_on_the_last_day(silent: Service) -> None:
    """Law notes A10b: 23 November 2026 gives Monday the 30th, because the 28th is a Saturday."""
    ref = (await silent.sign_up(**CHILD))["member_ref"]
    other = (await silent.sign_up(**CHILD))["member_ref"]
    for one in (ref, other):
        await silent.post(f"/v1/members/{one}/guardian", {"guardian": GUARDIAN})
    await silent.post(f"/v1/members/{other}/guardian/confirm", {"method": "paper"})
    await silent.pool.execute("UPDATE guardian SET due_on = '2026-11-30'")
    assert await handlers.purge_unconfirmed(silent.consent, NIGHT_BEFORE) == 0
    assert await handlers.purge_unconfirmed(silent.consent, LAST_DAY) == 1
    assert await handlers.purge_unconfirmed(silent.consent, LAST_DAY) == 0
    left = await silent.pool.fetch("SELECT member_ref FROM guardian")
    assert [r["member_ref"] for r in left] == [other], "a confirmed one stays as evidence"
    outcomes = await silent.pool.fetch(
        "SELECT outcome FROM duty WHERE member_ref = ANY($1::uuid[]) ORDER BY position", [ref, other]
    )
    assert [r["outcome"] for r in outcomes] == ["destroyed", "confirmed"]
    again = await silent.post(f"/v1/members/{ref}/guardian/confirm", {"method": "paper"})
    assert (again.status_code, again.json()["code"]) == (422, "guardian_required")
    fresh = await silent.post(f"/v1/members/{ref}/guardian/confirm", {"method": "paper", "guardian": GUARDIAN})
    assert fresh.status_code == 200


async def test_naming_another_guardian_replaces_the_first(silent: Service) -> None:
    ref = (await silent.sign_up(**CHILD))["member_ref"]
    first = (await silent.post(f"/v1/members/{ref}/guardian", {"guardian": GUARDIAN})).json()
    second = (await silent.post(f"/v1/members/{ref}/guardian", {"guardian": GUARDIAN})).json()
    rows = await silent.pool.fetch("SELECT guardian_id FROM guardian")
    assert [r["guardian_id"] for r in rows] == [second["guardian_id"]]
    outcome = await silent.pool.fetchval("SELECT outcome FROM duty WHERE subject = $1", first["guardian_id"])
    assert outcome == "destroyed"


async def test_a_repeated_confirmation_answers_the_same_and_changes_nothing(silent: Service) -> None:
    ref = (await silent.sign_up(**CHILD))["member_ref"]
    key, body = str(uuid.uuid4()), {"method": "email", "guardian": GUARDIAN}
    answers = [await silent.post(f"/v1/members/{ref}/guardian/confirm", body, key=key) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert await silent.pool.fetchval("SELECT count(*) FROM change WHERE member_ref = $1", ref) == 2


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"method": "handshake", "guardian": GUARDIAN}, 422, "unknown_method"),
        ({"method": "paper"}, 422, "guardian_required"),
        ({"method": "paper", "guardian": {"name": "홍부모"}}, 422, "invalid_field"),
        ({"method": "paper", "guardian": GUARDIAN | {"birth_date": "1980-01-01"}}, 422, "invalid_field"),
    ],
)
async def test_a_confirmation_that_proves_nothing_is_refused(
    silent: Service, body: dict[str, object], status: int, code: str
) -> None:
    ref = (await silent.sign_up(**CHILD))["member_ref"]
    answer = await silent.post(f"/v1/members/{ref}/guardian/confirm", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "010-9999-0000" not in answer.text
    shown = (await silent.http.get(f"/v1/members/{ref}")).json()
    assert (shown["status"], shown["seq"]) == ("pending_guardian", 1)


async def test_a_child_cannot_confirm_for_the_guardian_and_an_adult_has_none(silent: Service) -> None:
    child = (await silent.sign_up(**CHILD))["member_ref"]
    body = {"method": "paper", "guardian": GUARDIAN}
    own = bearer(a_token(child, "member"))
    assert (await silent.post(f"/v1/members/{child}/guardian/confirm", body, headers=own)).status_code == 403
    assert (await silent.post(f"/v1/members/{child}/guardian", {"guardian": GUARDIAN}, headers=own)).status_code == 201
    adult = (await silent.sign_up())["member_ref"]
    for path, sent in (("guardian", {"guardian": GUARDIAN}), ("guardian/confirm", body)):
        answer = await silent.post(f"/v1/members/{adult}/{path}", sent)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_pending_guardian")
    nobody = await silent.post(f"/v1/members/{uuid.uuid4()}/guardian", {"guardian": GUARDIAN})
    assert nobody.status_code == 404


async def test_a_child_that_asks_to_leave_is_not_usable_meanwhile(silent: Service) -> None:
    ref = (await silent.sign_up(**CHILD))["member_ref"]
    await silent.post(f"/v1/members/{ref}/withdrawal")
    question = {"recipient": "tmax-cloud", "purpose": "P1.2", "item": "email", "member_ref": ref}
    found = (await silent.http.get("/v1/decisions", params=question)).json()
    assert (found["allowed"], found["rule"]) == (False, "5.3-guardian")


async def test_the_seven_ways_of_the_decree_are_listed(silent: Service) -> None:
    found = (await silent.http.get("/v1/guardian-methods", headers={"Authorization": ""})).json()["methods"]
    assert [m["id"] for m in found] == list(methods())
    assert len(found) == 7


async def test_a_sign_up_that_says_under_fourteen_waits_too(silent: Service) -> None:
    made = await silent.post("/v1/members", a_sign_up(age_declaration=False))
    ref = made.json()["member_ref"]
    body = {"method": "paper", "guardian": GUARDIAN}
    assert (await silent.post(f"/v1/members/{ref}/guardian/confirm", body)).status_code == 200


async def with_a_guardian(silent: Service, **child: object) -> str:
    """Sign a child up with every consent to share, and let its guardian confirm."""
    ref = str((await silent.sign_up(**child))["member_ref"])
    body = {"method": "paper", "guardian": GUARDIAN}
    assert (await silent.post(f"/v1/members/{ref}/guardian/confirm", body)).status_code == 200
    return ref


CONSENTS = [
    ("marketing", {"granted": True, "channel": "use"}),
    ("sharing", {"granted": True, "recipients": ["tmax-os"]}),
    ("collection", {"granted": True}),
]
BY_GUARDIAN = {"guardian": {"method": "site_and_phone_identity"}}


@pytest.mark.parametrize("child", [CHILD, {"age_declaration": False}], ids=["by birth date", "by declaration"])
@pytest.mark.parametrize(("purpose", "given"), CONSENTS, ids=[purpose for purpose, _ in CONSENTS])
async def test_a_childs_later_consent_needs_the_guardian_too(
    silent: Service, child: dict[str, object], purpose: str, given: dict[str, object]
) -> None:
    """PIPA 22-2(1): each consent, not that of the sign-up alone. Found in review."""
    ref = await with_a_guardian(silent, **child)
    own, staff = bearer(a_token(ref, "member")), bearer(a_token("kim", "compliance"))
    for refused in (
        await silent.put(ref, 2, purpose, given, **own),
        await silent.put(ref, 2, purpose, given),
    ):
        assert (refused.status_code, refused.json()["code"]) == (409, "guardian_needed")
    itself = await silent.put(ref, 2, purpose, given | BY_GUARDIAN, **own)
    assert itself.status_code == 403, "a child does not say that its guardian was verified"
    answer = await silent.put(ref, 2, purpose, given | BY_GUARDIAN, **staff)
    assert (answer.status_code, answer.json()["seq"]) == (200, 3)
    kept = await silent.pool.fetch(
        "SELECT actor FROM consent WHERE member_ref = $1 AND change_id = $2", ref, answer.json()["change_id"]
    )
    assert {row["actor"] for row in kept} == {"guardian"}


async def test_what_the_guardian_consented_to_later_is_registered_with_how_it_was_verified(service: Service) -> None:
    ref = await with_a_guardian(service, **CHILD)
    guardian_id = await service.pool.fetchval("SELECT guardian_id::text FROM guardian WHERE member_ref = $1", ref)
    answer = await service.put(ref, 2, "marketing", {"granted": True, "channel": "use"} | BY_GUARDIAN)
    taken_back = await service.put(ref, 3, "marketing", {"granted": False} | BY_GUARDIAN)
    assert (answer.status_code, taken_back.status_code) == (200, 200)
    entries = [e for e in await service.shapes(RECEIPTS) if isinstance(e, RegisterEntry) and e.kind == "guardian"]
    consented, revoked = entries[-2:]
    assert (consented.state, consented.subject, consented.actor) == ("consented", guardian_id, "guardian")
    assert consented.codes == {
        "method": "site_and_phone_identity",
        "purpose": "marketing",
        "change_id": answer.json()["change_id"],
    }
    assert (revoked.state, revoked.codes["change_id"]) == ("revoked", taken_back.json()["change_id"])


async def test_a_child_may_take_a_consent_back_itself(silent: Service) -> None:
    ref = await with_a_guardian(silent, **CHILD)
    own = bearer(a_token(ref, "member"))
    answer = await silent.put(ref, 2, "sharing", {"granted": False, "recipients": ["tmax-os"]}, **own)
    assert answer.status_code == 200


async def test_one_who_turned_fourteen_after_the_guardian_consents_for_itself_and_no_guardian_does(
    silent: Service,
) -> None:
    """Born on 2012-11-24: under 14 up to the end of 2026-11-23 in Korea (law notes A10)."""
    turns = datetime(2026, 11, 23, 15, tzinfo=UTC)
    async with as_of(silent, turns - timedelta(days=9)) as earlier:
        ref = await earlier.sign_up(birth_date="2012-11-24")
        confirmed = await earlier.post(f"/v1/members/{ref}/guardian/confirm", {"method": "paper", "guardian": GUARDIAN})
        assert confirmed.status_code == 200
    given = {"granted": True, "channel": "use", "notice_version": "2021-02-22"}
    path, match = f"/v1/members/{ref}/consents/marketing", {"If-Match": "*"}
    async with as_of(silent, turns - timedelta(seconds=1), "member", sub=ref) as day_before:
        refused = await day_before.http.put(path, json=given, headers=match)
        assert (refused.status_code, refused.json()["code"]) == (409, "guardian_needed")
    async with as_of(silent, turns) as birthday:
        late = await birthday.http.put(path, json=given | BY_GUARDIAN, headers=match)
        assert (late.status_code, late.json()["code"]) == (409, "guardian_not_needed")
        assert (await birthday.http.put(path, json=given, headers=match)).status_code == 200


async def test_a_guardians_consent_is_refused_for_adults_and_for_unknown_ways(silent: Service) -> None:
    adult = (await silent.sign_up())["member_ref"]
    refused = await silent.put(adult, 1, "marketing", {"granted": True, "channel": "use"} | BY_GUARDIAN)
    assert (refused.status_code, refused.json()["code"]) == (409, "guardian_not_needed")
    child = await with_a_guardian(silent, **CHILD)
    body = {"granted": True, "channel": "use", "guardian": {"method": "handshake"}}
    unknown = await silent.put(child, 2, "marketing", body)
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_method")
    assert unknown.json()["errors"][0]["pointer"] == "/guardian/method"
