"""One contract for every KEK provider: a file, a Vault (a server with its HTTP API), a rotation between two."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.keyring import kek
from services.keyring.kek import FileKek, KekError, KekProvider, Keks, KekUnavailableError
from services.keyring.vault import VaultTransitKek, open_vault
from tests.support import vault as fake
from tests.support.vault import Vault, running, token_file

KEY, AAD = bytes(range(32)), b"01a20f2a-a131-762e-ae9c-05d2a679804e"
OTHER_AAD = b"01a20f2a-a131-762e-ae9c-05d2a679804f"


@dataclass
class Made:
    """A provider, how to get one that wraps by the next key and opens both, and an unrelated one."""

    one: KekProvider
    rotated: Callable[[], Any]
    stranger: KekProvider


@pytest_asyncio.fixture(params=["file", "vault", "into-vault"])
async def made(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Made]:
    for name in ("one", "two", "three"):
        kek.generate(tmp_path / name)
    one, two = FileKek(tmp_path / "one"), FileKek(tmp_path / "two")
    async with AsyncExitStack() as stack, running(Vault()) as server:
        server.keys["stranger"] = fake.TransitKey()

        async def opened(key: str = "dongui") -> VaultTransitKek:
            wanted = open_vault(server.url, mount="transit", key=key, token_file=token_file(tmp_path))
            return await stack.enter_async_context(wanted)

        async def file_rotated() -> KekProvider:
            return Keks(two, [one])

        async def vault_rotated() -> KekProvider:
            server.keys["dongui"].rotate()
            return await opened()

        async def moved() -> KekProvider:
            return Keks(await opened(), [one])

        yield {
            "file": Made(one, file_rotated, FileKek(tmp_path / "three")),
            "vault": Made(await opened(), vault_rotated, await opened("stranger")),
            "into-vault": Made(one, moved, await opened("stranger")),
        }[request.param]


async def test_what_is_wrapped_opens_again_and_never_looks_the_same(made: Made) -> None:
    wrapped = await made.one.wrap(KEY, AAD)
    assert KEY not in wrapped
    assert 32 <= len(wrapped) <= 1024, "what the table takes"
    assert await made.one.unwrap(wrapped, AAD, made.one.key_id) == KEY
    assert wrapped != await made.one.wrap(KEY, AAD)


@pytest.mark.f(31)
async def test_a_wrapped_key_opens_for_its_member_only_and_unaltered(made: Made) -> None:
    wrapped = await made.one.wrap(KEY, AAD)
    altered = wrapped[:-6] + (b"AAAAAA" if wrapped[-6:] != b"AAAAAA" else b"BBBBBB")
    for broken, aad in ((wrapped, OTHER_AAD), (altered, AAD), (wrapped[:20], AAD), (b"", AAD)):
        with pytest.raises(KekError, match="kek_mismatch"):
            await made.one.unwrap(broken, aad, made.one.key_id)


async def test_another_keks_key_is_told_by_its_name(made: Made) -> None:
    wrapped = await made.one.wrap(KEY, AAD)
    assert made.one.key_id != made.stranger.key_id
    with pytest.raises(KekError, match="kek_other"):
        await made.stranger.unwrap(wrapped, AAD, made.one.key_id)


async def test_after_a_rotation_old_and_new_open_and_the_new_one_wraps(made: Made) -> None:
    old = await made.one.wrap(KEY, AAD)
    after = await made.rotated()
    assert after.key_id != made.one.key_id
    assert await after.unwrap(old, AAD, made.one.key_id) == KEY
    new = await after.wrap(KEY, AAD)
    assert await after.unwrap(new, AAD, after.key_id) == KEY


async def test_rewrapping_moves_a_key_under_the_new_kek(made: Made) -> None:
    old = await made.one.wrap(KEY, AAD)
    after = await made.rotated()
    new = await after.rewrap(old, AAD, made.one.key_id)
    assert await after.unwrap(new, AAD, after.key_id) == KEY
    again = await after.rewrap(new, AAD, after.key_id)
    assert await after.unwrap(again, AAD, after.key_id) == KEY
    with pytest.raises(KekError, match="kek_mismatch"):
        await after.rewrap(old, OTHER_AAD, made.one.key_id)


async def test_no_error_says_anything_of_the_key_or_the_member(made: Made) -> None:
    wrapped = await made.one.wrap(KEY, AAD)
    with pytest.raises(KekError) as error:
        await made.one.unwrap(wrapped, OTHER_AAD, made.one.key_id)
    assert str(error.value) == error.value.code == "kek_mismatch"


# What only a key service on the network has.


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Vault]:
    async with running(Vault()) as found:
        yield found


def opened(server: Vault, folder: Path, **changes: Any) -> Any:
    wanted = {"mount": "transit", "key": "dongui", "token_file": token_file(folder)} | changes
    return open_vault(server.url, **wanted)


async def test_vault_rewraps_without_showing_the_key(server: Vault, tmp_path: Path) -> None:
    async with opened(server, tmp_path) as before:
        old = await before.wrap(KEY, AAD)
    server.keys["dongui"].rotate()
    async with opened(server, tmp_path) as after:
        assert (before.key_id, after.key_id) == ("vault:transit/dongui:v1", "vault:transit/dongui:v2")
        server.requests.clear()
        new = await after.rewrap(old, AAD, before.key_id)
    assert (old[:9], new[:9]) == (b"vault:v1:", b"vault:v2:")
    assert server.requests == ["/v1/transit/rewrap/dongui"]


async def test_a_process_that_was_not_restarted_wraps_by_the_version_it_names(server: Vault, tmp_path: Path) -> None:
    async with opened(server, tmp_path) as one:
        server.keys["dongui"].rotate()
        assert (await one.wrap(KEY, AAD)).startswith(b"vault:v1:")
        assert one.key_id.endswith(":v1")


async def test_a_version_that_vault_has_retired_does_not_open(server: Vault, tmp_path: Path) -> None:
    async with opened(server, tmp_path) as one:
        wrapped = await one.wrap(KEY, AAD)
        server.keys["dongui"].rotate()
        server.keys["dongui"].min_decryption_version = 2
        with pytest.raises(KekError, match="kek_mismatch"):
            await one.unwrap(wrapped, AAD, one.key_id)


async def test_a_key_that_would_not_bind_is_refused_at_the_start(server: Vault, tmp_path: Path) -> None:
    """Vault ignores the context of a key that is not derived: every member's key would open for every other."""
    server.keys["flat"] = fake.TransitKey(derived=False)
    server.keys["signing"] = fake.TransitKey(kind="ed25519")
    for name in ("flat", "signing", "absent"):
        with pytest.raises(KekError, match="kek_setup"):
            async with opened(server, tmp_path, key=name):
                pass


