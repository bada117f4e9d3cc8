"""What each process is told: its own variables and no other process's secrets. And what `dongui dev env` prints."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from services.devstack.keyfiles import KeyFiles
from services.devstack.ports import HOST, free_ports
from services.devstack.provision import AFFILIATES, Access
from services.devstack.tokens import STAFF, Issuer
from services.devstack.wire import Wire
from services.runtime.acls import OPERATOR, SETUP, propagator_principal
from services.runtime.settings import DATABASES

PARTNER = "demo-partner"
NOTICES = "notices"
RETENTION = "retention"
WITNESS = "witness"
CONSOLE = "console"
CONSOLE_OFFSET, CONSENT_OFFSET, AUDIT_OFFSET, PARTNER_OFFSET, RETENTION_OFFSET = 0, 1, 2, 4, 5
WITNESS_OFFSET, HEALTH_OFFSET = 7, 10
CANARY_S = 60.0
"""How often a system that people use sends a canary; one for tests sends none unless it is told to."""
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "PYTHONWARNINGS")


PROPAGATORS = {propagator_principal(a): a for a in AFFILIATES}
ALL = (PARTNER, WITNESS, "consent", "audit", RETENTION, *PROPAGATORS, NOTICES, CONSOLE)
"""Every process, in the order in which they are started."""


@dataclass(frozen=True)
class ProcessPorts:
    """The loopback port of each process: its API's, or its health server's."""

    of: dict[str, int]

    @classmethod
    def from_base(cls, base: int) -> "ProcessPorts":
        """Fixed: console +0, consent +1, audit +2, third party +4, retention +5, witness +7, health from +10."""
        health = {name: base + HEALTH_OFFSET + i for i, name in enumerate([*PROPAGATORS, NOTICES])}
        offsets = {
            CONSOLE: CONSOLE_OFFSET,
            "consent": CONSENT_OFFSET,
            "audit": AUDIT_OFFSET,
            RETENTION: RETENTION_OFFSET,
            PARTNER: PARTNER_OFFSET,
            WITNESS: WITNESS_OFFSET,
        }
        return cls({name: base + offset for name, offset in offsets.items()} | health)

    @classmethod
    def free(cls) -> "ProcessPorts":
        """Any free ones."""
        return cls(dict(zip(ALL, free_ports(len(ALL)), strict=True)))

    def url(self, name: str) -> str:
        """Return a process's base URL."""
        return f"http://{HOST}:{self.of[name]}"


