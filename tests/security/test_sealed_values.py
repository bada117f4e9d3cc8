"""AES-256-GCM wherever it is used (F31): no nonce twice under one key, and nothing opens in another's place."""

import itertools
import os
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from schemas import jwe
from schemas.errors import CodecError
from services.consent import sealing as vault
from services.consent.messages import opt_out
from services.keyring import kek
from services.keyring.kek import FileKek, KekError
from services.propagator.notices.sealing import SealedError, Sealer
from services.retention import sealing as retention
from services.runtime.problem import Problem
from tests.fuzz.targets import NOW, WANTED

pytestmark = pytest.mark.f(31)
KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
A, B = "01a20f2a-a131-762e-ae9c-05d2a679804e", "01a20f2a-a131-762e-ae9c-05d2a6798050"
PLAIN = b"gildong@example.com"


@dataclass(frozen=True)
class Place:
    """One use of the cipher: seal a text for somebody, open it as somebody's."""

    seal: Callable[[bytes, str], Awaitable[bytes]]
    open: Callable[[bytes, bytes, str], Awaitable[bytes]]
    refusal: type[Exception]


def _record(member: str) -> jwe.ProtectedHeader:
    return jwe.ProtectedHeader(f"tmax-os.{member}.1", "dongui.affiliate.tmax-os.v1", member, 3)


async def seal_record(key: bytes, member: str) -> bytes:
    return jwe.encrypt(_record(member), PLAIN, key)


async def open_record(sealed: bytes, key: bytes, member: str) -> bytes:
    """As a reader does who expects this member's record: the header is held against it."""
    token = jwe.parse(sealed)
    plain = token.open(key)
    if token.header.member != member:
        raise CodecError("header_mismatch")
    return plain


async def seal_in_vault(key: bytes, member: str) -> bytes:
    return vault.seal(key, member, "evidence/1", PLAIN)


async def open_in_vault(sealed: bytes, key: bytes, member: str) -> bytes:
    return vault.unseal(key, member, "evidence/1", sealed)


async def seal_secret(key: bytes, recipient: str) -> bytes:
    return Sealer(key).seal(PLAIN, recipient)


async def open_secret(sealed: bytes, key: bytes, recipient: str) -> bytes:
    return Sealer(key).unseal(sealed, recipient)


PLACES = {
    "records on topics": Place(seal_record, open_record, CodecError),
    "things at rest": Place(seal_in_vault, open_in_vault, vault.SealError),
    "endpoints' secrets": Place(seal_secret, open_secret, SealedError),
}


@pytest.mark.parametrize("name", PLACES)
async def test_what_is_sealed_for_one_opens_for_nobody_else(name: str) -> None:
    place = PLACES[name]
    mine, theirs = await place.seal(KEY, A), await place.seal(KEY, B)
    assert await place.open(mine, KEY, A) == PLAIN
    for sealed, key, who in ((theirs, KEY, A), (mine, KEY, B), (mine, OTHER_KEY, A)):
        with pytest.raises(place.refusal):
            await place.open(sealed, key, who)


@pytest.mark.parametrize("name", PLACES)
async def test_no_byte_of_it_can_be_changed(name: str) -> None:
    place = PLACES[name]
    sealed = await place.seal(KEY, A)
    for at in range(len(sealed)):
        for bit in (1, 128):
            changed = sealed[:at] + bytes([sealed[at] ^ bit]) + sealed[at + 1 :]
            with pytest.raises(place.refusal):
                await place.open(changed, KEY, A)
    for cut in (0, 5, 12, 20, len(sealed) - 1):
        with pytest.raises(place.refusal):
            await place.open(sealed[:cut], KEY, A)


async def test_halves_of_two_records_make_no_third() -> None:
    """The header of one with the content of the other, part by part."""
    mine, theirs = await seal_record(KEY, A), await seal_record(KEY, B)
    mixtures = {
        b".".join(parts) for parts in itertools.product(*zip(mine.split(b"."), theirs.split(b"."), strict=True))
    }
    assert len(mixtures) == 16  # four parts differ, the second is empty
    for mixed in mixtures - {mine, theirs}:
        with pytest.raises(CodecError):
            jwe.parse(mixed).open(KEY)


async def test_a_wrapped_key_opens_in_its_own_row_only(tmp_path: Path) -> None:
    kek.generate(tmp_path / "kek")
    assert stat.S_IMODE((tmp_path / "kek").stat().st_mode) == 0o600
    of_file = FileKek(tmp_path / "kek")
    mine, theirs = await of_file.wrap(KEY, A.encode()), await of_file.wrap(OTHER_KEY, B.encode())
    assert await of_file.unwrap(mine, A.encode(), of_file.key_id) == KEY
    for wrapped, row in ((theirs, A), (mine, B)):
        with pytest.raises(KekError):
            await of_file.unwrap(wrapped, row.encode(), of_file.key_id)
    one, other = await retention.seal(of_file, A, {"amount": 1}), await retention.seal(of_file, B, {"amount": 2})
    assert await retention.unseal(of_file, A, one) == {"amount": 1}
    swapped = retention.Sealed(other.content, one.wrapped, one.kek_id)
    for row, sealed in ((A, swapped), (B, one), (A, other)):
        with pytest.raises((retention.ContentError, KekError)):
            await retention.unseal(of_file, row, sealed)


def _noncing(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Let each nonce that is drawn be noted; what is drawn stays what the system gives."""
    drawn: list[bytes] = []
    genuine = os.urandom

    def noted(count: int) -> bytes:
        made = genuine(count)
        if count == 12:
            drawn.append(made)
        return made

    monkeypatch.setattr(os, "urandom", noted)
    return drawn


async def test_every_sealing_draws_a_nonce_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kek.generate(tmp_path / "kek")
    of_file = FileKek(tmp_path / "kek")
    drawn = _noncing(monkeypatch)
    uses: list[Callable[[], Awaitable[Any]]] = [
        lambda: seal_record(KEY, A),
        lambda: seal_in_vault(KEY, A),
        lambda: seal_secret(KEY, A),
        lambda: of_file.wrap(KEY, b"row"),
    ]
    for use in uses:
        before = len(drawn)
        for _ in range(50):
            await use()
        assert len(drawn) - before == 50
    for _ in range(50):
        opt_out.token_of(KEY, WANTED)
    assert len(set(drawn)) == len(drawn) == 250


@pytest.mark.long
def test_a_million_sealings_under_one_key_repeat_no_nonce() -> None:
    """F31 asks for ten million: the chance that one repeats is 6e-16 there and 6e-18 here; it would be a fault."""
    header = _record(A)
    seen = {jwe.encrypt(header, b"x", KEY).split(b".", 3)[2] for _ in range(1_000_000)}
    assert len(seen) == 1_000_000


def test_another_key_opens_no_opt_out() -> None:
    token = opt_out.token_of(KEY, WANTED)
    assert opt_out.opened(KEY, token, NOW) == WANTED
    with pytest.raises(Problem):
        opt_out.opened(OTHER_KEY, token, NOW)
