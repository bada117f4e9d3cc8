"""Messages from their cause to the mail server: real PostgreSQL, a real SMTP server, a clock of the test's own."""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import orjson
import pytest
import pytest_asyncio
from pydantic import SecretStr

from services.consent import handlers
from services.consent.bodies import SignUpBody
from services.consent.handlers import Caller, Consent
from services.consent.messages import adapters, loop, reconfirmation, scan
from services.consent.messages.queue import queue, unsent_for
from services.consent.messages.sender import LEASE, Sender
from services.runtime.clock import KST, utc_now
from tests.integration.consent.harness import Service, a_sign_up, a_token, bearer
from tests.support.mail import MailServer, free_port, mail_server
from tests.support.notices import WITH_PHONE, rules_with_phone

HOST = {"service": "hypermeeting", "role": "host", "phone": "010-1234-5678", "department": "연구1팀", "title": "책임"}
NOTICE = {"notice_version": "2021-02-22"}
OFFICER = bearer(a_token("cpo-1", "cpo"))


@dataclass
class Clock:
    """The test's time."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Post:
    """What the tests hold on to: the service, a mail server, time, and the sender between them."""

    service: Service
    mail: MailServer
    clock: Clock
    consent: Consent
    sender: Sender

    async def send(self) -> None:
        while await self.sender.send_due():
            pass

    async def send_now(self) -> None:
        """Send what was queued up to now, however long that took."""
        self.clock.now = max(self.clock.now, utc_now())
        await self.send()

    async def member(self, **changes: Any) -> tuple[str, str]:
        """Sign somebody up; return reference and address."""
        email = f"m{uuid.uuid4().hex[:12]}@example.com"
        return (await self.service.sign_up(email=email, **changes))["member_ref"], email

    async def rows(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        return list(await self.service.pool.fetch(sql, *args))

    async def registered(self) -> list[dict[str, Any]]:
        rows = await self.rows("SELECT payload FROM outbox WHERE type = 'kr.dongui.register.v1' ORDER BY position")
        return [entry for row in rows if (entry := orjson.loads(row["payload"]))["kind"] == "message"]

    async def advertise(self, ref: str, **changes: Any) -> httpx.Response:
        body = {"sender": "tmax-os", "title": "새 소식", "text": "회의가 쉬워집니다."} | changes
        return await self.service.post(f"/v1/members/{ref}/messages", body)

    async def listed(self, ref: str) -> list[dict[str, Any]]:
        answer = await self.service.http.get("/v1/messages", params={"member_ref": ref})
        return list(answer.json()["messages"])


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server() as made:
        yield made


@pytest_asyncio.fixture
async def post(silent: Service, mail: MailServer) -> Post:
    owner = await asyncpg.connect(silent.databases.owner_dsn("consent"))
    await owner.execute("TRUNCATE message, message_attempt, message_reconfirmation, message_refusal, duty")
    await owner.close()
    clock = Clock(utc_now() + timedelta(seconds=5))
    consent = replace(silent.consent, clock=clock)
    mailer = adapters.SmtpMailer(mail.host, mail.port, "noreply@dongui.test", clock)
    return Post(silent, mail, clock, consent, Sender(consent, {"email": mailer}))


def marketing(**given: bool) -> dict[str, Any]:
    return {"collection": True, "sharing": True, "marketing": {"use": True} | given}


async def test_every_wish_brings_each_company_that_sends_one_notice_and_closes_its_duty(post: Post) -> None:
    ref, email = await post.member(consents=marketing(email=True))
    put = {"granted": False, "channel": "sms", "senders": ["tmax-os"]}
    assert (await post.service.put(ref, 1, "marketing", put)).status_code == 200
    put = {"granted": False, "channel": "email", "senders": ["tmax-os"]}
    assert (await post.service.put(ref, 2, "marketing", put)).status_code == 200
    kinds = "SELECT count(*) AS n, min(due_on - opened_at::date) AS days FROM duty WHERE kind = 'marketing_result'"
    (opened,) = await post.rows(kinds + " AND closed_at IS NULL")
    assert opened["n"] == 5
    assert opened["days"] >= 13
    await post.send()
    mails = post.mail.to(email)
    assert sorted(str(m["From"].addresses[0].display_name) for m in mails) == [
        "㈜티맥스에이앤씨",
        "㈜티맥스오에스",
        "㈜티맥스오에스",
        "㈜티맥스오에스",
        "㈜티맥스클라우드",
    ]
    today = utc_now().astimezone(KST)
    shown = f"{today.year}년 {today.month}월 {today.day}일"
    said = sorted(line for m in mails for line in m.get_content().splitlines() if line.startswith("수신 의사 표시"))
    assert said == [f"수신 의사 표시: {shown}, {w}" for w in ("수신 거부", *["수신 동의"] * 3, "수신 동의 철회")]
    (closed,) = await post.rows(kinds + " AND outcome = 'sent'")
    assert closed["n"] == 5
    entries = await post.registered()
    assert [(e["state"], e["codes"]["kind"], e["member_ref"]) for e in entries] == [
        ("sent", "marketing_result", ref)
    ] * 5


async def test_no_wish_at_sign_up_no_message_and_no_value_is_ever_in_the_queue(post: Post) -> None:
    ref, _ = await post.member(consents={"collection": True})
    assert await post.listed(ref) == []
    ref, email = await post.member(consents=marketing(), name="김비밀")
    rows = await post.rows("SELECT message::text FROM message")
    assert rows
    assert not any(email in row["message"] or "김비밀" in row["message"] for row in rows)
    shown = await post.listed(ref)
    assert {m["state"] for m in shown} == {"queued"}
    assert email not in str(shown)


async def test_the_last_message_reaches_a_member_who_has_left(post: Post) -> None:
    ref, email = await post.member(name="나간이", consents=marketing(email=True))
    await post.send()
    post.mail.mails.clear()
    await post.service.post(f"/v1/members/{ref}/withdrawal")
    assert (await post.service.post(f"/v1/members/{ref}/withdrawal/confirm")).status_code == 200
    (member,) = await post.rows("SELECT email, name FROM member WHERE member_ref = $1", ref)
    assert (member["email"], member["name"]) == (None, None)
    assert await unsent_for(post.service.pool, [ref]) == {ref: 4}
    sealed = await post.rows("SELECT sealed FROM message WHERE member_ref = $1 AND state = 'queued'", ref)
    assert all(row["sealed"] and email.encode() not in row["sealed"] for row in sealed)
    await post.send()
    subjects = sorted(str(m["Subject"]) for m in post.mail.to(email))
    assert subjects[0] == "[㈜티맥스에이앤씨] 광고성 정보 수신 의사 처리 결과 안내"
    assert "[㈜티맥스클라우드] 회원 탈퇴 처리 결과 안내" in subjects
    assert len(subjects) == 4
    assert all(m.get_content().startswith("나간이 님") for m in post.mail.mails)
    assert await unsent_for(post.service.pool, [ref]) == {}
    assert await post.rows("SELECT 1 FROM message WHERE sealed IS NOT NULL") == []


async def test_once_the_key_is_shredded_a_message_is_dropped_and_says_why(post: Post) -> None:
    ref, _ = await post.member(consents={"collection": True})
    await post.service.post(f"/v1/members/{ref}/withdrawal")
    await post.service.post(f"/v1/members/{ref}/withdrawal/confirm")
    await post.consent.keyring.shred(ref)
    await post.send()
    (message,) = await post.listed(ref)
    assert (message["state"], message["reason"], message["attempts"]) == ("dropped", "key_destroyed", [])
    assert post.mail.mails == []


async def test_a_withdrawal_beats_an_advertisement_that_is_queued(post: Post) -> None:
    ref, email = await post.member(consents=marketing(email=True))
    await post.send()
    post.mail.mails.clear()
    first = await post.advertise(ref)
    assert first.status_code == 202
    await post.send()
    (ad,) = post.mail.to(email)
    assert ad["Subject"] == "(광고) [㈜티맥스오에스] 새 소식"
    assert ad["List-Unsubscribe"] == "<mailto:security@tmax.co.kr>"
    second = (await post.advertise(ref)).json()["message_id"]
    put = {"granted": False, "channel": "email", "senders": ["tmax-os"]}
    assert (await post.service.put(ref, 1, "marketing", put)).status_code == 200
    await post.send()
    dropped = next(m for m in await post.listed(ref) if m["message_id"] == second)
    assert (dropped["state"], dropped["reason"]) == ("dropped", "1.5-channel")
    assert [m["Subject"] for m in post.mail.to(email)].count(ad["Subject"]) == 1
    entry = next(e for e in await post.registered() if e["subject"] == second)
    assert (entry["state"], entry["codes"]["reason"]) == ("dropped", "1.5-channel")


async def test_an_affiliate_that_the_member_shares_with_no_more_sends_it_no_advertisement(post: Post) -> None:
    """Found in review: the sender and GET /v1/decisions are one in that a member row is sent from (1.5, 3.2)."""
    ref, email = await post.member(consents=marketing(email=True))
    await post.send()
    post.mail.mails.clear()
    message_id = (await post.advertise(ref)).json()["message_id"]
    operators = (await post.advertise(ref, sender="tmax-cloud")).json()["message_id"]
    put = {"granted": False, "recipients": ["tmax-os", "tmax-cloud"]}
    assert (await post.service.put(ref, 1, "sharing", put)).status_code == 200
    await post.send()
    ended = {m["message_id"]: (m["state"], m["reason"]) for m in await post.listed(ref)}
    assert (ended[message_id], ended[operators]) == (("dropped", "1.5-marketing"), ("sent", None))
    assert [m["Subject"] for m in post.mail.to(email)] == ["(광고) [㈜티맥스클라우드] 새 소식"]
    question = {"recipient": "tmax-os", "purpose": "marketing", "channel": "email", "member_ref": ref}
    found = (await post.service.http.get("/v1/decisions", params=question)).json()
    assert (found["allowed"], found["rule"]) == (False, "1.5-marketing")


@dataclass
class Gateway:
    """A gateway that takes everything."""

    taken: list[adapters.Outbound]

    async def send(self, message: adapters.Outbound) -> None:
        self.taken.append(message)


async def test_a_text_message_advertises_under_a_notice_that_told_of_the_number_and_no_other(post: Post) -> None:
    """PIPA 15(2), 18(1). Found in review: the published notice tells of e-mail and name, and the number was used."""
    wishes, gateway = marketing(sms=True, night=True), Gateway([])
    told = replace(post.consent, rules=rules_with_phone())
    published, _ = await post.member(consents=wishes, profiles=[HOST])
    email = f"m{uuid.uuid4().hex[:12]}@example.com"
    row = a_sign_up(email=email, consents=wishes, profiles=[HOST], notice_version=WITH_PHONE)
    made = await handlers.sign_up(told, SignUpBody.model_validate(row), Caller("test", "member"), None)
    wider = str(made.body["member_ref"])
    for ref in (published, wider):
        assert (await post.advertise(ref, medium="sms")).status_code == 202
    post.clock.now = utc_now() + timedelta(seconds=5)
    await replace(post.sender, consent=told, adapters={"sms": gateway}).send_due()
    assert [(m.member_ref, m.to) for m in gateway.taken] == [(wider, "010-1234-5678")]
    dropped = next(m for m in await post.listed(published) if m["medium"] == "sms")
    assert (dropped["state"], dropped["reason"]) == ("dropped", "12-scope")


async def test_an_advertisement_that_looks_wrong_is_refused_at_the_door(post: Post) -> None:
    ref, _ = await post.member(consents=marketing(email=True))
    for changes, code in (
        ({"text": "[광고] 할인"}, "label_disguised"),
        ({"title": "(광 고) 할인"}, "label_disguised"),
        ({"sender": "nobody"}, "unknown_sender"),
    ):
        answer = await post.advertise(ref, **changes)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert (await post.advertise(str(uuid.uuid4()))).status_code == 404


async def test_a_server_that_is_away_is_asked_again_with_the_same_message_id(post: Post) -> None:
    ref, email = await post.member(consents={"collection": True})
    async with post.service.pool.acquire() as tx:
        data = {"leaves_on": date(2027, 1, 4)}
        message_id = await queue(tx, "dormancy_notice", ref, data, "once", post.clock.now)
        assert await queue(tx, "dormancy_notice", ref, data, "once", post.clock.now) is None
    nobody = adapters.SmtpMailer("127.0.0.1", free_port(), "noreply@dongui.test", post.clock)
    await replace(post.sender, adapters={"email": nobody}).send_due()
    post.mail.answer = "451 try again"
    post.clock.now += timedelta(minutes=1)
    await post.send()
    post.mail.answer = "250 OK"
    await post.send()
    assert post.mail.mails == []
    post.clock.now += timedelta(minutes=5)
    await post.send()
    (mail,) = post.mail.to(email)
    assert mail["Message-ID"] == f"<{message_id}@dongui.test>"
    assert "2027년 1월 4일에 탈퇴" in mail.get_content()
    (message,) = await post.listed(ref)
    assert [a["result"] for a in message["attempts"]] == ["smtp.ConnectionRefusedError", "smtp.451", "sent"]


async def test_a_refusal_for_good_ends_the_message_and_leaves_its_duty_to_staff(post: Post) -> None:
    ref, _ = await post.member(consents=marketing())
    post.mail.answer = "550 no such user"
    await post.send()
    assert {(m["state"], m["reason"]) for m in await post.listed(ref)} == {("failed", "smtp.550")}
    (open_duties,) = await post.rows("SELECT count(*) AS n FROM duty WHERE member_ref = $1 AND closed_at IS NULL", ref)
    assert open_duties["n"] == 3


async def answered_request(post: Post, ref: str) -> str:
    """A correction received on 2022-03-07 and refused for want of an identity; return its id."""
    asked = {"member_ref": ref, "type": "correction", "channel": "fax", "changes": {"name": "이"}}
    made = await post.service.post("/v1/rights-requests", asked | {"received_at": "2022-03-07T10:00:00+09:00"})
    request_id = str(made.json()["id"])
    refused = {"outcome": "refused", "ground": "not_verified"}
    answer = await post.service.post(f"/v1/rights-requests/{request_id}/decide", refused)
    assert answer.status_code == 200, answer.text
    return request_id


async def answered_inquiry(post: Post, ref: str) -> str:
    asked = {"subject": "privacy", "member_ref": ref, "text": "문의", "received_at": "2022-03-07T10:00:00+09:00"}
    inquiry = str((await post.service.post("/v1/inquiries", asked)).json()["id"])
    answer = await post.service.post(f"/v1/inquiries/{inquiry}/answer", {"text": "답변"}, headers=OFFICER)
    assert answer.status_code == 200, answer.text
    return inquiry


async def late(post: Post) -> set[tuple[str, str, str]]:
    found = (await post.service.http.get("/v1/duties?late=true")).json()["duties"]
    return {(duty["kind"], duty["subject"], duty["due_on"]) for duty in found}


async def test_the_clock_of_an_answer_runs_until_the_member_is_told(post: Post) -> None:
    ref, email = await post.member(consents={"collection": True})
    request_id, inquiry = await answered_request(post, ref), await answered_inquiry(post, ref)
    owed = {("correction_answer", request_id, "2022-03-17"), ("inquiry_answer", inquiry, "2022-03-17")}
    assert await late(post) == owed
    post.mail.answer = "451 try again"
    await post.send_now()
    assert await late(post) == owed, "a try that failed for now told nobody"
    post.mail.answer = "250 OK"
    post.clock.now += timedelta(minutes=1)
    await post.send_now()
    assert len(post.mail.to(email)) == 2
    assert await late(post) == set()
    ended = await post.rows("SELECT kind, outcome, closed_at FROM duty ORDER BY position")
    assert [(row["kind"], row["outcome"], row["closed_at"]) for row in ended] == [
        ("correction_answer", "refused", post.clock.now),
        ("inquiry_answer", "answered", post.clock.now),
    ]


async def test_an_answer_that_bounced_is_owed_until_staff_have_told_the_person_otherwise(post: Post) -> None:
    ref, _ = await post.member(consents={"collection": True})
    request_id, inquiry = await answered_request(post, ref), await answered_inquiry(post, ref)
    post.mail.answer = "550 no such user"
    await post.send_now()
    assert {(m["kind"], m["state"]) for m in await post.listed(ref)} == {
        ("rights_answer", "failed"),
        ("inquiry_answer", "failed"),
    }
    assert {subject for _, subject, _ in await late(post)} == {request_id, inquiry}
    letter = {"told_by": "written"}
    assert (await post.service.post(f"/v1/rights-requests/{request_id}/done", letter)).status_code == 200
    told = await post.service.post(f"/v1/inquiries/{inquiry}/done", letter, headers=OFFICER)
    assert (told.status_code, told.json()) == (200, {"id": inquiry, "state": "answered"})
    assert await late(post) == set()


async def test_only_an_officer_says_that_a_member_knows_an_answer_and_not_before_there_is_one(post: Post) -> None:
    ref, _ = await post.member(consents={"collection": True})
    asked = {"subject": "privacy", "member_ref": ref, "text": "문의"}
    path = f"/v1/inquiries/{(await post.service.post('/v1/inquiries', asked)).json()['id']}/done"
    early = await post.service.post(path, {"told_by": "phone"}, headers=OFFICER)
    assert (early.status_code, early.json()["code"]) == (409, "inquiry_not_answered")
    own = bearer(a_token(ref, "member"))
    assert (await post.service.post(path, {"told_by": "phone"}, headers=own)).status_code == 403
    nothing = await post.service.post(f"/v1/inquiries/{uuid.uuid4()}/done", {"told_by": "phone"}, headers=OFFICER)
    assert nothing.json()["code"] == "inquiry_not_found"


async def test_word_of_a_deferral_ends_the_ten_days_and_the_answer_the_rest(post: Post) -> None:
    ref, _ = await post.member(consents={"collection": True})
    asked = {"member_ref": ref, "type": "access", "channel": "fax"}
    request_id = (await post.service.post("/v1/rights-requests", asked)).json()["id"]
    path = f"/v1/rights-requests/{request_id}"
    read = "SELECT kind, outcome FROM duty ORDER BY position"
    await post.service.post(f"{path}/verify", {"method": "id_card", "verified_by": "kim"})
    await post.service.post(f"{path}/defer", {"reason": "retrieval"})
    await post.service.post(f"{path}/defer", {"reason_ended_at": post.service.consent.clock().isoformat()})
    assert [tuple(r) for r in await post.rows(read)] == [("access_answer", None), ("deferred_access", None)]
    await post.send_now()
    assert [tuple(r) for r in await post.rows(read)] == [("access_answer", "deferred"), ("deferred_access", None)]
    await post.service.post(f"{path}/decide", {"outcome": "granted"})
    await post.send_now()
    assert [tuple(r) for r in await post.rows(read)] == [("access_answer", "deferred"), ("deferred_access", "granted")]


async def test_nobody_is_left_to_tell_of_a_decision_after_the_destruction(post: Post) -> None:
    ref, _ = await post.member(consents={"collection": True})
    request_id = await answered_request(post, ref)
    await post.rows("UPDATE member SET status = 'erased', email = NULL, name = NULL WHERE member_ref = $1", ref)
    await post.send_now()
    (message,) = await post.listed(ref)
    assert (message["state"], message["reason"]) == ("dropped", "member_erased")
    (duty,) = await post.rows("SELECT subject, outcome FROM duty")
    assert (duty["subject"], duty["outcome"]) == (request_id, "member_erased")


async def test_two_senders_share_the_queue_and_a_dead_one_leaves_its_message_to_the_other(post: Post) -> None:
    for _ in range(4):
        await post.member(consents=marketing())
    other = replace(post.sender)
    await asyncio.gather(post.sender.send_due(), other.send_due())
    ids = [m["Message-ID"] for m in post.mail.mails]
    assert len(ids) == len(set(ids)) == 12
    ref, email = await post.member(consents={"collection": True})
    async with post.service.pool.acquire() as tx:
        await queue(tx, "dormancy_notice", ref, {"leaves_on": date(2027, 1, 4)}, "dead", post.clock.now)
    dead = replace(post.sender, adapters={"email": _Dying()})
    await dead.send_due()
    await post.send()
    assert post.mail.to(email) == []
    post.clock.now += LEASE + timedelta(seconds=1)
    await post.send()
    assert len(post.mail.to(email)) == 1


class _Dying:
    """A mail server's connection that dies with the process, before anything is recorded."""

    async def send(self, message: adapters.Outbound) -> None:
        raise SystemError(message.message_id)


