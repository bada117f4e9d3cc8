"""What is sealed opens with the same key, member and label, and with nothing else."""

import uuid

import pytest

from services.consent import sealing

KEY, OTHER_KEY = bytes(32), bytes([1]) * 32
REF, OTHER_REF = (str(uuid.UUID(int=n)) for n in (1, 2))


def test_what_is_sealed_opens_again_and_shows_nothing_meanwhile() -> None:
    sealed = sealing.seal(KEY, REF, "a", "홍길동".encode())
    assert "홍길동".encode() not in sealed
    assert sealing.unseal(KEY, REF, "a", sealed).decode() == "홍길동"
    assert sealing.seal(KEY, REF, "a", "홍길동".encode()) != sealed, "a fresh iv each time"


@pytest.mark.f(31)
@pytest.mark.parametrize(
    ("key", "ref", "label"), [(OTHER_KEY, REF, "a"), (KEY, OTHER_REF, "a"), (KEY, REF, "b"), (KEY, REF, "")]
)
def test_another_key_member_or_label_opens_nothing(key: bytes, ref: str, label: str) -> None:
    sealed = sealing.seal(KEY, REF, "a", b"x")
    with pytest.raises(sealing.SealError):
        sealing.unseal(key, ref, label, sealed)


@pytest.mark.parametrize("broken", [b"", b"short", bytes(40)])
def test_what_was_never_sealed_does_not_open(broken: bytes) -> None:
    with pytest.raises(sealing.SealError):
        sealing.unseal(KEY, REF, "a", broken)
