"""Our own certificate authority and the server certificates it signs, as PEM that Kafka and PostgreSQL read as it is.

The authority is made once; a server's certificate is made again at a start when it is old or for other names.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.devstack.keyfiles import write_private
from services.runtime.clock import Clock

AUTHORITY_DAYS, SERVER_DAYS, RENEW_DAYS = 3650, 397, 30
PATIENCE = timedelta(minutes=5)
"""Certificates begin to hold a little before they are made: clocks differ."""


@dataclass(frozen=True)
class Authority:
    """Where the authority is: what everybody may read, and the key that signs (0600)."""

    certificate: Path
    key: Path


def ensure_authority(folder: Path, clock: Clock) -> Authority:
    """Return the authority below a folder of secrets, made when it is missing."""
    found = Authority(folder / "ca.pem", folder / "ca.key")
    if not found.key.exists() or not found.certificate.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = _named("Dongui own authority")
        made = _begun(name, name, key, clock, AUTHORITY_DAYS)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        made = made.add_extension(_key_usage(signs=True), critical=True)
        write_private(found.key, _pem(key))
        write_private(found.certificate, made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return found


def ensure_server(path: Path, authority: Authority, name: str, hosts: Sequence[str], clock: Clock) -> Path:
    """Return a PEM file (0600) with a server's key and its chain, for these names and addresses."""
    if not _serves(path, authority, hosts, clock):
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
        made = _begun(_named(name), issuer.subject, key, clock, SERVER_DAYS)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        made = made.add_extension(_key_usage(signs=False), critical=True)
        made = made.add_extension(_authority_of(issuer), critical=False)
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]  # brokers call each other, too
        made = made.add_extension(x509.ExtendedKeyUsage(both), critical=False)
        made = made.add_extension(x509.SubjectAlternativeName([_alternative(h) for h in hosts]), critical=False)
        signer = load_pem_private_key(authority.key.read_bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        signed = made.sign(signer, hashes.SHA256())
        write_private(path, _pem(key) + b"".join(c.public_bytes(Encoding.PEM) for c in (signed, issuer)))
    return path


def _serves(path: Path, authority: Authority, hosts: Sequence[str], clock: Clock) -> bool:
    """Say whether a file holds a certificate of this authority, for these hosts, that is good for a while yet."""
    if not path.exists():
        return False
    held, *_ = x509.load_pem_x509_certificates(path.read_bytes())
    issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    names = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    fresh = held.not_valid_after_utc - clock() > timedelta(days=RENEW_DAYS)
    same = held.issuer == issuer.subject and list(names) == [_alternative(h) for h in hosts]
    return fresh and same and _signed_by(held, issuer)


def _signed_by(held: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        held.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 - whatever is wrong with it (the library raises several), it is made again
        return False
    return True


def _begun(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, clock: Clock, days: int
) -> x509.CertificateBuilder:
    now = clock()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - PATIENCE)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority_of(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    held = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(held)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
