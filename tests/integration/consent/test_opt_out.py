"""One click out of advertising: from a mail the real SMTP server took, without login, to the result notice."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import asyncpg
import httpx
import pytest
import pytest_asyncio

from services.consent.messages import adapters, opt_out
from services.consent.messages.opt_out import OptOut
from services.consent.messages.sender import Sender
from services.runtime.clock import utc_now
from tests.integration.consent.harness import Service
from tests.integration.consent.test_messages import Clock, Post, marketing
from tests.support.mail import MailServer, mail_server

ONE_CLICK = {"content": b"List-Unsubscribe=One-Click", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server() as made:
        yield made


@pytest_asyncio.fixture
async def post(silent: Service, mail: MailServer) -> Post:
    owner = await asyncpg.connect(silent.databases.owner_dsn("consent"))
    await owner.execute("TRUNCATE message, message_attempt, message_reconfirmation, message_refusal, duty")
    await owner.close()
    clock = Clock(utc_now() + timedelta(minutes=1))
    consent = replace(silent.consent, clock=clock)
    mailer = adapters.SmtpMailer(mail.host, mail.port, "noreply@dongui.test", clock)
    return Post(silent, mail, clock, consent, Sender(consent, {"email": mailer}, public_url=silent.url))


async def advertised(post: Post) -> tuple[str, str, str]:
    """Return a member, its address, and the link of an advertisement it got."""
    ref, email = await post.member(consents=marketing(email=True))
    assert (await post.advertise(ref)).status_code == 202
    await post.send()
    (ad,) = [m for m in post.mail.to(email) if m["Subject"].startswith("(광고)")]
    assert ad["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link, _, by_mail = ad["List-Unsubscribe"].partition(", ")
    assert by_mail == "<mailto:security@tmax.co.kr>"
    assert link.strip("<>") in ad.get_content().splitlines()[-1], "a person can click it too"
    assert ref not in link
    assert email.partition("@")[0] not in link
    return ref, email, link.strip("<>")


async def reception(post: Post, ref: str) -> list[tuple[str, str]]:
    sql = (
        "SELECT party, channel FROM consent WHERE member_ref = $1 AND purpose = 'marketing' AND ended_at IS NULL"
        " ORDER BY 1, 2"
    )
    return [tuple(row) for row in await post.rows(sql, ref)]


async def test_one_click_without_login_withdraws_that_senders_channel_and_tells_the_result(post: Post) -> None:
    ref, email, link = await advertised(post)
    before = await reception(post, ref)
    async with httpx.AsyncClient() as anybody:
        for _ in range(2):
            page = await anybody.get(link)
            assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert '<form method="post">' in page.text
            assert "㈜티맥스오에스의 이메일" in page.text
            assert "default-src 'none'" in page.headers["content-security-policy"]
            assert page.headers["cache-control"] == "no-store"
            assert email not in page.text
        assert (await anybody.head(link)).status_code in {200, 405}
        assert await reception(post, ref) == before, "to look at the page changes nothing"
        post.mail.mails.clear()
        first = await anybody.post(link, **ONE_CLICK)
        assert (first.status_code, "처리되었습니다" in first.text) == (200, True)
        again = await anybody.post(link)
        assert (again.status_code, again.text) == (200, first.text)
        assert "이미 수신하지 않습니다" in (await anybody.get(link)).text
    assert sorted(set(before) - set(await reception(post, ref))) == [("tmax-os", "email")]
    changes = await post.rows("SELECT fact FROM change WHERE member_ref = $1 ORDER BY seq", ref)
    fact = changes[-1]["fact"]
    assert (len(changes), fact["actor"], fact["channel"], fact["change"]) == (2, "member", "email", "consent_changed")
    await post.send()
    (result,) = post.mail.to(email)
    assert result["Subject"] == "[㈜티맥스오에스] 광고성 정보 수신 의사 처리 결과 안내"
    assert "수신 동의 철회" in result.get_content()
    assert result["List-Unsubscribe"] is None, "a result is no advertisement"


async def test_a_link_that_is_not_ours_or_too_old_changes_nothing(post: Post) -> None:
    ref, _, link = await advertised(post)
    before = await reception(post, ref)
    base, _, token = link.rpartition("/")
    async with httpx.AsyncClient() as anybody:
        for wrong in (token[:-1] + ("A" if token[-1] != "A" else "B"), token[::-1], "x", "A" * 120):
            for answer in (await anybody.get(f"{base}/{wrong}"), await anybody.post(f"{base}/{wrong}")):
                assert answer.status_code == 404
                assert "고객센터" in answer.text
        old = OptOut(ref, "tmax-os", "email", utc_now() - timedelta(seconds=1))
        expired = f"{base}/{opt_out.token_of(post.consent.index_key, old)}"
        for answer in (await anybody.get(expired), await anybody.post(expired)):
            assert (answer.status_code, "기한이 지났습니다" in answer.text) == (410, True)
    assert await reception(post, ref) == before


async def test_a_link_of_somebody_who_left_is_answered_and_does_nothing(post: Post) -> None:
    ref, _, link = await advertised(post)
    await post.service.post(f"/v1/members/{ref}/withdrawal")
    await post.service.post(f"/v1/members/{ref}/withdrawal/confirm")
    changes = "SELECT count(*) FROM change WHERE member_ref = $1"
    before = await post.service.pool.fetchval(changes, ref)
    async with httpx.AsyncClient() as anybody:
        assert (await anybody.post(link)).status_code == 200
        assert "이미 수신하지 않습니다" in (await anybody.get(link)).text
    assert await post.service.pool.fetchval(changes, ref) == before