@dataclass(frozen=True)
class Installation:
    """All that the variables are made of."""

    base_dir: Path
    bootstrap: str
    ports: ProcessPorts
    access: Access
    keys: KeyFiles
    issuer: Issuer
    wire: Wire | None = None

    def variables(self, name: str) -> dict[str, str]:
        """Return the DONGUI_* variables of one process. Raises KeyError for an unknown one."""
        return {"DONGUI_PROFILE": "dev", "DONGUI_DATA_DIR": str(self.base_dir)} | self.kafka(name) | self._own(name)

    def kafka(self, principal: str) -> dict[str, str]:
        """Return how one principal reaches Kafka; a process that does not is told of no login."""
        found = {"DONGUI_KAFKA": self.bootstrap}
        known = self.wire is not None and principal in self.wire.passwords
        return found | self.wire.variables(principal) if self.wire and known else found

    def _own(self, name: str) -> dict[str, str]:
        if name in PROPAGATORS:
            return self._propagator(name, PROPAGATORS[name])
        parts = {
            "consent": self._consent,
            "audit": self._audit,
            RETENTION: self._retention,
            NOTICES: self._notices,
            PARTNER: self._partner,
            WITNESS: self._witness,
            CONSOLE: self._console,
        }
        return parts[name]()

    def _consent(self) -> dict[str, str]:
        return {
            "DONGUI_CONSENT_DSN": self.access.dsn("consent"),
            "DONGUI_KEYRING_DSN": self.access.dsn("keyring"),
            "DONGUI_KEK_FILE": str(self.keys.kek),
            "DONGUI_EMAIL_INDEX_KEY_FILE": str(self.keys.email_index_key),
            "DONGUI_CERTIFICATE_SIGNING_KEY_FILE": str(self.keys.certificate_signing_key),
            "DONGUI_AUDIT_URL": self.ports.url("audit"),
            "DONGUI_AUDIT_TOKEN": self.issuer.token("consent", "sre"),
            "DONGUI_JWKS_FILE": str(self.keys.jwks),
            "DONGUI_CONSENT_PORT": str(self.ports.of["consent"]),
            "DONGUI_RETENTION_URL": self.ports.url(RETENTION),
            "DONGUI_RIGHTS_READER_TOKEN": self.issuer.token("consent", "rights_reader"),
        }

    def _audit(self) -> dict[str, str]:
        return {
            "DONGUI_AUDIT_DSN": self.access.dsn("audit"),
            "DONGUI_AUDIT_SIGNING_KEY_FILE": str(self.keys.audit_signing_key),
            "DONGUI_JWKS_FILE": str(self.keys.jwks),
            "DONGUI_AUDIT_PORT": str(self.ports.of["audit"]),
            "DONGUI_CONSENT_URL": self.ports.url("consent"),
            "DONGUI_WITNESSES": _json({self.ports.url(WITNESS): self.keys.witness_vkey.read_text()}),
            "DONGUI_CHECKPOINT_COPIES": _json([str(self.base_dir / "checkpoint-copies")]),
        }

    def _witness(self) -> dict[str, str]:
        return {
            "DONGUI_WITNESS_SIGNING_KEY_FILE": str(self.keys.witness_signing_key),
            "DONGUI_WITNESS_LOGS_FILE": str(self.keys.witness_logs),
            "DONGUI_WITNESS_PORT": str(self.ports.of[WITNESS]),
        }

    def _retention(self) -> dict[str, str]:
        return {
            "DONGUI_RETENTION_DSN": self.access.dsn(RETENTION),
            "DONGUI_RETENTION_KEK_FILE": str(self.keys.retention_kek),
            "DONGUI_RETENTION_INDEX_KEY_FILE": str(self.keys.retention_index_key),
            "DONGUI_RETENTION_TOKEN": self.issuer.token(RETENTION, "retention"),
            "DONGUI_RETENTION_PORT": str(self.ports.of[RETENTION]),
            "DONGUI_JWKS_FILE": str(self.keys.jwks),
            "DONGUI_CONSENT_URL": self.ports.url("consent"),
        }

    def _propagator(self, name: str, affiliate: str) -> dict[str, str]:
        return {
            "DONGUI_AFFILIATE_DSNS": _json({affiliate: self.access.dsn(affiliate)}),
            "DONGUI_AFFILIATE_TOKENS": _json({affiliate: self.issuer.token(affiliate, "affiliate")}),
            "DONGUI_CONSENT_URL": self.ports.url("consent"),
            "DONGUI_HEALTH_PORT": str(self.ports.of[name]),
        }

    def _notices(self) -> dict[str, str]:
        return {
            "DONGUI_NOTICES_DSN": self.access.dsn("notices"),
            "DONGUI_NOTICES_TOKEN": self.issuer.token(NOTICES, "notices"),
            "DONGUI_CONSENT_URL": self.ports.url("consent"),
            "DONGUI_WEBHOOK_SIGNING_KEY_FILE": str(self.keys.webhook_signing_key),
            "DONGUI_THIRD_PARTIES": _json({PARTNER: {"url": self.partner_webhook, "secret": self._partner_secret}}),
            "DONGUI_HEALTH_PORT": str(self.ports.of[NOTICES]),
        }

    def _partner(self) -> dict[str, str]:
        return {
            "DONGUI_PARTNER_SECRET": self._partner_secret,
            "DONGUI_PARTNER_PUBLIC_KEY": self.keys.webhook_public_key.read_text(),
            "DONGUI_PARTNER_TOKEN": self.issuer.token(PARTNER, "third_party"),
            "DONGUI_CONSENT_URL": self.ports.url("consent"),
        }

    def _console(self) -> dict[str, str]:
        return {
            "DONGUI_CONSOLE_DSN": self.access.dsn(CONSOLE),
            "DONGUI_CONSOLE_KEY_FILE": str(self.keys.console_key),
            "DONGUI_CONSOLE_FIRST_ACCOUNTS_FILE": str(self.keys.console_accounts),
            "DONGUI_CONSOLE_PORT": str(self.ports.of[CONSOLE]),
            "DONGUI_CONSOLE_URL": self.ports.url(CONSOLE),
            "DONGUI_CONSENT_URL": self.ports.url("consent"),
            "DONGUI_AUDIT_URL": self.ports.url("audit"),
            "DONGUI_RETENTION_URL": self.ports.url(RETENTION),
        }

    @property
    def partner_store(self) -> Path:
        """The file in which the demo's third party keeps what it was told."""
        return self.base_dir / "partner" / "received.jsonl"

    @property
    def partner_webhook(self) -> str:
        """Where notices for the demo's third party go."""
        return f"{self.ports.url(PARTNER)}/webhook"

    @property
    def _partner_secret(self) -> str:
        return self.keys.partner_secret.read_text()

    def described(self) -> dict[str, Any]:
        """Return what `dongui dev env --format json` prints (interface.md)."""
        return {
            "consent_url": self.ports.url("consent"),
            "audit_url": self.ports.url("audit"),
            "console_url": self.ports.url(CONSOLE),
            "partner_url": self.ports.url(PARTNER),
            "retention_url": self.ports.url(RETENTION),
            "process_urls": {name: self.ports.url(name) for name in ALL},
            "console_accounts": self._console_accounts(),
            "kafka": self.bootstrap,
            "kafka_login": self._logins(),
            "data_dir": str(self.base_dir),
            "databases": {n: self.access.dsn(n) for n in DATABASES}
            | {"affiliates": {a: self.access.dsn(a) for a in AFFILIATES}},
            "tokens": self._tokens(),
        }

    def _logins(self) -> dict[str, dict[str, str]]:
        """How the command line and whoever sets things up log in; empty for a Kafka that is open."""
        return {who: self.wire.variables(who) for who in (OPERATOR, SETUP)} if self.wire else {}

    def _console_accounts(self) -> dict[str, str]:
        """The one-time passwords by name; each works until its account has been set up."""
        return {name: told["password"] for name, told in orjson.loads(self.keys.console_accounts.read_bytes()).items()}

    def _tokens(self) -> dict[str, Any]:
        return {
            "service": self.issuer.token("dev-service", "service"),
            **{role: self.issuer.token(f"dev-{role}", role) for role in STAFF},
            "third_party": self.issuer.token(PARTNER, "third_party"),
            NOTICES: self.issuer.token(NOTICES, "notices"),
            "affiliates": {a: self.issuer.token(a, "affiliate") for a in AFFILIATES},
        }

    def owner_dsns(self) -> dict[str, str]:
        """Return the owners' DSNs, for `dongui db`."""
        return {name: self.access.owner_dsn(name) for name in (*DATABASES, *AFFILIATES)}


def inherited() -> dict[str, str]:
    """Return what a child keeps of our own environment: nothing that begins with DONGUI_."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