async def test_a_medium_without_an_adapter_keeps_its_messages(post: Post) -> None:
    ref, _ = await post.member(consents=marketing())
    assert await replace(post.sender, adapters={}).send_due() == 0
    assert {m["state"] for m in await post.listed(ref)} == {"queued"}


async def _imported(post: Post, consented_at: str) -> tuple[str, str]:
    email = f"m{uuid.uuid4().hex[:12]}@example.com"
    wishes = {"use": True, "email": True, "sms": True}
    consents = {"collection": True, "sharing": True, "marketing": wishes}
    row = a_sign_up(email=email, consented_at=consented_at, consents=consents)
    answer = await post.service.post("/v1/members/import", {"rows": [row]})
    return answer.json()["rows"][0]["member_ref"], email


async def test_two_years_after_the_consent_it_is_asked_about_and_a_missed_check_blocks_advertisements(
    post: Post,
) -> None:
    ref, email = await _imported(post, "2024-11-24T10:00:00+09:00")
    assert await post.listed(ref) == []
    asked = (post.service.pool, ref, "tmax-os", "email")
    assert await scan.due(post.consent, datetime(2026, 10, 23, 12, tzinfo=KST)) == 0
    assert not await reconfirmation.overdue(*asked, datetime(2026, 11, 23, 23, 59, 59, tzinfo=KST))
    assert await reconfirmation.overdue(*asked, datetime(2026, 11, 24, tzinfo=KST))
    post.clock.now = datetime(2026, 11, 24, 9, tzinfo=KST)
    late = (await post.advertise(ref)).json()["message_id"]
    post.clock.now = max(utc_now(), post.clock.now) + timedelta(seconds=5)
    await post.send()
    assert next(m for m in await post.listed(ref) if m["message_id"] == late)["reason"] == "1.5-reconfirm"
    assert await scan.due(post.consent, post.clock.now) == 3
    assert await scan.due(post.consent, post.clock.now) == 0
    duty = "SELECT due_on, closed_at FROM duty WHERE kind = 'marketing_reconfirm' AND member_ref = $1"
    assert {row["due_on"] for row in await post.rows(duty, ref)} == {date(2026, 11, 23)}
    await post.send()
    bodies = [m.get_content() for m in post.mail.to(email)]
    assert len(bodies) == 3
    assert all("2024년 11월 24일에 이메일, 문자의 수신에 동의" in body for body in bodies)
    assert all(row["closed_at"] for row in await post.rows(duty, ref))
    assert not await reconfirmation.overdue(*asked, post.clock.now + timedelta(seconds=1))
    assert await reconfirmation.overdue(*asked, datetime(2026, 11, 24, tzinfo=KST))
    assert await reconfirmation.overdue(*asked, datetime(2028, 11, 24, tzinfo=KST))


