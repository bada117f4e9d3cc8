"""The adapters against real servers: SMTP with and without TLS, an HTTP gateway; what is refused and how."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from services.consent.messages import adapters
from services.consent.messages.adapters import AdapterError, DeliveryError, HttpGateway, Outbound, SmtpMailer
from services.runtime.clock import utc_now
from services.runtime.settings import Settings
from tests.support.mail import MailServer, free_port, mail_server

MESSAGE = Outbound(
    message_id="0192f0c4-7c1e-7000-8000-5f2d9c1e0a11",
    member_ref="6f1c1d0e-1b1a-4c6e-9d3b-0a1b2c3d4e5f",
    medium="email",
    company="㈜티맥스오에스",
    to="m@example.com",
    subject="[㈜티맥스오에스] 안내",
    body="홍길동 님, 안녕하세요.\n\n둘째 줄\n",
    language="ko",
)


def mailer(server: MailServer, **changes: Any) -> SmtpMailer:
    return replace(SmtpMailer(server.host, server.port, "noreply@dongui.test", utc_now), **changes)


async def test_a_mail_arrives_as_it_was_written() -> None:
    with mail_server() as server:
        await mailer(server).send(MESSAGE)
        (mail,) = server.mails
    assert mail["Subject"] == "[㈜티맥스오에스] 안내"
    assert mail["From"] == "㈜티맥스오에스 <noreply@dongui.test>"
    assert mail["To"] == "m@example.com"
    assert mail["Message-ID"] == "<0192f0c4-7c1e-7000-8000-5f2d9c1e0a11@dongui.test>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Unsubscribe"] is None
    assert mail.get_content().replace("\r\n", "\n") == MESSAGE.body


@pytest.mark.parametrize(
    ("answer", "code", "permanent"),
    [("550 no such user", "smtp.550", True), ("451 later", "smtp.451", False), ("552 full", "smtp.552", True)],
)
async def test_a_refusal_is_told_by_its_code_and_never_by_its_text(answer: str, code: str, permanent: bool) -> None:
    with mail_server() as server:
        server.answer = f"{answer} m@example.com"
        with pytest.raises(DeliveryError) as refused:
            await mailer(server).send(MESSAGE)
    assert (refused.value.code, refused.value.permanent) == (code, permanent)
    assert "example" not in str(refused.value)


async def test_a_mail_leaves_this_machine_over_tls_or_not_at_all() -> None:
    """127.0.0.2 is reached like any other host: it is not one of the names of this machine that may be plain."""
    with mail_server("127.0.0.2") as server:
        with pytest.raises(DeliveryError) as refused:
            await mailer(server).send(MESSAGE)
        assert server.mails == []
    assert (refused.value.code, refused.value.permanent) == ("smtp.SMTPNotSupportedError", False)


async def test_implicit_tls_trusts_only_the_right_certificate(tmp_path: Path) -> None:
    ours, authority = _certificate(tmp_path)
    with mail_server(tls=ours) as server:
        with pytest.raises(DeliveryError) as refused:
            await mailer(server, implicit_tls=True).send(MESSAGE)
        assert (refused.value.code, server.mails) == ("smtp.SSLCertVerificationError", [])
        trusting = ssl.create_default_context(cafile=authority)
        await mailer(server, implicit_tls=True, tls=trusting).send(MESSAGE)
        assert len(server.mails) == 1


def _certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return a server context for 127.0.0.1 and the file of the authority that vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


@dataclass
class Gateway:
    """A gateway that answers what it is told, and keeps what came."""

    url: str = ""
    status: int = 202
    taken: list[tuple[dict[str, str], Any]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.taken.append((dict(request.headers), await request.json()))
        return web.Response(status=self.status, headers={"Location": self.url})


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Gateway]:
    made = Gateway()
    app = web.Application()
    app.router.add_post("/send", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/send"
    yield made
    await runner.cleanup()


SMS = replace(MESSAGE, medium="sms", to="010-1234-5678", body="(광고) 글\n")


async def test_the_gateway_gets_one_post_of_json_with_a_key_that_stays(gateway: Gateway) -> None:
    async with httpx.AsyncClient() as client:
        sending = HttpGateway(client, gateway.url, "secret-token")
        await sending.send(SMS)
        await sending.send(replace(SMS, medium="push", to=None))
    (headers, first), (_, second) = gateway.taken
    assert headers["Authorization"] == "Bearer secret-token"
    assert headers["Idempotency-Key"] == SMS.message_id
    assert first == {
        "id": SMS.message_id,
        "medium": "sms",
        "to": "010-1234-5678",
        "member_ref": SMS.member_ref,
        "sender": "㈜티맥스오에스",
        "text": "(광고) 글\n",
    }
    assert (second["medium"], second["to"]) == ("push", None)


@pytest.mark.parametrize(
    ("status", "permanent"),
    [(400, True), (404, True), (302, True), (408, False), (429, False), (500, False), (503, False)],
)
async def test_the_gateways_answer_says_whether_to_try_again(gateway: Gateway, status: int, permanent: bool) -> None:
    gateway.status = status
    async with httpx.AsyncClient() as client:
        with pytest.raises(DeliveryError) as refused:
            await HttpGateway(client, gateway.url).send(SMS)
    assert (refused.value.code, refused.value.permanent) == (f"http.{status}", permanent)
    assert len(gateway.taken) == 1


async def test_a_gateway_that_is_away_is_tried_again() -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(DeliveryError) as refused:
            await HttpGateway(client, f"http://127.0.0.1:{free_port()}/send").send(SMS)
    assert (refused.value.code, refused.value.permanent) == ("http.ConnectError", False)


async def test_the_settings_say_which_media_there_are() -> None:
    async with httpx.AsyncClient() as client:
        assert adapters.from_settings(Settings(), utc_now, client) == {}
        mail = Settings(smtp_url=SecretStr("smtps://u%40x:p%2Fw@mail.example"), smtp_from="noreply@dongui.test")
        found = adapters.from_settings(mail, utc_now, client)["email"]
        assert isinstance(found, SmtpMailer)
        assert (found.host, found.port, found.implicit_tls) == ("mail.example", 465, True)
        assert (found.user, found.password) == ("u@x", "p/w")
        gateway = Settings(message_gateway_url="https://sms.example/send")
        assert set(adapters.from_settings(gateway, utc_now, client)) == {"sms", "push"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"smtp_url": SecretStr("smtp://mail.example")},
        {"smtp_url": SecretStr("http://mail.example"), "smtp_from": "a@b.test"},
        {"smtp_url": SecretStr("smtp://:secret@"), "smtp_from": "a@b.test"},
        {"message_gateway_url": "http://sms.example/send"},
        {"message_gateway_url": "https://"},
    ],
)
async def test_a_setting_that_cannot_be_used_is_named_and_its_value_is_not(wrong: dict[str, Any]) -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(AdapterError, match="DONGUI_") as refused:
            adapters.from_settings(Settings(**wrong), utc_now, client)
    assert "secret" not in str(refused.value)
    assert "example" not in str(refused.value)
