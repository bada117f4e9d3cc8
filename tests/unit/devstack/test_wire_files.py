"""The secret files of a closed broker: made once, private; a certificate is made again when it no longer serves."""

import hashlib
import hmac
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from services.devstack import certificates, kafka_config, scram, wire
from services.devstack.errors import DevstackError
from services.devstack.kafka import Kafka, Node
from services.devstack.kafka_config import Place, Secured
from services.devstack.stack import quiet
from services.runtime.acls import BROKER, SETUP

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)


def at(now: datetime) -> Callable[[], datetime]:
    return lambda: now


def leaf(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def test_a_server_certificate_is_kept_while_it_serves_and_made_again_when_not(tmp_path: Path) -> None:
    authority = certificates.ensure_authority(tmp_path, at(NOW))
    path = tmp_path / "server.pem"

    def made(hosts: list[str], now: datetime) -> bytes:
        return certificates.ensure_server(path, authority, "dongui-broker", hosts, at(now)).read_bytes()

    first = made(["127.0.0.1"], NOW)
    assert leaf(path).not_valid_after_utc == NOW + timedelta(days=397)
    assert made(["127.0.0.1"], NOW + timedelta(days=366)) == first
    renewed = made(["127.0.0.1"], NOW + timedelta(days=368))
    assert renewed != first
    assert made(["kafka"], NOW + timedelta(days=368)) != renewed
    (tmp_path / "other").mkdir()
    other = certificates.ensure_authority(tmp_path / "other", at(NOW))
    second = path.read_bytes()
    assert certificates.ensure_server(path, other, "dongui-broker", ["kafka"], at(NOW)).read_bytes() != second
    assert path.stat().st_mode & 0o077 == 0


def test_the_authority_is_made_once_and_may_sign_servers_only(tmp_path: Path) -> None:
    first = certificates.ensure_authority(tmp_path, at(NOW))
    before = first.certificate.read_bytes(), first.key.read_bytes()
    again = certificates.ensure_authority(tmp_path, at(NOW + timedelta(days=100)))
    assert (again.certificate.read_bytes(), again.key.read_bytes()) == before
    assert first.key.stat().st_mode & 0o077 == 0
    constraints = leaf(first.certificate).extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.value.ca, constraints.value.path_length, constraints.critical) == (True, 0, True)
    context = ssl.create_default_context(cafile=first.certificate)
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED


def test_passwords_are_kept_and_only_missing_ones_are_made(tmp_path: Path) -> None:
    first = wire.ensure(tmp_path / "secrets", ["audit"], ["127.0.0.1"], at(NOW))
    second = wire.ensure(tmp_path / "secrets", ["audit", "consent"], ["127.0.0.1"], at(NOW))
    assert first.passwords.keys() == {BROKER, SETUP, "audit"}
    assert second.passwords.keys() == {BROKER, SETUP, "audit", "consent"}
    assert {who: second.passwords[who] for who in first.passwords} == first.passwords
    assert len(set(second.passwords.values())) == 4
    assert json.loads(second.passwords_file.read_bytes()) == second.passwords
    for who, password in second.passwords.items():
        assert second.password_file(who).read_text() == password
        assert second.password_file(who).stat().st_mode & 0o077 == 0
    told = second.variables("audit")
    assert second.passwords["audit"] not in " ".join(told.values()), "a process is told of a file, never of a password"


def hi(password: bytes, salt: bytes, iterations: int) -> bytes:
    """Hi() of RFC 5802, written out."""
    last = found = hmac.digest(password, salt + b"\x00\x00\x00\x01", "sha512")
    for _ in range(iterations - 1):
        last = hmac.digest(password, last, "sha512")
        found = bytes(a ^ b for a, b in zip(found, last, strict=True))
    return found


def test_what_the_broker_is_sent_is_the_salted_password_of_rfc_5802() -> None:
    name, mechanism, iterations, salt, salted, _ = scram.credential("audit", "pencil")
    assert (name, mechanism) == ("audit", 2)
    assert salted == hi(b"pencil", salt, iterations)
    assert b"pencil" not in salted
    assert scram.credential("audit", "pencil")[3] != salt
    assert 4096 <= iterations <= 16384, "what Kafka accepts"
    assert len(salt) >= hashlib.sha256().digest_size // 2


def test_a_closed_broker_has_no_listener_without_tls_and_denies_by_default() -> None:
    place = Place(1, "127.0.0.1", "127.0.0.1", 1, 2, "1@127.0.0.1:2", 1, Path("data"))
    found = kafka_config.properties(place, Secured(Path("c"), Path("a"), "secret"))
    protocols = dict(pair.split(":") for pair in str(found["listener.security.protocol.map"]).split(","))
    assert set(protocols.values()) == {"SASL_SSL", "SSL"}
    assert found["listener.name.controller.ssl.client.auth"] == "required"
    assert found["sasl.enabled.mechanisms"] == "SCRAM-SHA-512"
    assert found["allow.everyone.if.no.acl.found"] == "false"
    assert found["authorizer.class.name"] == "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
    assert "ANONYMOUS" not in str(found["super.users"])
    assert "SSL" not in kafka_config.lines(kafka_config.properties(place, None))


@pytest.mark.parametrize("first_secure", [True, False])
def test_the_data_of_one_kind_of_broker_is_not_opened_as_the_other(tmp_path: Path, first_secure: bool) -> None:
    made = wire.ensure(tmp_path / "secrets", [], ["127.0.0.1"], at(NOW))

    def kafka(secure: bool) -> Kafka:
        return Kafka(tmp_path, cache=tmp_path, nodes=[Node(1, 1, 2)], say=quiet, wire=made if secure else None)

    kafka(first_secure)._require_same_kind()
    (tmp_path / "kafka" / "node-1").mkdir()
    kafka(first_secure)._require_same_kind()
    with pytest.raises(DevstackError, match="dongui dev reset"):
        kafka(not first_secure)._require_same_kind()


def test_data_from_before_there_were_two_kinds_is_plain(tmp_path: Path) -> None:
    (tmp_path / "kafka" / "node-1").mkdir(parents=True)
    plain = Kafka(tmp_path, cache=tmp_path, nodes=[Node(1, 1, 2)], say=quiet)
    plain._require_same_kind()
    made = wire.ensure(tmp_path / "secrets", [], ["127.0.0.1"], at(NOW))
    with pytest.raises(DevstackError, match="plain Kafka"):
        Kafka(tmp_path, cache=tmp_path, nodes=[Node(1, 1, 2)], say=quiet, wire=made)._require_same_kind()
