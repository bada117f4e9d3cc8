"""The Helm chart, read as helm renders it: what a cluster would be given is what our code needs, and nothing secret.

rendered.yaml was made by the real helm and names the digest of the chart it was made of; where helm is installed it is
made again and compared. The Kubernetes kinds are held against Kubernetes' own schemas, strictly.
"""

import importlib.util
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from infra.helm import render
from schemas.topics import all_topics
from services.devstack.provision import AFFILIATES
from services.devstack.topics import _new
from services.runtime import acls
from services.runtime.settings import DATABASES, Settings
from tests.architecture.test_compose import NEEDED

ROOT = Path(__file__).resolve().parents[2]
HELM = os.environ.get("HELM") or shutil.which("helm")
PROPAGATORS = [f"propagator-{a}" for a in AFFILIATES]
WORKLOADS = ("consent", "audit", "witness", "retention", "console", "notices", *PROPAGATORS)
OURS = ("setup", *WORKLOADS)
CUSTOM = {  # custom resources: their schemas are no part of Kubernetes' own
    "kafka.strimzi.io/v1": {"Kafka", "KafkaNodePool", "KafkaTopic", "KafkaUser"},
    "cert-manager.io/v1": {"Certificate"},
    "monitoring.coreos.com/v1": {"ServiceMonitor"},
}
BROKERS, IN_SYNC = 3, 2
Resource = dict[str, Any]


@pytest.fixture(scope="module")
def resources() -> list[Resource]:
    return [r for r in yaml.safe_load_all(render.RENDERED.read_text(encoding="utf-8")) if r]


def of_kind(resources: list[Resource], *kinds: str) -> dict[str, Resource]:
    found = {r["metadata"]["name"].removeprefix("dongui-"): r for r in resources if r["kind"] in kinds}
    return {re.sub(r"^(setup)-\d+$", r"\1", name): r for name, r in found.items()}


@pytest.fixture(scope="module")
def workloads(resources: list[Resource]) -> dict[str, Resource]:
    return of_kind(resources, "Deployment", "StatefulSet", "Job")


def pod(workload: Resource) -> Resource:
    found: Resource = workload["spec"]["template"]["spec"]
    return found


def main_container(workloads: dict[str, Resource], name: str) -> Resource:
    found: Resource = next(c for c in pod(workloads[name])["containers"] if c["name"] == name)
    return found


def test_the_rendered_file_is_of_the_chart_as_it_is() -> None:
    text = render.RENDERED.read_text(encoding="utf-8")
    assert f"sha256:{render.digest()}." in text.splitlines()[0], "the chart was changed: make chart"
    if HELM:
        assert render.render(HELM) == text


def test_there_is_a_workload_for_every_process(workloads: dict[str, Resource]) -> None:
    assert set(workloads) == set(OURS)


def test_every_resource_is_one_that_kubernetes_takes(resources: list[Resource]) -> None:
    """Kubernetes 1.37's own schemas; a field it does not know is an error."""
    known = json.loads((ROOT / "infra/helm/kubernetes.schema.json").read_text(encoding="utf-8"))
    found: list[str] = []
    for resource in resources:
        kind = f"{resource['apiVersion']}/{resource['kind']}"
        if resource["kind"] in CUSTOM.get(resource["apiVersion"], set()):
            continue
        validator = jsonschema_rs.validator_for({**known["kinds"][kind], "$defs": known["$defs"]})
        found += [f"{kind} {e.instance_path}: {e.message}" for e in validator.iter_errors(resource)]
    assert found == []


