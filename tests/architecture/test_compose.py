"""The container run, checked as far as that goes without an engine: what compose would start is what our code needs.

`docker compose config` is asked as well where that plugin is installed; where it is not, the checks below stand alone.
"""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from services import cli
from services.commands.setup import roles_of
from services.devstack import kafka_config
from services.devstack.kafka_config import Place, Secured
from services.devstack.provision import AFFILIATES, database_names
from services.runtime import acls, wire
from services.runtime.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
OURS = (
    *("setup", "consent", "audit", "witness", "retention", "console", "notices"),
    *(f"propagator-{a}" for a in AFFILIATES),
)
NEEDED = {
    "consent": {"kafka", "consent_dsn", "keyring_dsn", "kek_file", "email_index_key_file", "jwks_file"},
    "audit": {"kafka", "audit_dsn", "audit_signing_key_file", "jwks_file", "witnesses", "checkpoint_copies"},
    "witness": {"witness_signing_key_file", "witness_logs_file"},
    "retention": {
        "kafka",
        "retention_dsn",
        "retention_kek_file",
        "retention_index_key_file",
        "retention_token",
        "consent_url",
        "jwks_file",
    },
    "console": {"kafka", "console_dsn", "console_key_file", "console_url", "consent_url", "audit_url", "retention_url"},
    "notices": {"kafka", "notices_dsn", "notices_token", "consent_url", "webhook_signing_key_file"},
    "setup": {
        "kafka",
        "admin_dsn",
        "owner_dsns",
        "affiliate_dsns",
        *(f"{n}_dsn" for n in ("consent", "audit", "retention", "notices", "console")),
    },
    **{f"propagator-{a}": {"kafka", "affiliate_dsns", "affiliate_tokens", "consent_url"} for a in AFFILIATES},
}
"""Written by hand from each process's composition root."""
LINE = re.compile(r"^(DONGUI_[A-Z_]+)='([^']*)'$")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which infra/compose_secrets.py has run, as an operator runs it."""
    where = tmp_path_factory.mktemp("compose")
    command = [sys.executable, str(ROOT / "infra" / "compose_secrets.py"), "--directory", str(where)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return where


def variables(compose: dict[str, Any], written: Path, name: str) -> dict[str, str]:
    """Return the environment of one container."""
    service = compose["services"][name]
    found = dict(service["environment"])
    for file in service.get("env_file", []):
        for line in (written / file).read_text().splitlines():
            match = LINE.match(line)
            assert match, f"{file}: not NAME='value'"
            found[match[1]] = match[2]
    return found


def settings_of(compose: dict[str, Any], written: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for variable in [v for v in os.environ if v.startswith("DONGUI_")]:
        monkeypatch.delenv(variable)
    for variable, value in variables(compose, written, name).items():
        monkeypatch.setenv(variable, value)
    return Settings()


@pytest.mark.parametrize("name", OURS)
def test_each_process_finds_every_setting_it_requires(
    name: str, compose: dict[str, Any], written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_of(compose, written, name, monkeypatch).require(*sorted(NEEDED[name]))


@pytest.mark.parametrize("name", OURS)
def test_no_variable_is_one_that_no_setting_reads(name: str, compose: dict[str, Any], written: Path) -> None:
    known = {f"DONGUI_{field.upper()}" for field in Settings.model_fields}
    assert variables(compose, written, name).keys() - known == set()


@pytest.mark.parametrize("name", OURS)
def test_every_secret_file_a_process_reads_is_mounted_and_written(
    name: str, compose: dict[str, Any], written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(compose, written, name, monkeypatch)
    files = [str(getattr(settings, f)) for f in Settings.model_fields if f.endswith("_file") and getattr(settings, f)]
    mounted = {f"/run/secrets/{secret}": secret for secret in compose["services"][name].get("secrets", [])}
    assert sorted(files) == sorted(mounted)
    for secret in mounted.values():
        assert (written / compose["secrets"][secret]["file"]).is_file()


def test_each_process_holds_only_its_own_passwords(compose: dict[str, Any], written: Path) -> None:
    allowed = {
        "consent": {"consent", "keyring"},
        "audit": {"audit"},
        "retention": {"retention"},
        "notices": {"notices"},
        "console": {"console"},
        **{f"propagator-{a}": {a} for a in AFFILIATES},
    }
    for name, roles in allowed.items():
        text = " ".join(variables(compose, written, name).values())
        assert set(re.findall(r"postgresql://([a-z-]+(?:_owner)?):", text)) == roles, name


def test_setup_accepts_the_written_dsns(
    compose: dict[str, Any], written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roles = roles_of(settings_of(compose, written, "setup", monkeypatch), list(AFFILIATES))
    passwords = [roles.password(role) for n in database_names() for role in (n, f"{n}_owner")]
    assert len(set(passwords)) == len(passwords) == 18


def test_a_second_run_changes_nothing(written: Path) -> None:
    before = {path: path.read_bytes() for path in sorted(written.rglob("*")) if path.is_file()}
    command = [sys.executable, str(ROOT / "infra" / "compose_secrets.py"), "--directory", str(written)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    assert {path: path.read_bytes() for path in sorted(written.rglob("*")) if path.is_file()} == before


def test_what_is_written_is_for_one_unprivileged_account(written: Path) -> None:
    uid = int((written / ".env").read_text().strip().removeprefix("DONGUI_UID='").removesuffix("'"))
    assert uid != 0
    for path in (written / "secrets").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.stat().st_uid == uid


def test_no_password_stands_in_a_tracked_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text() + (ROOT / "Dockerfile").read_text()
    assert not re.search(r"(?i)(password|secret|token)\s*[:=]\s*[\"']?[A-Za-z0-9]{6,}", text)
    assert not re.search(r"://[^/\s]+:[^/\s@]+@", text)


def test_every_image_is_pinned_to_a_version(compose: dict[str, Any]) -> None:
    images = {service["image"] for service in compose["services"].values()}
    images |= set(re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert all(re.search(r":v?\d+(\.\d+)*(-slim)?$", image) for image in images), images


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_what_only_looks_is_asked_for_by_name_has_no_password_and_is_on_loopback(
    name: str, compose: dict[str, Any]
) -> None:
    service = compose["services"][name]
    assert service["profiles"] == ["observe"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert all(v.endswith(":ro") for v in service["volumes"] if v.startswith("./"))
    assert "secrets" not in service
    if name == "grafana":
        assert service["environment"]["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
        assert service["environment"]["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


@pytest.mark.parametrize("name", [*OURS, "kafka"])
def test_our_containers_have_no_privilege_and_a_read_only_root(name: str, compose: dict[str, Any]) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].startswith("${DONGUI_UID:?")
    assert "privileged" not in service
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_image_itself_runs_unprivileged_too() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1] == "${UID}"
    assert "ARG UID=10001" in text


@pytest.mark.parametrize("name", OURS)
def test_commands_and_health_checks_name_modules_that_are_there(name: str, compose: dict[str, Any]) -> None:
    service = compose["services"][name]
    assert service["command"][:2] == ["python", "-m"]
    assert _runs(service["command"][2])
    if name == "setup":
        assert service["restart"] == "no"
        return
    test = service["healthcheck"]["test"]
    assert test[:3] == ["CMD", "python", "-m"]
    assert _runs(test[3])
    port = _port(compose, name)
    assert test[4:] == [f"http://127.0.0.1:{port}/{path}" for path in ("readyz", "livez")]


def _runs(module: str) -> bool:
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    return spec.submodule_search_locations is None or importlib.util.find_spec(f"{module}.__main__") is not None


def _port(compose: dict[str, Any], name: str) -> str:
    ports = {"consent": "8801", "audit": "8802", "retention": "8803", "witness": "8807", "console": "8800"}
    default = ports.get(name)
    return default or compose["services"][name]["environment"]["DONGUI_HEALTH_PORT"]


def test_kafka_and_postgres_keep_their_data_in_volumes(compose: dict[str, Any], written: Path) -> None:
    kafka, postgres = compose["services"]["kafka"], compose["services"]["postgres"]
    properties = properties_of(written)
    assert f"kafka:{properties['log.dirs']}" in kafka["volumes"]
    assert "postgres:/var/lib/postgresql" in postgres["volumes"]
    assert properties["auto.create.topics.enable"] == "false"


def properties_of(written: Path) -> dict[str, str]:
    lines = (written / "secrets" / "kafka.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("name", [n for n in OURS if n != "witness"])
def test_each_container_logs_in_to_kafka_as_itself_and_may_only_what_its_row_says(
    name: str, compose: dict[str, Any], written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(compose, written, name, monkeypatch)
    wire.require_secure(settings)
    assert settings.kafka_username == name
    assert name == acls.SETUP or acls.table(AFFILIATES)[name]
    mine = {s for s in compose["services"][name]["secrets"] if s.startswith("kafka_")}
    assert mine == {f"kafka_{name}"} | ({"kafka_passwords"} if name == acls.SETUP else set())
    password = (written / compose["secrets"][f"kafka_{name}"]["file"]).read_text()
    assert password == json.loads((written / "secrets" / "kafka_passwords.json").read_bytes())[name]


def test_setup_has_a_password_for_every_principal_of_the_table(written: Path) -> None:
    known = json.loads((written / "secrets" / "kafka_passwords.json").read_bytes())
    assert known.keys() == {acls.BROKER, acls.SETUP, *acls.table(AFFILIATES)}
    assert len(set(known.values())) == len(known)


def test_kafka_is_closed_to_strangers_as_the_embedded_one_is(compose: dict[str, Any], written: Path) -> None:
    """The integration tests run the embedded one; only places differ."""
    found = properties_of(written)
    secured = Secured(Path("c"), Path("a"), "p")
    embedded = kafka_config.properties(Place(1, "127.0.0.1", "127.0.0.1", 1, 2, "1@127.0.0.1:2", 1, Path("d")), secured)
    places = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs", "ssl.keystore.location"}
    places |= {"ssl.truststore.location", "listener.name.clients.scram-sha-512.sasl.jaas.config"}
    assert {n: v for n, v in found.items() if n not in places} == {
        n: str(v) for n, v in embedded.items() if n not in places
    }
    assert found["allow.everyone.if.no.acl.found"] == "false"
    assert found["listener.security.protocol.map"] == "CLIENTS:SASL_SSL,CONTROLLER:SSL"
    mounted = {f"/run/secrets/{s}" for s in compose["services"]["kafka"]["secrets"]}
    script = (ROOT / "infra" / "kafka_start.sh").read_text()
    assert {found["ssl.keystore.location"], found["ssl.truststore.location"]} <= mounted
    named = {*re.findall(r"/run/secrets/[a-z_]+\b(?!\$)", script)} - {"/run/secrets/kafka_"}
    assert named <= mounted
    assert {f"/run/secrets/kafka_{who}" for who in re.findall(r"\$\(user (\w+)\)", script)} <= mounted


def test_certificates_are_for_the_names_that_clients_connect_to(compose: dict[str, Any], written: Path) -> None:
    for service, file in (("kafka", "broker.pem"), ("postgres", "postgres.pem")):
        leaf, issuer = x509.load_pem_x509_certificates((written / "secrets" / file).read_bytes())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [service]
        assert issuer.public_bytes(Encoding.PEM) == (written / "secrets" / "ca.pem").read_bytes()
        leaf.verify_directly_issued_by(issuer)
    options = compose["services"]["postgres"]["command"]
    assert {"ssl=on", "ssl_cert_file=/run/postgresql/server.pem"} <= set(options)


def test_the_authoritys_key_is_in_no_container(compose: dict[str, Any]) -> None:
    assert not [name for name, secret in compose["secrets"].items() if secret["file"].endswith("ca.key")]


def test_postgres_refuses_who_comes_over_the_network_without_tls(tmp_path: Path) -> None:
    """The image writes the line `host all all all`; the script runs on it as the image would run it."""
    (tmp_path / "pg_hba.conf").write_text(
        "local all all trust\nhost all all 127.0.0.1/32 trust\n\nhost all all all scram-sha-256\n"
    )
    script = ROOT / "infra" / "hostssl.sh"
    subprocess.run(["bash", str(script)], env={"PGDATA": str(tmp_path), "PATH": os.environ["PATH"]}, check=True)
    assert (tmp_path / "pg_hba.conf").read_text().splitlines()[-1] == "hostssl all all all scram-sha-256"
    (tmp_path / "pg_hba.conf").write_text("host all all all\n")
    done = subprocess.run(["bash", str(script)], env={"PGDATA": str(tmp_path), "PATH": os.environ["PATH"]}, check=False)
    assert done.returncode != 0, "a line it does not know must stop the image, not leave plain text open"


def test_what_is_named_is_defined(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert set(service.get("secrets", [])) <= compose["secrets"].keys(), name
        assert set(service.get("depends_on", {})) <= compose["services"].keys(), name
        sources = {v.partition(":")[0] for v in service.get("volumes", [])}
        assert {v for v in sources if not v.startswith("./")} <= compose["volumes"].keys(), name
        assert all((ROOT / v).exists() for v in sources if v.startswith("./")), name
        assert set(service.get("networks", [])) <= compose["networks"].keys(), name


def test_the_image_holds_everything_its_commands_import(compose: dict[str, Any]) -> None:
    """Follow our own imports from every command; each module must lie below a folder that the image copies."""
    copied = set(re.findall(r"^COPY (\S+) /app/", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    todo = [compose["services"][name]["command"][2] for name in OURS]
    todo += ["services.runtime.probe", "services.cli", *(f"services.commands.{group}" for group in cli.GROUPS)]
    seen: set[str] = set()
    outside: set[str] = set()
    while todo:
        module = todo.pop()
        for path in _files(module):
            if path in seen:
                continue
            seen.add(path)
            assert path.split("/")[0] in copied, path
            ours, others = _imports(path)
            todo += ours
            outside |= others
    assert {"services/consent/app.py", "services/propagator/app.py", "services/commands/setup.py"} <= seen
    locked = (ROOT / "requirements.lock").read_text().lower()
    names = {"faust": "faust-streaming", "mode": "mode-streaming", "argon2": "argon2-cffi"}
    names["opentelemetry"] = "opentelemetry-sdk"
    missing = {m for m in outside if f"\n{names.get(m, m.replace('_', '-'))}==" not in f"\n{locked}"}
    assert missing == set()


def _files(module: str) -> list[str]:
    path = ROOT / module.replace(".", "/")
    candidates = [path.with_suffix(".py"), path / "__init__.py", path / "__main__.py"]
    return [str(p.relative_to(ROOT)) for p in candidates if p.is_file()]


def _imports(path: str) -> tuple[list[str], set[str]]:
    """Return (our modules, third-party top-level packages) imported at the top of a file."""
    ours: list[str] = []
    others: set[str] = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            top = name.split(".")[0]
            if top in {"services", "schemas"}:
                ours.append(name)
            elif top not in sys.stdlib_module_names:
                others.add(top)
    return ours, others


def _compose_plugin() -> bool:
    try:
        return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def test_docker_compose_itself_accepts_the_file_where_it_is_installed(written: Path, compose: dict[str, Any]) -> None:
    assert {*OURS, "kafka", "postgres", "prometheus", "grafana"} == compose["services"].keys()
    if not _compose_plugin():
        return  # nothing to ask here; the other tests of this module have checked the same file
    target = written / "docker-compose.yml"
    target.write_bytes((ROOT / "docker-compose.yml").read_bytes())
    done = subprocess.run(["docker", "compose", "config", "--quiet"], capture_output=True, check=False, cwd=written)
    assert done.returncode == 0, done.stderr
