"""The published key of the log: written once, and not again where it stands already."""

from pathlib import Path
from typing import Any

import pytest

from services.audit import notary
from services.audit.notary import VKEY_FILE, Notary
from services.runtime.clock import utc_now


def test_a_key_that_stands_there_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by chaos: on a full disk the audit process ended at its start over a file that was right."""
    pool: Any = None
    first = Notary(pool, bytes(32), tmp_path, utc_now)
    first.publish_key()
    written = next(tmp_path.rglob(VKEY_FILE)).read_text(encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(notary, "write_whole", full)
    Notary(pool, bytes(32), tmp_path, utc_now).publish_key()
    assert written == first.verifier.vkey() + "\n"
    with pytest.raises(OSError):  # noqa: PT011 - any: another key must be written
        Notary(pool, bytes([1]) * 32, tmp_path, utc_now).publish_key()