async def test_a_sealed_vault_or_a_refused_token_is_a_server_that_is_away(server: Vault, tmp_path: Path) -> None:
    async with opened(server, tmp_path) as one:
        wrapped = await one.wrap(KEY, AAD)
        server.sealed = True
        with pytest.raises(KekUnavailableError, match="kek_unreachable"):
            await one.unwrap(wrapped, AAD, one.key_id)
        server.sealed, server.token = False, "s.another"
        with pytest.raises(KekUnavailableError, match="kek_forbidden"):
            await one.wrap(KEY, AAD)
        token_file(tmp_path, "s.another")
        assert await one.unwrap(wrapped, AAD, one.key_id) == KEY, "a renewed token is read without a restart"


@pytest.mark.f(33)
async def test_a_vault_that_does_not_answer_is_away(server: Vault, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with running(Vault()) as second:
            one = await stack.enter_async_context(opened(second, tmp_path))
        with pytest.raises(KekUnavailableError, match="kek_unreachable") as error:
            await one.wrap(KEY, AAD)
    assert isinstance(error.value, OSError)


async def test_a_vault_that_hangs_is_given_up_after_the_time_out(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("services.keyring.vault.TIMEOUT_S", 0.2)
    held: list[asyncio.StreamWriter] = []
    mute = await asyncio.start_server(lambda _reader, writer: held.append(writer), "127.0.0.1", 0)
    port = mute.sockets[0].getsockname()[1]
    with pytest.raises(KekUnavailableError, match="kek_unreachable"):
        async with opened(Vault(url=f"http://127.0.0.1:{port}"), tmp_path):
            pass
    for writer in held:
        writer.close()
    mute.close()
    await mute.wait_closed()


async def test_a_token_that_others_may_read_is_refused(server: Vault, tmp_path: Path) -> None:
    path = token_file(tmp_path)
    path.chmod(0o644)
    with pytest.raises(KekError, match="kek_exposed"):
        async with open_vault(server.url, mount="transit", key="dongui", token_file=path):
            pass


@pytest.mark.parametrize(
    "url", ["http://vault.example.kr:8200", "ftp://127.0.0.1", "127.0.0.1:8200", "http://10.0.0.1"]
)
async def test_without_tls_only_this_machine_is_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(KekError, match="kek_setup"):
        async with open_vault(url, mount="transit", key="dongui", token_file=token_file(tmp_path)):
            pass


async def test_tls_is_verified_by_the_authority_that_is_named(tmp_path: Path) -> None:
    certificate, tls = _tls(tmp_path)
    async with running(Vault(), tls=tls) as server:
        async with opened(server, tmp_path, ca_file=certificate) as one:
            wrapped = await one.wrap(KEY, AAD)
            assert await one.unwrap(wrapped, AAD, one.key_id) == KEY
        with pytest.raises(KekUnavailableError, match="kek_unreachable"):
            async with opened(server, tmp_path):
                pass


def _tls(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return a self-signed certificate for 127.0.0.1 and the server's side of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vault")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "vault.pem", folder / "vault.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    formats = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, *formats))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem, private)
    return pem, tls
