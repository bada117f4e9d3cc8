"""AES-GCM is only as good as its nonces: under one key none comes twice, wherever we encrypt."""

import os
from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from schemas import jwe
from schemas.jwe import IV_BYTES, ProtectedHeader
from services.keyring import kek

MEMBER = "7b1b1b9e-0000-4000-8000-000000000001"
HEADER = ProtectedHeader(f"tmax-os.{MEMBER}.1", "dongui.affiliate.tmax-os.v1", MEMBER, 1)


def of_jwe(count: int) -> Iterator[bytes]:
    """The nonces of this many records sealed under one key."""
    key = os.urandom(32)
    for _ in range(count):
        yield jwe.unb64url(jwe.encrypt(HEADER, b"x", key).split(b".")[2])


def all_differ(nonces: Iterable[bytes]) -> bool:
    """Compare the first 64 of each nonce's 96 bits: a tenth of the memory, and equal nonces have equal halves."""
    ordered = sorted(array("Q", (int.from_bytes(nonce[:8]) for nonce in nonces)))
    return all(a != b for a, b in pairwise(ordered))


@pytest.mark.f(31)
def test_no_nonce_of_a_record_comes_twice_under_one_key() -> None:
    nonces = list(of_jwe(20_000))
    assert {len(nonce) for nonce in nonces} == {IV_BYTES}
    assert all_differ(nonces)
    assert not all_differ([*nonces, nonces[7]]), "the comparison finds one that does"


@pytest.mark.f(31)
async def test_no_nonce_of_a_wrapped_key_comes_twice_under_one_kek(tmp_path: Path) -> None:
    kek.generate(tmp_path / "kek")
    one = kek.FileKek(tmp_path / "kek")
    assert all_differ([(await one.wrap(b"k" * 32, b"member"))[:IV_BYTES] for _ in range(20_000)])


@pytest.mark.f(31)
@pytest.mark.long
@pytest.mark.timeout(900)
def test_no_nonce_comes_twice_in_a_million_records() -> None:
    assert all_differ(of_jwe(1_000_000))
