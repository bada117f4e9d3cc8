"""`.venv/bin/python infra/compose_secrets.py`: writes ./secrets and .env for docker-compose.yml, once.

Every password and key is random; a file that is there is kept, so running it again changes nothing. Each process gets
an env file of its own with its own secrets. Files are 0600 and belong to the account the containers run as: yours, or
10001 when you are root.
"""

import argparse
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from services.devstack import certificates, kafka_config, keyfiles, wire
from services.devstack.environment import PARTNER, PROPAGATORS
from services.devstack.kafka_config import Place, Secured
from services.devstack.keyfiles import KeyFiles
from services.devstack.provision import AFFILIATES, database_names, owner_of
from services.devstack.tokens import Issuer
from services.runtime import acls
from services.runtime.clock import utc_now
from services.runtime.settings import Settings

UNPRIVILEGED = 10001
POSTGRES = "postgres:5432"
TLS = "sslmode=verify-full&sslrootcert=/run/secrets/ca"
KAFKA_DATA = Path("/var/lib/kafka/data")
ADMIN = "postgres"
WITNESS_URL = "http://witness:8807"

Variables = Mapping[str, str]


def main() -> int:
    """Write what is missing below a directory (default: here)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path())
    where: Path = parser.parse_args().directory
    folder = where / "secrets"
    keys = keyfiles.ensure(folder)
    _secure_servers(folder)
    passwords = _passwords(folder)
    defaults = Settings.model_fields
    issuer = Issuer(keys.issuer_key, defaults["issuer"].default, defaults["audience"].default, utc_now)
    for name, variables in environments(passwords, issuer, keys).items():
        keyfiles.write_once(folder / f"{name}.env", _lines(variables))
    uid = os.getuid() or UNPRIVILEGED
    keyfiles.write_once(where / ".env", _lines({"DONGUI_UID": str(uid)}))
    if os.getuid() == 0:
        _give(folder, uid)
    sys.stdout.write(f"{folder} and {where / '.env'} are there. Next: docker compose up --build --detach\n")
    return 0


def environments(passwords: Mapping[str, str], issuer: Issuer, keys: KeyFiles) -> dict[str, Variables]:
    """Return the secret variables of each container, by the name of its env file."""

    def dsn(name: str, role: str | None = None) -> str:
        return f"postgresql://{role or name}:{passwords[role or name]}@{POSTGRES}/{name}?{TLS}"

    names = database_names(AFFILIATES)
    own = {name: {f"DONGUI_{name.upper()}_DSN": dsn(name)} for name in names if name not in AFFILIATES}
    stores = {a: dsn(a) for a in AFFILIATES}
    setup = {key: value for part in own.values() for key, value in part.items()} | {
        "DONGUI_ADMIN_DSN": f"postgresql://{ADMIN}:{passwords[ADMIN]}@{POSTGRES}/postgres?{TLS}",
        "DONGUI_OWNER_DSNS": json.dumps({name: dsn(name, owner_of(name)) for name in names}),
        "DONGUI_AFFILIATE_DSNS": json.dumps(stores),
    }
    propagators = {
        name: {
            "DONGUI_AFFILIATE_DSNS": json.dumps({affiliate: stores[affiliate]}),
            "DONGUI_AFFILIATE_TOKENS": json.dumps({affiliate: issuer.token(affiliate, "affiliate")}),
        }
        for name, affiliate in PROPAGATORS.items()
    }
    notices = own["notices"] | {
        "DONGUI_NOTICES_TOKEN": issuer.token("notices", "notices"),
        "DONGUI_THIRD_PARTIES": "{}",
    }
    tokens = {"DONGUI_SERVICE_TOKEN": issuer.token("dev-service", "service")}
    tokens |= {"DONGUI_PARTNER_TOKEN": issuer.token(PARTNER, "third_party")}
    return {
        "setup": setup,
        "consent": own["consent"]
        | own["keyring"]
        | {
            "DONGUI_AUDIT_TOKEN": issuer.token("consent", "sre"),
            "DONGUI_RIGHTS_READER_TOKEN": issuer.token("consent", "rights_reader"),
        },
        "audit": own["audit"] | {"DONGUI_WITNESSES": json.dumps({WITNESS_URL: keys.witness_vkey.read_text()})},
        "retention": own["retention"] | {"DONGUI_RETENTION_TOKEN": issuer.token("retention", "retention")},
        **propagators,
        "notices": notices,
        "console": own["console"],
        "tokens": tokens,
    }


def _secure_servers(folder: Path) -> None:
    """Make the authority, both servers' certificates, Kafka's passwords and its properties."""
    made = wire.ensure(folder, acls.table(AFFILIATES), ["kafka"], utc_now)
    authority = certificates.ensure_authority(folder, utc_now)
    certificates.ensure_server(folder / "postgres.pem", authority, "dongui-postgres", ["postgres"], utc_now)
    place = Place(1, "", "kafka", 9092, 9093, "1@kafka:9093", 1, KAFKA_DATA)
    mounted = Path("/run/secrets")
    secured = Secured(mounted / "kafka_certificate", mounted / "ca", made.passwords[acls.BROKER])
    text = kafka_config.lines(kafka_config.properties(place, secured))
    keyfiles.write_once(folder / "kafka.properties", text.encode())
    keyfiles.write_once(folder / "kafka_cluster_id", b"A" + secrets.token_urlsafe(16)[1:].encode())


def _passwords(folder: Path) -> dict[str, str]:
    """Return the password of each role, kept in one file so that a second run writes the same env files."""
    names = database_names(AFFILIATES)
    roles = [ADMIN, *names, *(owner_of(name) for name in names)]
    path = folder / "passwords.json"
    keyfiles.write_once(path, json.dumps({role: secrets.token_urlsafe(24) for role in roles}).encode())
    kept: dict[str, str] = json.loads(path.read_bytes())
    keyfiles.write_once(folder / "postgres_password", kept[ADMIN].encode())
    return kept


def _lines(variables: Variables) -> bytes:
    """Single quotes: compose takes what is between them literally."""
    return "".join(f"{name}='{value}'\n" for name, value in variables.items()).encode()


def _give(folder: Path, uid: int) -> None:
    for path in (folder, *folder.iterdir()):
        os.chown(path, uid, uid)


if __name__ == "__main__":
    sys.exit(main())
