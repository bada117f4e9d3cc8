"""The command line's manners: exit statuses, stdout for data, stderr for messages, no secret anywhere."""

import json
import os
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from services import cli
from services.commands import config, context
from services.commands.member import masked_email, masked_name
from services.devstack.state import State
from services.runtime.settings import Settings

SECRET = "correct-horse-battery"
DESCRIBED = {
    "consent_url": "http://127.0.0.1:1",
    "audit_url": "http://127.0.0.1:1",
    "console_url": "http://127.0.0.1:1/",
    "kafka": "127.0.0.1:1",
    "databases": {n: f"postgresql://{n}:{SECRET}@127.0.0.1:1/{n}" for n in context.DATABASES}
    | {"affiliates": {"tmax-os": f"postgresql://tmax-os:{SECRET}@127.0.0.1:1/tmax-os"}},
    "tokens": {"service": SECRET, "notices": SECRET, "affiliates": {"tmax-os": SECRET}},
}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the caller's shell reaches a test; the data directory is the test's own."""
    for name in [n for n in os.environ if n.startswith("DONGUI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DONGUI_DATA_DIR", str(tmp_path))


@pytest.fixture
def dev_system(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    State(tmp_path).write(DESCRIBED, {"consent": f"postgresql://consent_owner:{SECRET}@127.0.0.1:1/consent"})


def dongui(*arguments: str) -> Result:
    return CliRunner().invoke(cli.build(arguments), list(arguments))


def test_help_names_every_group_and_exits_0() -> None:
    done = dongui("--help")
    assert done.exit_code == 0
    assert all(name in done.stdout for name in cli.GROUPS)


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["dev", "nonsense"], ["change", "show"], ["dev", "up", "--brokers", "0"]]
)
def test_what_is_not_understood_exits_2_and_prints_no_data(arguments: list[str]) -> None:
    done = dongui(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr != ""


def test_an_unknown_format_exits_2(dev_system: None) -> None:
    assert dongui("status", "--format", "yaml").exit_code == 2


@pytest.mark.usefixtures("dev_system")
@pytest.mark.parametrize(
    "arguments", [["status"], ["change", "show", "x"], ["member", "show", "x"], ["affiliate", "list"]]
)
def test_a_service_that_does_not_answer_exits_1_with_a_message_only(arguments: list[str]) -> None:
    done = dongui(*arguments)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "the consent service does not answer (ConnectError); is it running?" in done.stderr


def test_down_where_nothing_runs_exits_0_and_says_so(tmp_path: Path) -> None:
    done = dongui("dev", "down")
    assert done.exit_code == 0
    assert done.stderr == f"Nothing was running on {tmp_path}.\n"


@pytest.mark.usefixtures("dev_system")
@pytest.mark.parametrize("output", ["json", "text"])
def test_config_check_shows_places_and_sources_but_no_secret(output: str) -> None:
    done = dongui("config", "check", "--format", output)
    assert done.exit_code == 0
    assert SECRET not in done.stdout
    assert "postgresql://127.0.0.1:1/consent" in done.stdout


@pytest.mark.usefixtures("dev_system")
def test_the_environment_comes_before_the_dev_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DONGUI_LOG_LEVEL", "DEBUG")
    rows = {row["setting"]: row for row in json.loads(dongui("config", "check", "--format", "json").stdout)}
    assert rows["log_level"] == {"setting": "log_level", "value": "DEBUG", "source": "environment"}
    assert rows["kafka"] == {"setting": "kafka", "value": "127.0.0.1:1", "source": "dev system"}


@pytest.mark.usefixtures("dev_system")
def test_an_environment_that_names_a_system_takes_nothing_from_a_dev_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DONGUI_KAFKA", "elsewhere:9092")
    settings = context.effective_settings()
    assert settings.kafka == "elsewhere:9092"
    assert settings.consent_dsn is None
    assert settings.service_token is None


def test_a_named_file_that_is_missing_exits_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DONGUI_KEK_FILE", str(tmp_path / "nowhere"))
    done = dongui("config", "check")
    assert done.exit_code == 1
    assert "not a readable file" in done.stderr


def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run what the shell runs; hold status 1 and an empty stdout, return the message."""
    monkeypatch.setattr(sys, "argv", ["dongui", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    told = capsys.readouterr()
    assert (end.value.code, told.out) == (1, "")
    assert SECRET not in told.err
    return told.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DONGUI_STAFF_TOKENS", f'{{"kim":["{SECRET}"]}}'),
        ("DONGUI_STAFF_TOKENS", f'{{"kim":"{SECRET}"'),
        ("DONGUI_THIRD_PARTIES", f'{{"demo-partner":"{SECRET}"}}'),
        ("DONGUI_AFFILIATE_DSNS", f'{{"tmax-os":{{"dsn":"postgresql://os:{SECRET}@127.0.0.1/os"}}}}'),
        ("DONGUI_RATE_PER_S", SECRET),
        ("DONGUI_LOG_LEVEL", SECRET),
    ],
)
@pytest.mark.parametrize("arguments", [("config", "check"), ("status",)])
def test_a_setting_that_is_no_good_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    name: str,
    value: str,
) -> None:
    monkeypatch.setenv(name, value)
    told = ended(monkeypatch, capsys, *arguments)
    assert told == (f"settings with a value that is no good: {name}. docs/configuration.md says what each of them is\n")


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://os:a/{SECRET}@127.0.0.1:5432/os",
        f"postgresql://os:{SECRET}/1@127.0.0.1:5432/os",
        f"postgresql://os:{SECRET}",
        f"postgresql://[os:{SECRET}@127.0.0.1:5432/os",
        f"mysql://os:{SECRET}@127.0.0.1:5432/os",
        f"postgresql://os:1@{SECRET}@127.0.0.1:5432/os",
    ],
)
def test_a_dsn_that_cannot_be_read_is_named_by_every_command_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    monkeypatch.setenv("DONGUI_CONSENT_DSN", dsn)
    for arguments in (("config", "check"), ("doctor",), ("status",)):
        done = dongui(*arguments)
        assert (done.exit_code, type(done.exception)) == (1, SystemExit)
        assert SECRET not in done.output
        assert "DONGUI_CONSENT_DSN is no postgresql://USER:PASSWORD@HOST:PORT/DATABASE" in done.output


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://os:pw@os:5432/os?sslmode=require", "postgresql://os:5432/os"),
        ("postgres://os:pw@[::1]/os", "postgres://[::1]/os"),
        ("postgresql://os:pw@a:1,b:2/os", "postgresql://a:1,b:2/os"),
        ("postgresql://os:p%2Fw@postgres/os", "postgresql://postgres/os"),
        ("postgresql:///os?host=/run/postgresql", "(set)"),
        (f"postgresql://os:12/{SECRET}@postgres/os", "(set)"),
        (f"postgresql://os:12?{SECRET}@postgres/os", "(set)"),
        (f"postgresql://os:12#{SECRET}@postgres/os", "(set)"),
    ],
)
def test_of_a_dsn_its_place_is_shown_where_it_is_plain(dsn: str, shown: str) -> None:
    assert config.redacted("consent_dsn", SecretStr(dsn)) == shown