async def test_a_member_who_says_nothing_keeps_the_consent(post: Post) -> None:
    ref, email = await _imported(post, "2024-11-24T10:00:00+09:00")
    await scan.due(post.consent, post.clock.now)
    await post.send()
    post.mail.mails.clear()
    await post.advertise(ref)
    post.clock.now += timedelta(seconds=5)
    await post.send()
    assert [str(m["Subject"])[:4] for m in post.mail.to(email)] == ["(광고)"]


async def test_a_large_recipient_tells_where_it_has_the_data_from_and_once_a_year_how_it_used_them(post: Post) -> None:
    _, email = await post.member(consents={"collection": True, "sharing": True})
    soon, year = utc_now() + timedelta(minutes=10), utc_now() + timedelta(days=366)
    assert await scan.due(post.consent, soon, large=[]) == 0
    assert await scan.due(post.consent, soon, large=["tmax-os", "tmax-cloud"]) == 1
    assert await scan.due(post.consent, soon, large=["tmax-os", "tmax-cloud"]) == 0
    (duty,) = await post.rows("SELECT due_on FROM duty WHERE kind = 'source_notice'")
    assert duty["due_on"] >= (utc_now() + timedelta(days=85)).date()
    assert await scan.due(post.consent, year, large=["tmax-os", "tmax-cloud"]) == 2
    assert await scan.due(post.consent, year, large=["tmax-os", "tmax-cloud"]) == 0
    post.clock.now = year + timedelta(minutes=1)
    await post.send()
    by_subject = {str(m["Subject"]): m.get_content() for m in post.mail.to(email)}
    source = by_subject["[㈜티맥스오에스] 개인정보 수집 출처 안내"]
    assert "항목: 아이디(이메일), 회원 가입 및 탈퇴 현황, 이름, 비밀번호(일방향 암호화)" in source
    assert "수집 출처: ㈜티맥스클라우드" in source
    used = by_subject["[㈜티맥스클라우드] 개인정보 이용·제공 내역 안내"]
    assert "제공받은 자: ㈜티맥스에이앤씨, ㈜티맥스오에스" in used
    assert "제공받은 자: 없음" in by_subject["[㈜티맥스오에스] 개인정보 이용·제공 내역 안내"]


