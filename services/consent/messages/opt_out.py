"""The link that refuses advertising in one click, without login (Network Act 50(5), RFC 8058).

Its token is sealed and authenticated (AES-256-GCM): whose link it is, for which sender and channel, until when. Nobody
can read it, make one up or change it, and the tag is compared in constant time. No table: a token says all there is.
"""

import os
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.base import Channel
from services.consent import agreed, model
from services.consent.handlers import Caller, Consent, change_within
from services.consent.model import ConsentRef, Member, Step
from services.consent.store import SQL
from services.keyring import derive
from services.policy.marketing import advertising
from services.runtime.problem import Problem

PATH: Final = "/v1/opt-outs/"
NONCE_BYTES: Final = 12
BOUND: Final = b"dongui/opt-out"
ReceptionChannel = Literal["email", "sms"]
VIA: Final[dict[str, Channel]] = {"email": "email", "sms": "web"}


@dataclass(frozen=True)
class OptOut:
    """Which consent a link takes back, and until when it may."""

    member_ref: str
    sender: str
    channel: ReceptionChannel
    expires_at: datetime


class _AlreadyOffError(Exception):
    """There is nothing to take back: nothing is written."""


def link(index_key: bytes, base_url: str, member_ref: str, sender: str, medium: str, now: datetime) -> str | None:
    """Return the link for one advertisement; None for a medium that nobody can have consented to."""
    found = advertising()
    channel = found.media[medium].consent if medium in found.media else None
    if channel is None:
        return None
    wanted = OptOut(member_ref, sender, channel, now + timedelta(found.opt_out_days))
    return f"{base_url.rstrip('/')}{PATH}{token_of(index_key, wanted)}"


def token_of(index_key: bytes, wanted: OptOut) -> str:
    """Return a fresh token: no two are alike, and none says anything to anybody else."""
    expires = int(wanted.expires_at.timestamp())
    plain = (
        uuid.UUID(wanted.member_ref).bytes + expires.to_bytes(8, "big") + f"{wanted.channel}/{wanted.sender}".encode()
    )
    nonce = os.urandom(NONCE_BYTES)
    sealed = nonce + AESGCM(derive.opt_out_key(index_key)).encrypt(nonce, plain, BOUND)
    return urlsafe_b64encode(sealed).rstrip(b"=").decode()


def opened(index_key: bytes, token: str, now: datetime) -> OptOut:
    """Return what a token stands for. Raises Problem 404 for one that is not ours, 410 for one that has expired."""
    try:
        sealed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        plain = AESGCM(derive.opt_out_key(index_key)).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], BOUND)
    except (Base64Error, InvalidTag, ValueError):
        raise _unknown() from None
    channel, _, sender = plain[24:].decode().partition("/")
    expires_at = datetime.fromtimestamp(int.from_bytes(plain[16:24], "big"), UTC)
    if now >= expires_at:
        raise _expired()
    return OptOut(str(uuid.UUID(bytes=plain[:16])), sender, "sms" if channel == "sms" else "email", expires_at)


async def take_back(consent: Consent, wanted: OptOut) -> bool:
    """Withdraw this channel's consent, with the result notice that follows; False when it stood no more.

    A repetition changes nothing and tells nobody again. Raises Problem 404 for a member who is not there.
    """
    at = consent.clock()
    version = agreed.notice(consent.rules, consent.rules.current_notice(at), at, giving=False)
    caller = Caller("opt-out", "member", VIA[wanted.channel])

    def step(member: Member) -> Step:
        if ConsentRef("marketing", wanted.sender, wanted.channel) not in member.consents:
            raise _AlreadyOffError
        return model.change_marketing(member, False, frozenset({wanted.sender}), wanted.channel)

    try:
        async with consent.pool.acquire() as connection, connection.transaction():
            await change_within(consent, connection, wanted.member_ref, step, caller, version=version)
    except _AlreadyOffError:
        return False
    consent.nudge()
    return True


async def standing(consent: Consent, wanted: OptOut) -> bool:
    """Say whether the consent that a link would take back stands; changes nothing."""
    asked = (wanted.member_ref, wanted.sender, wanted.channel)
    found: bool = await consent.pool.fetchval(SQL["message_reception_stands"], *asked)
    return found


def _unknown() -> Problem:
    return Problem(
        404,
        "opt_out_unknown",
        "알 수 없는 수신거부 링크입니다. 회원 정보의 수신 설정이나 고객센터로 알려 주세요.",
        "This link is not known. Use your account's settings, or tell us.",
    )


def _expired() -> Problem:
    return Problem(
        410,
        "opt_out_expired",
        "수신거부 링크의 기한이 지났습니다. 회원 정보의 수신 설정이나 고객센터로 알려 주세요.",
        "This link has expired. Use your account's settings, or tell us.",
    )
