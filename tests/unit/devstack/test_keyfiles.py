"""Secrets are made once, whole, for their owner only, and never written over."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.devstack import keyfiles
from services.devstack.tokens import Issuer
from services.runtime.auth import Authenticator, AuthError
from services.runtime.clock import utc_now
from services.runtime.settings import Settings


def settings_of(folder: Path) -> Settings:
    return Settings(jwks_file=keyfiles.ensure(folder).jwks)


def issuer_of(folder: Path, at: datetime | None = None) -> Issuer:
    settings = settings_of(folder)
    clock = utc_now if at is None else lambda: at
    return Issuer(keyfiles.ensure(folder).issuer_key, settings.issuer, settings.audience, clock)


def test_every_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    keyfiles.ensure(tmp_path / "secrets")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "secrets").iterdir()}
    assert len(modes) == 16
    assert set(modes.values()) == {0o600}
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


def test_a_second_call_changes_no_file(tmp_path: Path) -> None:
    keyfiles.ensure(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    keyfiles.ensure(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_existing_file_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "kek"
    assert keyfiles.write_once(path, b"first") is True
    assert keyfiles.write_once(path, b"second") is False
    assert path.read_bytes() == b"first"
    assert [p.name for p in tmp_path.iterdir()] == ["kek"]


def test_the_published_keys_hold_no_private_part(tmp_path: Path) -> None:
    assert '"d"' not in keyfiles.ensure(tmp_path).jwks.read_text()


async def test_the_services_accept_the_dev_issuers_tokens(tmp_path: Path) -> None:
    token = issuer_of(tmp_path).token("demo-partner", "third_party")
    principal = await Authenticator.from_settings(settings_of(tmp_path)).principal(f"Bearer {token}")
    assert (principal.sub, principal.roles) == ("demo-partner", frozenset({"third_party"}))


@pytest.mark.parametrize("role", ["affiliate", "service", "member"])
async def test_the_consoles_key_speaks_for_people_and_for_nobody_else(tmp_path: Path, role: str) -> None:
    settings, key = settings_of(tmp_path), keyfiles.ensure(tmp_path).console_key
    authenticator = Authenticator.from_settings(settings)
    desk = Issuer(key, settings.issuer, settings.audience, utc_now).token("tmax-os", "affiliate_desk")
    assert (await authenticator.principal(f"Bearer {desk}")).roles == frozenset({"affiliate_desk"})
    forged = Issuer(key, settings.issuer, settings.audience, utc_now).token("tmax-os", role)
    with pytest.raises(AuthError, match="token_invalid"):
        await authenticator.principal(f"Bearer {forged}")


async def test_an_expired_token_and_another_issuers_are_refused(tmp_path: Path) -> None:
    authenticator = Authenticator.from_settings(settings_of(tmp_path / "ours"))
    long_ago = datetime.now(UTC) - timedelta(days=400)
    for issuer in (issuer_of(tmp_path / "ours", long_ago), issuer_of(tmp_path / "theirs")):
        with pytest.raises(AuthError, match="token_invalid"):
            await authenticator.principal(f"Bearer {issuer.token('x', 'service')}")