async def test_whoever_asks_a_recipient_is_told_at_once_where_it_has_the_data_from(post: Post) -> None:
    ref, email = await post.member(consents={"collection": True, "sharing": {"tmax-os": True}})
    own, path = bearer(a_token(ref, "member")), f"/v1/members/{ref}/source-notices"
    for company, status, code in (("tmax-cloud", 422, "unknown_sender"), ("tmax-anc", 409, "nothing_provided")):
        refused = await post.service.post(path, {"sender": company}, headers=own)
        assert (refused.status_code, refused.json()["code"]) == (status, code)
    asked = await post.service.post(path, {"sender": "tmax-os"}, key="once", headers=own)
    again = await post.service.post(path, {"sender": "tmax-os"}, key="once", headers=own)
    assert (asked.status_code, asked.json()) == (202, again.json())
    post.clock.now = utc_now() + timedelta(seconds=5)
    await post.send()
    (told,) = post.mail.to(email)
    assert told["Subject"] == "[㈜티맥스오에스] 개인정보 수집 출처 안내"
    assert "항목: 아이디(이메일)" in told.get_content()


async def test_a_member_may_refuse_the_yearly_notice_and_nothing_that_must_be_sent(post: Post) -> None:
    ref, _ = await post.member(consents={"collection": True, "sharing": True})
    path = f"/v1/members/{ref}/messages"
    own = bearer(a_token(ref, "member"))
    answer = await post.service.http.put(f"{path}/yearly_use_notice", json={"wanted": False}, headers=own)
    assert (answer.status_code, answer.json()) == (200, {"kind": "yearly_use_notice", "wanted": False})
    year = utc_now() + timedelta(days=366)
    assert await scan.due(post.consent, year, large=["tmax-cloud"]) == 0
    refused = await post.service.http.put(f"{path}/rights_answer", json={"wanted": False}, headers=own)
    assert (refused.status_code, refused.json()["code"]) == (422, "kind_not_refusable")
    await post.service.http.put(f"{path}/yearly_use_notice", json={"wanted": True}, headers=own)
    assert await scan.due(post.consent, year, large=["tmax-cloud"]) == 1