@pytest.mark.usefixtures("dev_system")
def test_a_policy_that_cannot_be_used_is_told_with_its_faults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("DONGUI_AFFILIATES_DIR", str(tmp_path / "none"))
    told = ended(monkeypatch, capsys, "affiliate", "acls", "tmax-os")
    assert told.startswith(f"the policy cannot be used: DONGUI_AFFILIATES_DIR: {tmp_path}/none is no directory")
    (tmp_path / "added.toml").write_text("affiliate = [")
    monkeypatch.setenv("DONGUI_AFFILIATES_DIR", str(tmp_path))
    told = ended(monkeypatch, capsys, "affiliate", "acls", "tmax-os")
    assert told.startswith("the policy cannot be used: not TOML: ")
    assert told.endswith("dongui policy check\n")


def test_third_parties_are_shown_by_url_only() -> None:
    settings = Settings(third_parties={"demo-partner": {"url": "https://partner.example", "secret": SECRET}})
    (row,) = [r for r in config.effective(settings) if r["setting"] == "third_parties"]
    assert row["value"] == {"demo-partner": {"url": "https://partner.example", "secret": "(set)"}}


@pytest.mark.parametrize(
    ("name", "shown"),
    [("홍길동", "홍*동"), ("이산", "이*"), ("남궁민수", "남**수"), ("솔", "솔"), (None, "-"), ("", "-")],
)
def test_a_name_is_shown_masked(name: str | None, shown: str) -> None:
    assert masked_name(name) == shown


@pytest.mark.parametrize(("email", "shown"), [("gildong@example.com", "g***@example.com"), (None, "-")])
def test_an_address_is_shown_masked(email: str | None, shown: str) -> None:
    assert masked_email(email) == shown


def test_acls_of_an_affiliate_are_literal_and_least(dev_system: None) -> None:
    done = dongui("affiliate", "acls", "tmax-os", "--principal", "User:their-backend")
    assert done.exit_code == 0
    grant = "kafka-acls --add --allow-principal User"
    assert done.stdout.splitlines() == [
        f"{grant}:their-backend --operation READ --group tmax-os-backend",
        f"{grant}:their-backend --operation READ --topic dongui.affiliate.tmax-os.v1",
        f"{grant}:propagator-tmax-os --operation READ --group dongui-propagator-tmax-os",
        f"{grant}:propagator-tmax-os --operation READ --topic dongui.affiliate.tmax-os.v1",
        f"{grant}:propagator-tmax-os --operation WRITE --topic dongui.affiliate.tmax-os.v1.dlq",
        f"{grant}:propagator-tmax-os --operation WRITE --topic dongui.receipts.v1",
        f"{grant}:propagator-tmax-os --operation READ --topic dongui.suppressions.v1",
    ]
    assert dongui("affiliate", "acls", "nobody").exit_code == 1


def test_a_closed_dev_system_is_entered_as_operator(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    login = {"DONGUI_KAFKA_SECURITY": "SASL_SSL", "DONGUI_KAFKA_USERNAME": "operator"}
    login |= {"DONGUI_KAFKA_PASSWORD_FILE": "p", "DONGUI_KAFKA_CA_FILE": "ca"}
    State(tmp_path).write(DESCRIBED | {"kafka_login": {"operator": login}}, {})
    found = context.load_settings()
    assert (found.kafka_security, found.kafka_username, found.kafka_ca_file) == ("SASL_SSL", "operator", Path("ca"))
