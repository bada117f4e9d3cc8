"""The only reader of the environment. Frozen; `require` fails at start with every missing name at once.

Each process needs a part of these: the composition roots (`app.py`) say which by `require`.
"""

import logging
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

DATABASES = ("consent", "keyring", "audit", "retention", "notices", "console")


class MissingSettingsError(Exception):
    """Settings this process cannot run without are absent. Set the named variables and start again."""

    def __init__(self, names: list[str]) -> None:
        variables = ", ".join(f"DONGUI_{name.upper()}" for name in names)
        super().__init__(f"missing settings: {variables}")
        self.names = names


class InvalidSettingsError(Exception):
    """Settings have values they cannot have. The message names the variables, and no value: it may be a secret."""

    def __init__(self, names: list[str]) -> None:
        self.variables = [f"DONGUI_{name.upper()}" for name in names]
        super().__init__(f"settings with a value that is no good: {', '.join(self.variables)}")


class Settings(BaseSettings):
    """All settings of all processes. Environment variables are `DONGUI_<NAME>`; maps are JSON."""

    model_config = SettingsConfigDict(env_prefix="DONGUI_", frozen=True, extra="ignore")

    profile: str = "production"
    data_dir: Path = Path(".dongui")
    log_level: str = "INFO"
    traces: str | None = None
    traces_ratio: float = Field(default=1.0, ge=0, le=1)

    kafka: str | None = None
    kafka_security: str = "PLAINTEXT"
    kafka_username: str | None = None
    kafka_mechanism: str = "SCRAM-SHA-512"
    kafka_password: SecretStr | None = None
    kafka_password_file: Path | None = None
    kafka_passwords_file: Path | None = None
    kafka_ca_file: Path | None = None
    topic_prefix: str = ""

    consent_dsn: SecretStr | None = None
    keyring_dsn: SecretStr | None = None
    audit_dsn: SecretStr | None = None
    retention_dsn: SecretStr | None = None
    notices_dsn: SecretStr | None = None
    console_dsn: SecretStr | None = None
    affiliate_dsns: dict[str, SecretStr] = Field(default_factory=dict)
    owner_dsns: dict[str, SecretStr] = Field(default_factory=dict)
    affiliates_dir: Path | None = None
    admin_dsn: SecretStr | None = None

    kek_file: Path | None = None
    retention_kek_file: Path | None = None
    retention_kek_old_file: Path | None = None
    retention_index_key_file: Path | None = None
    retention_vault_token_file: Path | None = None
    retention_vault_transit_key: str | None = None
    kek_old_file: Path | None = None
    vault_url: str | None = None
    vault_token_file: Path | None = None
    vault_ca_file: Path | None = None
    vault_transit_mount: str = "transit"
    vault_transit_key: str | None = None
    email_index_key_file: Path | None = None
    audit_signing_key_file: Path | None = None
    webhook_signing_key_file: Path | None = None
    webhook_signing_key_old_file: Path | None = None
    certificate_signing_key_file: Path | None = None

    issuer: str = "https://issuer.dongui.localhost"
    audience: str = "dongui"
    jwks_file: Path | None = None
    jwks_url: str | None = None

    consent_host: str = "127.0.0.1"
    consent_port: int = 8801
    consent_url: str | None = None
    audit_host: str = "127.0.0.1"
    audit_port: int = 8802
    audit_url: str | None = None
    retention_host: str = "127.0.0.1"
    retention_port: int = 8803
    retention_url: str | None = None
    witness_host: str = "127.0.0.1"
    witness_port: int = 8807
    witness_name: str = "witness.dongui.kr/w1"
    witness_signing_key_file: Path | None = None
    witness_logs_file: Path | None = None
    console_host: str = "127.0.0.1"
    console_port: int = 8800
    console_url: str | None = None
    console_key_file: Path | None = None
    console_first_accounts_file: Path | None = None
    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    oidc_roles_claim: str = "groups"
    oidc_roles: dict[str, str] = Field(default_factory=dict)
    rate_per_s: float = Field(default=50.0, gt=0)
    rate_trusted_per_s: float = Field(default=5000.0, gt=0)
    trusted_proxies: list[str] = Field(default_factory=lambda: ["127.0.0.1", "::1"])
    health_host: str = "127.0.0.1"
    health_port: int = 0
    process_urls: dict[str, str] = Field(default_factory=dict)

    affiliate_tokens: dict[str, SecretStr] = Field(default_factory=dict)
    notices_token: SecretStr | None = None
    retention_token: SecretStr | None = None
    rights_reader_token: SecretStr | None = None
    service_token: SecretStr | None = None
    audit_token: SecretStr | None = None
    staff_tokens: dict[str, SecretStr] = Field(default_factory=dict)
    third_parties: dict[str, dict[str, Any]] = Field(default_factory=dict)

    smtp_url: SecretStr | None = None
    smtp_from: str | None = None
    message_gateway_url: str | None = None
    message_gateway_token: SecretStr | None = None
    public_url: str | None = None

    relay_shards: int = 16
    checkpoint_interval_s: float = Field(default=1.0, gt=0, le=60)
    witnesses: dict[str, str] = Field(default_factory=dict)
    checkpoint_copies: list[Path] = Field(default_factory=list)
    timestamp_url: str | None = None
    timestamp_roots_file: Path | None = None
    timestamp_interval_s: float = Field(default=3600.0, gt=0)
    anchor_interval_s: float = Field(default=2.0, gt=0, le=60)
    verify_interval_s: float = Field(default=3600.0, gt=0)
    audit_reason_required: bool | None = None
    affiliate_batch_max: int = 1000
    erasure_interval_s: float = 2.0
    reconcile_interval_s: float = 300.0
    reconcile_grace_s: float = 60.0
    reconcile_repair: bool = True
    canary_interval_s: float = Field(default=0.0, ge=0)

    @classmethod
    def read(cls, **given: Any) -> Self:
        """Return what is given, completed by the environment; raise InvalidSettingsError naming all that is no good."""
        try:
            return cls(**given)
        except (ValidationError, SettingsError) as error:
            raise InvalidSettingsError(_at_fault(error)) from None

    @field_validator("log_level")
    @classmethod
    def _is_a_level(cls, value: str) -> str:
        if value.upper() not in logging.getLevelNamesMapping():
            raise ValueError("no level of logging")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: list[str]) -> list[str]:
        """What is no network would be taken for a name that nobody has, and `*` for everybody."""
        for one in value:
            ip_network(one)
        return value

    def require(self, *names: str) -> Self:
        """Return self, or raise MissingSettingsError naming every absent one of `names`."""
        missing = [name for name in names if not getattr(self, name)]
        if missing:
            raise MissingSettingsError(missing)
        return self

    def secret(self, name: str) -> str:
        """Return the clear text of the SecretStr setting `name`; raise MissingSettingsError when absent."""
        value = getattr(self, name)
        if value is None:
            raise MissingSettingsError([name])
        return str(value.get_secret_value())


def _at_fault(error: ValidationError | SettingsError) -> list[str]:
    """Return the fields a reading failed on. Of JSON that is none, the library names the field in its text alone."""
    if isinstance(error, ValidationError):
        return list(dict.fromkeys(str(e["loc"][0]) for e in error.errors()))
    return re.findall(r'field "(\w+)"', str(error))
