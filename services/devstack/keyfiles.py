"""The secret files of one installation: made once, readable by their owner only, never overwritten.

To lose or replace the KEK is to shred every member, so a file that is there is never written over.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import orjson
from joserfc.jwk import OKPKey

from services.audit.checkpoint import ORIGIN, verifier_of
from services.audit.cosignature import cosigner_of
from services.devstack import signatures
from services.runtime.settings import Settings

SEED_BYTES = 32
PASSWORD_BYTES = 12
CONSOLE_ROLES = ("compliance", "cpo", "sre", "auditor", "affiliate_desk")
"""What a token that the console signs may say: not `service`, not `member`, and not `affiliate`, which opens values."""
AFFILIATE_ACCOUNTS = {"tmax-os-staff": "affiliate:tmax-os"}
PRIVATE = 0o600


@dataclass(frozen=True)
class KeyFiles:
    """Where each secret is. `jwks` is public; it is what the processes verify tokens with."""

    kek: Path
    retention_kek: Path
    retention_index_key: Path
    email_index_key: Path
    audit_signing_key: Path
    webhook_signing_key: Path
    webhook_public_key: Path
    certificate_signing_key: Path
    witness_signing_key: Path
    witness_vkey: Path
    witness_logs: Path
    issuer_key: Path
    console_key: Path
    console_accounts: Path
    jwks: Path
    partner_secret: Path

    @classmethod
    def below(cls, folder: Path) -> "KeyFiles":
        """Name the files below a folder of secrets."""
        return cls(
            kek=folder / "kek",
            retention_kek=folder / "retention_kek",
            retention_index_key=folder / "retention_index_key",
            email_index_key=folder / "email_index_key",
            audit_signing_key=folder / "audit_signing_key",
            webhook_signing_key=folder / "webhook_signing_key",
            webhook_public_key=folder / "webhook_public_key",
            certificate_signing_key=folder / "certificate_signing_key",
            witness_signing_key=folder / "witness_signing_key",
            witness_vkey=folder / "witness_vkey",
            witness_logs=folder / "witness_logs",
            issuer_key=folder / "issuer_key.json",
            console_key=folder / "console_key.json",
            console_accounts=folder / "console_accounts.json",
            jwks=folder / "jwks.json",
            partner_secret=folder / "partner_secret",
        )


def ensure(folder: Path) -> KeyFiles:
    """Make the files that are missing below `folder` (0700) and return where all of them are."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = KeyFiles.below(folder)
    seeds = [files.audit_signing_key, files.webhook_signing_key, files.certificate_signing_key]
    seeds.append(files.witness_signing_key)
    retention = (files.retention_kek, files.retention_index_key)
    for path in (files.kek, files.email_index_key, *retention, *seeds):
        write_once(path, secrets.token_bytes(SEED_BYTES))
    write_once(files.webhook_public_key, signatures.public_key(files.webhook_signing_key.read_bytes()).encode())
    _publish_log_keys(files)
    write_once(files.partner_secret, signatures.new_secret().encode())
    for path in (files.issuer_key, files.console_key):
        write_once(path, orjson.dumps(OKPKey.generate_key("Ed25519", auto_kid=True).as_dict(private=True)))
    write_once(files.console_accounts, orjson.dumps(first_accounts()))
    _publish(files)
    return files


def _publish_log_keys(files: KeyFiles) -> None:
    """Write the keys the audit log and its witness know each other by."""
    witness = cosigner_of(Settings.model_fields["witness_name"].default, files.witness_signing_key.read_bytes())
    write_once(files.witness_vkey, witness.vkey().encode())
    write_once(files.witness_logs, verifier_of(ORIGIN, files.audit_signing_key.read_bytes()).vkey().encode())


def first_accounts() -> dict[str, dict[str, str]]:
    """Return an account of each role with a random one-time password: who may sign in to a new console."""
    roles = {**{role: role for role in CONSOLE_ROLES if role != "affiliate_desk"}, **AFFILIATE_ACCOUNTS}
    return {name: {"role": role, "password": secrets.token_urlsafe(PASSWORD_BYTES)} for name, role in roles.items()}


def write_once(path: Path, content: bytes) -> bool:
    """Write a file that only we may read, whole or not at all, when it is not there; say whether it was written."""
    partial = _partial(path, content)
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    finally:
        partial.unlink()
    return True


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step by one that only we may read."""
    _partial(path, content).replace(path)


def _partial(path: Path, content: bytes) -> Path:
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return partial


def _publish(files: KeyFiles) -> None:
    """Write the public halves of both token keys; they hold no secret and follow the keys, also those made later."""
    issuer, console = (
        dict(OKPKey.import_key(orjson.loads(path.read_bytes())).as_dict(private=False))
        for path in (files.issuer_key, files.console_key)
    )
    content = orjson.dumps({"keys": [issuer, {**console, "roles": list(CONSOLE_ROLES)}]})
    if not files.jwks.exists() or files.jwks.read_bytes() != content:
        write_private(files.jwks, content)
