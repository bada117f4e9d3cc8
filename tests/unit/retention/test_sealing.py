"""Content at rest: bound to its record, silent without its own key; the mark by which a party is found."""

from dataclasses import replace
from pathlib import Path

import pytest

from services.keyring.kek import FileKek, KekError, generate
from services.retention import sealing
from services.retention.sealing import ContentError

RECORD = "01a20f2a-a131-762e-ae9c-05d2a679804e"
OTHER = "01a20f2a-a131-762e-ae9c-05d2a6798050"
CONTENT = {"party": {"name": "홍길동"}, "fields": {"amount": "12000"}}


@pytest.fixture
def kek(tmp_path: Path) -> FileKek:
    generate(tmp_path / "kek")
    return FileKek(tmp_path / "kek")


async def test_a_content_comes_back_under_its_own_record_only(kek: FileKek) -> None:
    sealed = await sealing.seal(kek, RECORD, CONTENT)
    assert "홍길동".encode() not in sealed.content + sealed.wrapped
    assert await sealing.unseal(kek, RECORD, sealed) == CONTENT
    with pytest.raises(KekError):
        await sealing.unseal(kek, OTHER, sealed)


async def test_no_two_records_share_a_key(kek: FileKek) -> None:
    first, second = [await sealing.seal(kek, RECORD, CONTENT) for _ in range(2)]
    with pytest.raises(ContentError):
        await sealing.unseal(kek, RECORD, replace(first, wrapped=second.wrapped))
    with pytest.raises(ContentError):
        await sealing.unseal(kek, RECORD, replace(first, content=first.content[:-1] + b"\x00"))


def test_one_mailbox_has_one_mark_under_one_key() -> None:
    marks = {sealing.email_mac(b"k" * 32, text) for text in ("Hong@Example.com", " hong@example.com ")}
    assert len(marks) == 1
    assert sealing.email_mac(b"j" * 32, "hong@example.com") not in marks
