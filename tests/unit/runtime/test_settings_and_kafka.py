"""Settings say every missing name at once; a production profile refuses an open broker."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.runtime import kafka
from services.runtime.kafka import InsecureKafkaError
from services.runtime.outbox import SHARDS, shard_of
from services.runtime.settings import InvalidSettingsError, MissingSettingsError, Settings


def test_every_missing_name_is_told_at_once() -> None:
    with pytest.raises(MissingSettingsError, match="DONGUI_KAFKA, DONGUI_CONSENT_DSN") as error:
        Settings(kafka=None).require("kafka", "consent_dsn", "issuer")
    assert error.value.names == ["kafka", "consent_dsn"]


def test_the_environment_is_read_with_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DONGUI_CONSENT_DSN", "postgresql://secret")
    monkeypatch.setenv("DONGUI_AFFILIATE_TOKENS", '{"tmax-os": "t"}')
    found = Settings()
    assert found.secret("consent_dsn") == "postgresql://secret"
    assert "postgresql://secret" not in repr(found)
    assert found.affiliate_tokens["tmax-os"].get_secret_value() == "t"


def test_a_trusted_proxy_is_an_address_or_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().trusted_proxies == ["127.0.0.1", "::1"]
    monkeypatch.setenv("DONGUI_TRUSTED_PROXIES", '["127.0.0.1", "10.1.0.0/28", "fd00::/8"]')
    assert Settings.read().trusted_proxies == ["127.0.0.1", "10.1.0.0/28", "fd00::/8"]
    for wrong in ("*", "gateway", "10.1.0.1/28", ""):
        with pytest.raises(InvalidSettingsError, match="DONGUI_TRUSTED_PROXIES"):
            Settings.read(trusted_proxies=["127.0.0.1", wrong])


@pytest.mark.f(34)
@pytest.mark.parametrize("security", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_production_refuses_a_broker_without_tls(security: str) -> None:
    with pytest.raises(InsecureKafkaError):
        kafka.client_options(Settings(kafka="b:9092", kafka_security=security))


@pytest.mark.f(34)
def test_a_password_in_clear_is_refused_even_in_dev() -> None:
    with pytest.raises(InsecureKafkaError):
        kafka.client_options(Settings(profile="dev", kafka="b:9092", kafka_security="SASL_PLAINTEXT"))


def test_dev_may_use_plaintext() -> None:
    assert kafka.client_options(Settings(profile="dev", kafka="127.0.0.1:1")) == {"bootstrap_servers": "127.0.0.1:1"}


@pytest.mark.f(34)
def test_scram_needs_both_of_its_settings() -> None:
    with pytest.raises(InsecureKafkaError, match="DONGUI_KAFKA_PASSWORD_FILE"):
        kafka.client_options(Settings(kafka="b:9092", kafka_security="SASL_SSL", kafka_username="u"))
    options: dict[str, Any] = kafka.client_options(
        Settings(kafka="b:9092", kafka_security="SASL_SSL", kafka_username="u", kafka_password=SecretStr("p"))
    )
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert options["ssl_context"].verify_mode.name == "CERT_REQUIRED"


def test_a_members_shard_never_changes() -> None:
    """The numbers are crc32 modulo 16, as zlib has it: a row relayed last year has the shard it had then."""
    assert SHARDS == 16
    assert shard_of("123456789") == 0xCBF43926 % 16, "the check value of CRC-32"


def test_a_settings_object_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().data_dir = Path("elsewhere")  # type: ignore[misc]
