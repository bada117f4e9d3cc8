"""The secret files of a broker that is closed to strangers: authority, certificate, one password per principal.

Made once; the certificate anew when it is old. What a process is told of them are file names, never a password.
"""

import secrets
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from services.devstack import certificates
from services.devstack.kafka_config import BROKER_CERTIFICATE, Secured
from services.devstack.keyfiles import write_private
from services.runtime.acls import BROKER, SETUP
from services.runtime.clock import Clock

PASSWORD_BYTES = 24


@dataclass(frozen=True)
class Wire:
    """Where the files are, and the passwords that are in them."""

    folder: Path
    passwords: dict[str, str]

    @property
    def authority(self) -> Path:
        """PEM of the authority that signed the broker's certificate."""
        return self.folder / "ca.pem"

    @property
    def passwords_file(self) -> Path:
        """All of them as JSON: for `setup` only."""
        return self.folder / "kafka_passwords.json"

    def password_file(self, principal: str) -> Path:
        """One principal's password."""
        return self.folder / f"kafka_{principal}"

    def secured(self) -> Secured:
        """Return what a broker reads."""
        return Secured(self.folder / "broker.pem", self.authority, self.passwords[BROKER])

    def client(self, principal: str) -> dict[str, Any]:
        """Return the connection options of an aiokafka client, without the bootstrap servers."""
        return {
            "security_protocol": "SASL_SSL",
            "ssl_context": ssl.create_default_context(cafile=self.authority),
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": principal,
            "sasl_plain_password": self.passwords[principal],
        }

    def variables(self, principal: str) -> dict[str, str]:
        """Return the DONGUI_* variables with which a process logs in as a principal."""
        return {
            "DONGUI_KAFKA_SECURITY": "SASL_SSL",
            "DONGUI_KAFKA_USERNAME": principal,
            "DONGUI_KAFKA_PASSWORD_FILE": str(self.password_file(principal)),
            "DONGUI_KAFKA_CA_FILE": str(self.authority),
        }


def ensure(folder: Path, principals: Iterable[str], hosts: Sequence[str], clock: Clock) -> Wire:
    """Make what is missing below a folder of secrets (0700) and return it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = certificates.ensure_authority(folder, clock)
    certificates.ensure_server(folder / "broker.pem", authority, BROKER_CERTIFICATE, hosts, clock)
    file = folder / "kafka_passwords.json"
    kept: dict[str, str] = orjson.loads(file.read_bytes()) if file.exists() else {}
    wanted = [BROKER, SETUP, *principals]
    passwords = kept | {who: kept.get(who) or secrets.token_urlsafe(PASSWORD_BYTES) for who in wanted}
    if passwords != kept:
        write_private(file, orjson.dumps(passwords))
    made = Wire(folder, passwords)
    for who, password in passwords.items():
        path = made.password_file(who)
        if not path.exists() or path.read_text() != password:
            write_private(path, password.encode())
    return made
