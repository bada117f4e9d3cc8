"""A real SMTP server for tests (aiosmtpd), which keeps what it takes, or refuses as it is told."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP


@dataclass
class MailServer:
    """`answer` is what the server says to DATA; `mails` are those it took."""

    host: str
    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    answer: str = "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: ARG002, N802
        if self.answer.startswith("2"):
            mail = BytesParser(policy=default).parsebytes(envelope.content)
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
        return self.answer

    @property
    def url(self) -> str:
        return f"smtp://{self.host}:{self.port}"

    def to(self, address: str) -> list[EmailMessage]:
        return [mail for mail in self.mails if mail["To"] == address]


class _Controller(Controller):
    def factory(self) -> SMTP:
        return SMTP(self.handler, hostname="mail.test", enable_SMTPUTF8=True)


@contextlib.contextmanager
def mail_server(
    host: str = "127.0.0.1", *, port: int | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[MailServer]:
    """Serve in a thread of its own until the end of the block."""
    made = MailServer(host, port or free_port(host))
    controller = _Controller(made, hostname=host, port=made.port, ssl_context=tls)
    controller.start()
    try:
        yield made
    finally:
        controller.stop()


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as found:
        found.bind((host, 0))
        return int(found.getsockname()[1])
