"""The outside world of messages: a mail server by SMTP, an SMS and push gateway by HTTP. Both send one, or say why not.

No error text of a server is kept: it often repeats the address.
"""

import asyncio
import smtplib
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import httpx

from services.policy.messages import Medium
from services.runtime.clock import Clock
from services.runtime.settings import Settings

TIMEOUT_S: Final = 20.0
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
MAIL_PORTS: Final = {"smtp": 25, "smtps": 465}


class AdapterError(ValueError):
    """A setting of an adapter cannot be used; the text names the setting, never its value."""


class DeliveryError(Exception):
    """A message was not taken. `code` is coded; `permanent`: no repetition mends it."""

    def __init__(self, code: str, *, permanent: bool) -> None:
        super().__init__(code)
        self.code = code
        self.permanent = permanent


@dataclass(frozen=True)
class Outbound:
    """One message on its way. `to` is None where the gateway knows the member's devices by the reference."""

    message_id: str
    member_ref: str
    medium: Medium
    company: str
    to: str | None
    subject: str
    body: str
    language: str
    unsubscribe: str | None = None
    opt_out: str | None = None
    """The link that refuses in one click, without login"""


class Adapter(Protocol):
    """Sends through one medium. Raises DeliveryError; the same `message_id` may come twice (at least once)."""

    async def send(self, message: Outbound) -> None: ...


@dataclass(frozen=True)
class SmtpMailer:
    """Mail by the standard library's client in a thread. TLS always, except to this very machine."""

    host: str
    port: int
    sender: str
    clock: Clock
    implicit_tls: bool = False
    user: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None

    async def send(self, message: Outbound) -> None:
        """Hand one mail to the server. Raises DeliveryError: 4yz and a server that is away may be tried again."""
        try:
            await asyncio.to_thread(self._deliver, mail_of(message, self.sender, self.clock))
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise _refused(min(codes, default=0)) from None
        except smtplib.SMTPResponseException as error:
            raise _refused(error.smtp_code) from None
        except (smtplib.SMTPException, OSError) as error:
            raise DeliveryError(f"smtp.{type(error).__name__}", permanent=False) from None

    def _deliver(self, mail: EmailMessage) -> None:
        context = self.tls or ssl.create_default_context()
        if self.implicit_tls:
            client: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT_S, context=context)
        else:
            client = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_S)
        try:
            if not self.implicit_tls and self.host not in LOOPBACK:
                client.starttls(context=context)
            if self.user is not None:
                client.login(self.user, self.password or "")
            client.send_message(mail)
        finally:
            with suppress(smtplib.SMTPException, OSError):
                client.quit()


def _refused(code: int) -> DeliveryError:
    return DeliveryError(f"smtp.{code}", permanent=500 <= code < 600)


class _Policy(EmailPolicy):
    """Headers as ever, but a link goes out in one piece: folding would encode a long one, and no reader decodes it."""

    def fold(self, name: str, value: str) -> str:
        """Return the header's lines."""
        return f"{name}: {value}{self.linesep}" if name == "List-Unsubscribe" else str(super().fold(name, value))

    def fold_binary(self, name: str, value: str) -> bytes:
        """Return the header's lines as bytes."""
        return self.fold(name, value).encode() if name == "List-Unsubscribe" else super().fold_binary(name, value)


def mail_of(message: Outbound, sender: str, clock: Clock) -> EmailMessage:
    """Return the mail: the company in From, a Message-ID that stays the same when it is sent again."""
    mailbox, _, domain = sender.rpartition("@")
    mail = EmailMessage(policy=_Policy())
    mail["Subject"] = message.subject
    mail["From"] = Address(message.company, mailbox, domain)
    mail["To"] = Address(addr_spec=message.to or "")
    mail["Date"] = format_datetime(clock())
    mail["Message-ID"] = f"<{message.message_id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["Content-Language"] = message.language
    for name, value in _unsubscribe(message):
        mail[name] = value
    mail.set_content(message.body, cte="base64")
    return mail


def _unsubscribe(message: Outbound) -> Iterator[tuple[str, str]]:
    """RFC 2369, and RFC 8058 where one click is enough: the mail program posts to the link by itself."""
    if message.unsubscribe is None:
        return
    by_mail = f"<mailto:{message.unsubscribe}>"
    yield "List-Unsubscribe", f"<{message.opt_out}>, {by_mail}" if message.opt_out else by_mail
    if message.opt_out:
        yield "List-Unsubscribe-Post", "List-Unsubscribe=One-Click"


@dataclass(frozen=True)
class HttpGateway:
    """SMS and push by one POST of JSON: `{"id","medium","to","member_ref","sender","text"}`, 2xx when taken.

    `Idempotency-Key` is the message's id, the same when it is sent again. 408, 425, 429 and 5xx may be tried again.
    """

    client: httpx.AsyncClient
    url: str
    token: str | None = None

    async def send(self, message: Outbound) -> None:
        """Hand one message to the gateway. Raises DeliveryError."""
        headers = {"Idempotency-Key": message.message_id}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            answer = await self.client.post(self.url, json=_json(message), headers=headers, timeout=TIMEOUT_S)
        except httpx.HTTPError as error:
            raise DeliveryError(f"http.{type(error).__name__}", permanent=False) from None
        if not answer.is_success:
            code = answer.status_code
            raise DeliveryError(f"http.{code}", permanent=code < 500 and code not in {408, 425, 429})


def _json(message: Outbound) -> dict[str, str | None]:
    return {
        "id": message.message_id,
        "medium": message.medium,
        "to": message.to,
        "member_ref": message.member_ref,
        "sender": message.company,
        "text": message.body,
    }


def from_settings(settings: Settings, clock: Clock, client: httpx.AsyncClient) -> Mapping[Medium, Adapter]:
    """Return the adapters that are set up. Raises AdapterError for a setting that cannot be used."""
    found: dict[Medium, Adapter] = {}
    if settings.smtp_url is not None:
        found["email"] = _mailer(settings.smtp_url.get_secret_value(), settings.smtp_from, clock)
    if settings.message_gateway_url is not None:
        token = settings.message_gateway_token
        secret = token.get_secret_value() if token is not None else None
        gateway = HttpGateway(client, _secure(settings.message_gateway_url), secret)
        found |= {"sms": gateway, "push": gateway}
    return found


def _mailer(url: str, sender: str | None, clock: Clock) -> SmtpMailer:
    if sender is None or "@" not in sender:
        raise AdapterError("DONGUI_SMTP_FROM must be an address when DONGUI_SMTP_URL is set")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in MAIL_PORTS:
        raise AdapterError("DONGUI_SMTP_URL must be smtp://host or smtps://host")
    user, password = (unquote(part) if part else None for part in (parts.username, parts.password))
    implicit = parts.scheme == "smtps"
    return SmtpMailer(host, port or MAIL_PORTS[parts.scheme], sender, clock, implicit, user, password)


def public_url(settings: Settings) -> str | None:
    """Return where members reach this service, for refusal links. Raises AdapterError unless it is https."""
    return _secure(settings.public_url, "DONGUI_PUBLIC_URL") if settings.public_url is not None else None


def _secure(url: str, name: str = "DONGUI_MESSAGE_GATEWAY_URL") -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)):
        raise AdapterError(f"{name} must be https")
    return url