def test_the_schemas_find_an_unknown_field_and_a_wrong_type(workloads: dict[str, Resource]) -> None:
    known = json.loads((ROOT / "infra/helm/kubernetes.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema_rs.validator_for({**known["kinds"]["apps/v1/Deployment"], "$defs": known["$defs"]})
    wrong = json.loads(json.dumps(workloads["consent"]))
    assert validator.is_valid(wrong)
    for field, value in (("readOnlyRootFileSystem", True), ("runAsUser", "root")):
        pod(wrong)["containers"][0]["securityContext"] = {field: value}
        assert not validator.is_valid(wrong), field


PLACEHOLDERS = {
    "DONGUI_OWNER_DSNS": json.dumps(dict.fromkeys([*DATABASES, *AFFILIATES], "postgresql://placeholder")),
    "DONGUI_AFFILIATE_DSNS": json.dumps(dict.fromkeys(AFFILIATES, "postgresql://placeholder")),
    "DONGUI_AFFILIATE_TOKENS": json.dumps(dict.fromkeys(AFFILIATES, "placeholder")),
    "DONGUI_WITNESSES": json.dumps({"https://witness.example": "placeholder"}),
}


def variables(workloads: dict[str, Resource], name: str) -> dict[str, Resource]:
    return {v["name"]: v for v in main_container(workloads, name)["env"]}


def plain(workloads: dict[str, Resource], name: str) -> dict[str, str]:
    return {n: v["value"] for n, v in variables(workloads, name).items() if "value" in v}


@pytest.mark.parametrize("name", OURS)
def test_each_process_finds_every_setting_it_requires(
    name: str, workloads: dict[str, Resource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same list, written by hand from the composition roots, as for compose."""
    for variable in [v for v in os.environ if v.startswith("DONGUI_")]:
        monkeypatch.delenv(variable)
    for variable, entry in variables(workloads, name).items():
        monkeypatch.setenv(variable, entry.get("value") or PLACEHOLDERS.get(variable, "placeholder"))
    Settings().require(*sorted(NEEDED[name]))


@pytest.mark.parametrize("name", OURS)
def test_no_variable_is_one_that_nothing_reads(name: str, workloads: dict[str, Resource]) -> None:
    known = {f"DONGUI_{field.upper()}" for field in Settings.model_fields} | {"SSL_CERT_FILE"}
    assert variables(workloads, name).keys() - known == set()


def test_secrets_are_referred_to_and_never_written_down(
    resources: list[Resource], workloads: dict[str, Resource]
) -> None:
    assert not [r for r in resources if r["kind"] == "Secret"]
    secret = re.compile(r"Secret(Str)?\b")
    fields = {f"DONGUI_{n.upper()}" for n, f in Settings.model_fields.items() if secret.search(str(f.annotation))}
    assert {"DONGUI_CONSENT_DSN", "DONGUI_AFFILIATE_TOKENS", "DONGUI_KAFKA_PASSWORD"} <= fields
    for name in OURS:
        assert plain(workloads, name).keys() & fields == set(), name
    text = render.RENDERED.read_text(encoding="utf-8")
    assert not re.search(r"://[^/\s]+:[^/\s@]+@", text)
    assert "BEGIN" not in text


def secret_names(workloads: dict[str, Resource], name: str) -> set[str]:
    volumes = {v["secret"]["secretName"] for v in pod(workloads[name])["volumes"] if "secret" in v}
    entries = [v["valueFrom"]["secretKeyRef"]["name"] for v in variables(workloads, name).values() if "valueFrom" in v]
    return volumes | set(entries)


@pytest.mark.parametrize("name", OURS)
def test_each_process_reads_its_own_secret_its_own_kafka_login_and_its_own_certificate(
    name: str, workloads: dict[str, Resource]
) -> None:
    """`-cluster-ca-cert` is the cluster's public certificate, as Strimzi keeps it."""
    allowed = {f"dongui-{name}", f"dongui-{name}-tls", name, "dongui-cluster-ca-cert"}
    assert secret_names(workloads, name) <= allowed
    assert ("DONGUI_OWNER_DSNS" in variables(workloads, name)) == (name == "setup")


def test_the_documentation_lists_every_key_of_every_secret(workloads: dict[str, Resource]) -> None:
    told = (ROOT / "docs/kubernetes.md").read_text(encoding="utf-8")
    for name in OURS:
        line = next(one for one in told.splitlines() if one.startswith(f"| `dongui-{_row(name)}` |"))
        own = {v["valueFrom"]["secretKeyRef"]["key"] for v in variables(workloads, name).values() if _own(v, name)}
        own |= {
            item["key"]
            for volume in pod(workloads[name])["volumes"]
            if volume.get("secret", {}).get("secretName") == f"dongui-{name}"
            for item in volume["secret"]["items"]
        }
        assert {key for key in own if f"`{key}`" not in line} == set(), name


def _row(name: str) -> str:
    return "propagator-<affiliate>" if name in PROPAGATORS else name


def _own(variable: Resource, name: str) -> bool:
    return bool(variable.get("valueFrom", {}).get("secretKeyRef", {}).get("name") == f"dongui-{name}")


@pytest.mark.parametrize("name", OURS)
def test_every_container_is_unprivileged_with_a_read_only_root(name: str, workloads: dict[str, Resource]) -> None:
    spec = pod(workloads[name])
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] >= 10000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} <= container["resources"].keys()
        assert re.search(r":\d+\.\d+(\.\d+)?(-[a-z]+)?$", container["image"]), "pinned to a version"
        assert all("hostPath" not in volume for volume in spec["volumes"])
    mounted = {m["name"] for c in spec["containers"] for m in c["volumeMounts"]}
    claimed = {c["metadata"]["name"] for c in workloads[name]["spec"].get("volumeClaimTemplates", [])}
    assert mounted == {v["name"] for v in spec["volumes"]} | claimed


@pytest.mark.parametrize("name", OURS)
def test_every_file_a_setting_names_is_mounted(name: str, workloads: dict[str, Resource]) -> None:
    mounts = {m["mountPath"]: m["name"] for m in main_container(workloads, name)["volumeMounts"]}
    volumes = {v["name"]: v for v in pod(workloads[name])["volumes"]}
    for variable, value in plain(workloads, name).items():
        if variable.endswith("_FILE") and variable != "SSL_CERT_FILE":
            folder, _, file = value.rpartition("/")
            items = volumes[mounts[folder]].get("secret", {}).get("items")
            assert items is None or file in {item["path"] for item in items}, variable


@pytest.mark.parametrize("name", WORKLOADS)
def test_probes_ask_the_process_itself_and_commands_name_modules_that_are_there(
    name: str, workloads: dict[str, Resource]
) -> None:
    container = main_container(workloads, name)
    assert container["command"][:2] == ["python", "-m"]
    spec = importlib.util.find_spec(container["command"][2])
    assert spec is not None
    assert spec.submodule_search_locations is None or importlib.util.find_spec(f"{spec.name}.__main__")
    served = name not in {"notices", *PROPAGATORS}
    for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        port, scheme = (8443, "HTTPS") if served else (8810, "HTTP")
        assert container[probe]["httpGet"] == {"path": path, "port": port, "scheme": scheme}


def test_the_proxy_passes_on_to_the_port_each_process_listens_on(resources: list[Resource]) -> None:
    """The processes listen on loopback: what their settings say when nothing is set."""
    written = of_kind(resources, "ConfigMap")["proxy"]["data"]
    for name in ("consent", "audit", "retention", "witness", "console"):
        host, port = (Settings.model_fields[f"{name}_{what}"].default for what in ("host", "port"))
        assert f"proxy_pass http://{host}:{port};" in written[f"{name}.conf"]
        assert "access_log off;" in written[f"{name}.conf"]


def test_the_proxy_says_whom_it_serves_and_is_believed(
    workloads: dict[str, Resource], resources: list[Resource]
) -> None:
    """It comes from loopback; further gateways are named by who installs (network.gatewayRanges)."""
    served = {"consent", "audit", "retention", "witness", "console"}
    written = of_kind(resources, "ConfigMap")["proxy"]["data"]
    assert written.keys() == {f"{name}.conf" for name in served}
    for name in served:
        assert "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;" in written[f"{name}.conf"]
    told = {name: plain(workloads, name).get("DONGUI_TRUSTED_PROXIES") for name in OURS}
    assert {name for name in OURS if told[name]} == served
    assert {told[name] for name in served} == {'["127.0.0.1"]'}


def test_nothing_crosses_the_network_in_clear(workloads: dict[str, Resource], resources: list[Resource]) -> None:
    for name in OURS:
        told = plain(workloads, name)
        assert told["DONGUI_PROFILE"] == "production"
        assert {v for n, v in told.items() if n.endswith("_URL") and not v.startswith("https://")} == set()
        if "DONGUI_KAFKA" in told:
            assert told["DONGUI_KAFKA_SECURITY"] == "SASL_SSL"
            assert told["DONGUI_KAFKA_USERNAME"] == name
    broker = of_kind(resources, "Kafka")["dongui"]["spec"]["kafka"]
    assert [(one["tls"], one["authentication"]) for one in broker["listeners"]] == [(True, {"type": "scram-sha-512"})]
    assert broker["authorization"] == {"type": "simple"}, "no superuser, and what no ACL allows is denied"


def selected(workloads: dict[str, Resource], selector: Resource) -> set[str]:
    def labels(name: str) -> Resource:
        found: Resource = workloads[name]["spec"]["template"]["metadata"]["labels"]
        return found

    return {name for name in workloads if selector.items() <= labels(name).items()}


def test_budgets_services_and_monitors_each_select_one_workload(
    resources: list[Resource], workloads: dict[str, Resource]
) -> None:
    services = of_kind(resources, "Service")
    assert set(services) == set(WORKLOADS) == set(of_kind(resources, "ServiceMonitor"))
    assert set(of_kind(resources, "PodDisruptionBudget")) == set(WORKLOADS) - {"witness"}
    for name, service in services.items():
        assert selected(workloads, service["spec"]["selector"]) == {name}
    for kind in ("PodDisruptionBudget", "ServiceMonitor"):
        for name, resource in of_kind(resources, kind).items():
            assert selected(workloads, resource["spec"]["selector"]["matchLabels"]) == {name}
    for name, resource in of_kind(resources, "ServiceMonitor").items():
        ports = {p["name"] for p in services[name]["spec"]["ports"]}
        assert {e["port"] for e in resource["spec"]["endpoints"]} <= ports


def test_what_scales_is_there_and_scales_on_a_metric_that_our_code_exports(
    resources: list[Resource], workloads: dict[str, Resource]
) -> None:
    scaled = of_kind(resources, "HorizontalPodAutoscaler")
    assert set(scaled) == {"consent", *PROPAGATORS}
    exported = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "services").rglob("*.py"))
    for name, resource in scaled.items():
        target = resource["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == (workloads[name]["kind"], f"dongui-{name}")
        assert "replicas" not in workloads[name]["spec"], "two would set it"
        for metric in resource["spec"]["metrics"]:
            asked = metric.get("pods") or metric.get("external")
            if asked:
                assert f'Gauge("{asked["metric"]["name"]}"' in re.sub(r"\(\s+", "(", exported)
        if name in PROPAGATORS:
            most = max(t.partitions for t in all_topics(AFFILIATES))
            assert resource["spec"]["maxReplicas"] <= most, "a worker without a partition is idle"


def test_who_calls_whom_is_let_through_and_nobody_else(
    resources: list[Resource], workloads: dict[str, Resource]
) -> None:
    policies = of_kind(resources, "NetworkPolicy")
    assert selected(workloads, policies["deny"]["spec"]["podSelector"]["matchLabels"]) == set(OURS)
    assert "ingress" not in policies["deny"]["spec"]
    calls = {
        (name, target)
        for name in OURS
        for value in plain(workloads, name).values()
        for target in re.findall(r"^https://dongui-([a-z]+):8443$", value)
    }
    assert calls >= {("console", "audit"), ("propagator-tmax-os", "consent"), ("consent", "retention")}
    wanted = calls | {("audit", "witness")}
    assert {(name, to) for name in OURS for to in _peers(policies[name], "egress", "to")} == wanted
    assert {(of, name) for name in OURS for of in _peers(policies[name], "ingress", "from")} == wanted
    for name in OURS:
        assert selected(workloads, policies[name]["spec"]["podSelector"]["matchLabels"]) == {name}
    outside = {name for name in OURS if "0.0.0.0/0" in json.dumps(policies[name])}
    assert outside == {"notices"}, "third parties are told by one process only"


def _peers(policy: Resource, way: str, end: str) -> list[str]:
    peers = [peer for rule in policy["spec"].get(way) or [] for peer in rule[end]]
    labels = [peer.get("podSelector", {}).get("matchLabels", {}) for peer in peers]
    return [found["app.kubernetes.io/component"] for found in labels if "app.kubernetes.io/component" in found]


def test_the_topics_are_those_of_the_contract_and_two_brokers_hold_each_record(resources: list[Resource]) -> None:
    found = {r["metadata"]["name"]: r["spec"] for r in resources if r["kind"] == "KafkaTopic"}
    assert set(found) == {t.name for t in all_topics(AFFILIATES)}
    for topic in all_topics(AFFILIATES):
        made = _new(topic.name, topic, BROKERS)
        spec = found[topic.name]
        assert (spec["partitions"], spec["replicas"]) == (topic.partitions, BROKERS)
        assert {k: str(v) for k, v in spec["config"].items()} == made.topic_configs
    broker = of_kind(resources, "Kafka")["dongui"]["spec"]["kafka"]["config"]
    copies = {name: value for name, value in broker.items() if name.endswith("replication.factor")}
    assert set(copies.values()) == {BROKERS}
    assert {v for n, v in broker.items() if n.endswith(("min.isr", "insync.replicas"))} == {IN_SYNC}


def permissions(resources: list[Resource]) -> dict[str, set[str]]:
    found = {r["metadata"]["name"]: r["spec"]["authorization"]["acls"] for r in resources if r["kind"] == "KafkaUser"}
    assert all(acl["resource"]["patternType"] == "literal" for acls in found.values() for acl in acls)
    return {
        name: {
            f"{operation.upper()} {acl['resource']['type']} {acl['resource']['name']}"
            for acl in acls
            for operation in acl["operations"]
        }
        for name, acls in found.items()
    }


def test_each_login_may_do_what_the_embedded_broker_lets_it_do_and_no_more(resources: list[Resource]) -> None:
    """One table for the embedded broker, compose and the chart. `setup` is no superuser here: Strimzi makes topics."""
    allowed = {who: {f"{a.operation} {a.kind} {a.name}" for a in rows} for who, rows in acls.table(AFFILIATES).items()}
    allowed |= {acls.SETUP: {f"DESCRIBE topic {t.name}" for t in all_topics(AFFILIATES)}}
    assert permissions(resources) == allowed
