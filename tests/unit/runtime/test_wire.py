"""F34: what would cross a network in clear is refused at the start, and the message names the setting."""

import gc
import importlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr
from typer.testing import CliRunner

from services import cli
from services.runtime import kafka, start, wire
from services.runtime.settings import Settings
from services.runtime.wire import InsecureWireError

LOGIN: dict[str, Any] = {
    "kafka": "kafka.internal:9092",
    "kafka_security": "SASL_SSL",
    "kafka_username": "audit",
    "kafka_password": SecretStr("p"),
}
ROOT = Path(__file__).resolve().parents[3]

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "plain to another machine, dev": ({"profile": "dev", "kafka": "kafka:9092"}, "DONGUI_KAFKA names kafka"),
    "plain to another machine": ({"kafka": "10.0.0.7:9092"}, "DONGUI_KAFKA names 10.0.0.7"),
    "one of several is elsewhere": ({"profile": "dev", "kafka": "127.0.0.1:1, b:2"}, "DONGUI_KAFKA names b"),
    "a name that only looks like loopback": ({"profile": "dev", "kafka": "localhost.evil.kr:1"}, "DONGUI_KAFKA names"),
    "plain on loopback in production": ({"kafka": "127.0.0.1:9092"}, "DONGUI_KAFKA_SECURITY=PLAINTEXT"),
    "a password in clear": (LOGIN | {"kafka_security": "SASL_PLAINTEXT"}, "DONGUI_KAFKA_SECURITY must be SASL_SSL"),
    "TLS without a login": (LOGIN | {"kafka_security": "SSL"}, "DONGUI_KAFKA_SECURITY must be SASL_SSL"),
    "a protocol nobody knows": (LOGIN | {"kafka_security": "sasl_ssl"}, "DONGUI_KAFKA_SECURITY must be SASL_SSL"),
    "PLAIN": (LOGIN | {"kafka_mechanism": "PLAIN"}, "DONGUI_KAFKA_MECHANISM must be SCRAM-SHA-512"),
    "no user": (LOGIN | {"kafka_username": None}, "DONGUI_KAFKA_USERNAME"),
    "no password": (LOGIN | {"kafka_password": None}, "DONGUI_KAFKA_PASSWORD_FILE"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_open_way_to_kafka_is_refused_and_named(case: str) -> None:
    given, told = REFUSED[case]
    with pytest.raises(InsecureWireError, match=told):
        wire.require_secure(Settings(**given))
    with pytest.raises(kafka.InsecureKafkaError, match=told):
        kafka.client_options(Settings(**given))


def test_a_closed_way_and_a_laptops_loopback_are_accepted() -> None:
    wire.require_secure(Settings(**LOGIN))
    wire.require_secure(Settings(**(LOGIN | {"kafka_mechanism": "SCRAM-SHA-256"})))
    for servers in ("127.0.0.1:9092", "127.0.0.1:1,127.0.0.2:2", "localhost:9092", "[::1]:9092"):
        wire.require_secure(Settings(profile="dev", kafka=servers))


@pytest.mark.usefixtures("begun")
def test_a_wires_file_that_is_not_there_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    login = {"KAFKA": "k:1", "KAFKA_SECURITY": "SASL_SSL", "KAFKA_USERNAME": "audit"}
    for name, value in login.items():
        monkeypatch.setenv(f"DONGUI_{name}", value)
    monkeypatch.setenv("DONGUI_KAFKA_PASSWORD_FILE", str(tmp_path / "none"))
    with pytest.raises(start.UnreadableFileError, match="DONGUI_KAFKA_PASSWORD_FILE names no file"):
        start.begin("dongui-test")
    (tmp_path / "none").write_text("p")
    assert start.begin("dongui-test").kafka_username == "audit"


def test_a_password_file_is_read_at_each_new_client(tmp_path: Path) -> None:
    file = tmp_path / "password"
    settings = Settings(**(LOGIN | {"kafka_password": None, "kafka_password_file": file}))
    for password in ("first", "second"):
        file.write_text(password + "\n")
        assert kafka.client_options(settings)["sasl_plain_password"] == password


OPEN = (
    "postgresql://consent:pw@db.internal:5432/consent",
    "postgresql://consent:pw@db.internal/consent?sslmode=require",
    "postgresql://consent:pw@db.internal/consent?sslmode=prefer",
    "postgresql://consent:pw@127.0.0.1,db.internal:5432/consent",
    "postgresql://consent:pw@127.0.0.1:1,db.internal:2/consent",
    "postgresql://consent:pw@127.0.0.1/consent?host=db.internal",
    "postgresql://consent:pw@127.0.0.1@db.internal/consent",
    "postgresql:///consent",
)
CLOSED = (
    "postgresql://consent:pw@db.internal/consent?sslmode=verify-full&sslrootcert=/run/secrets/ca",
    "postgresql://consent:pw@db.internal/consent?sslmode=verify-ca",
    "postgresql://consent:pw@127.0.0.1:5432/consent",
    "postgresql://consent:pw@[::1]:5432/consent",
    "postgresql://consent:pw@localhost/consent",
    "postgresql://consent:pw@/consent?host=/run/postgresql",
    "postgresql://consent:pw@%2Frun%2Fpostgresql/consent",
)


@pytest.mark.parametrize("dsn", OPEN)
@pytest.mark.parametrize("profile", ["dev", "production"])
def test_a_database_outside_this_machine_needs_verified_tls_and_is_named(dsn: str, profile: str) -> None:
    secret = SecretStr(dsn)
    by_field: dict[str, dict[str, Any]] = {
        "DONGUI_CONSENT_DSN": {"consent_dsn": secret},
        "DONGUI_ADMIN_DSN": {"admin_dsn": secret},
        r"DONGUI_AFFILIATE_DSNS\[tmax-os\]": {"affiliate_dsns": {"tmax-os": secret}},
        r"DONGUI_OWNER_DSNS\[audit\]": {"owner_dsns": {"audit": secret}},
    }
    for told, given in by_field.items():
        with pytest.raises(InsecureWireError, match=told) as refused:
            wire.require_secure(Settings(profile=profile, **given))
        assert "pw" not in str(refused.value)


@pytest.mark.parametrize("dsn", CLOSED)
def test_a_database_on_this_machine_or_behind_verified_tls_is_accepted(dsn: str) -> None:
    wire.require_secure(Settings(consent_dsn=SecretStr(dsn)))


def test_production_refuses_plain_http_between_machines() -> None:
    urls = {"consent_url": "http://consent:8801", "jwks_url": "http://idp/keys", "witnesses": {"http://w:1": "key"}}
    with pytest.raises(InsecureWireError) as refused:
        wire.require_secure(Settings(**urls))
    for name in ("DONGUI_CONSENT_URL", "DONGUI_JWKS_URL", "DONGUI_WITNESSES[http://w:1]"):
        assert name in str(refused.value)
    wire.require_secure(Settings(consent_url="https://consent.internal", audit_url="http://127.0.0.1:8802"))
    wire.require_secure(Settings(profile="dev", **urls))


PROCESSES: dict[str, list[str]] = {
    "services.consent.__main__": [],
    "services.audit.__main__": [],
    "services.audit.witness.__main__": [],
    "services.retention.__main__": [],
    "services.console.__main__": [],
    "services.propagator.__main__": ["--affiliate", "tmax-os"],
    "services.commands.setup": [],
}


@pytest.fixture
def begun() -> Iterator[None]:
    """A process that begins inside pytest leaves its log on a stream that is closed after the test."""
    before = gc.get_threshold()
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize("module", PROCESSES)
def test_every_process_refuses_to_start(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DONGUI_PROFILE", "dev")
    monkeypatch.setenv("DONGUI_KAFKA", "kafka.internal:9092")
    monkeypatch.setattr(sys, "argv", [module, *PROCESSES[module]])
    try:
        status = importlib.import_module(module).main()
    except SystemExit as end:
        status = end.code
    assert status == 1
    assert "DONGUI_KAFKA names kafka.internal, not loopback" in capsys.readouterr().err


def test_a_refusal_is_one_line_and_status_1() -> None:
    env = {n: v for n, v in os.environ.items() if not n.startswith("DONGUI_")}
    env |= {"DONGUI_KAFKA": "kafka.internal:9092", "DONGUI_PROFILE": "dev"}
    command = [sys.executable, "-m", "services.retention"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["told"].startswith("DONGUI_KAFKA names kafka.internal")


def test_a_command_refuses_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DONGUI_CONSENT_DSN", "postgresql://consent:pw@db.internal/consent")
    done = CliRunner().invoke(cli.build(["status"]), ["status"])
    assert done.exit_code == 1
    assert "DONGUI_CONSENT_DSN leaves this machine" in done.output