async def test_a_member_sees_its_own_messages_and_others_none(post: Post) -> None:
    ref, _ = await post.member(consents=marketing())
    other, _ = await post.member(consents=marketing())
    own = bearer(a_token(ref, "member"))
    mine = await post.service.http.get("/v1/messages", headers=own)
    assert {m["member_ref"] for m in mine.json()["messages"]} == {ref}
    params = {"member_ref": other}
    assert (await post.service.http.get("/v1/messages", params=params, headers=own)).status_code == 404
    affiliate = bearer(a_token("tmax-os", "affiliate"))
    assert (await post.service.http.get("/v1/messages", headers=affiliate)).status_code == 403
    advertise = {"sender": "tmax-os", "title": "t", "text": "t"}
    denied = await post.service.post(f"/v1/members/{ref}/messages", advertise, headers=own)
    assert denied.status_code == 403


async def test_the_loop_of_the_process_sends_by_the_settings(post: Post) -> None:
    _, email = await post.member(consents=marketing())
    settings = post.service.settings.model_copy(
        update={"smtp_url": SecretStr(post.mail.url), "smtp_from": "noreply@dongui.test"}
    )
    stop = asyncio.Event()
    running = asyncio.create_task(loop.run(settings, post.consent, stop))
    async with asyncio.timeout(10):
        while len(post.mail.to(email)) < 3:
            await asyncio.sleep(0.02)
    stop.set()
    await asyncio.wait_for(running, 5)
