"""Writes kubernetes.schema.json: the part of Kubernetes' own API schemas that the chart's resources need.

`pip install kubernetes-validate==1.37.0`, then `python infra/helm/kubernetes_schemas.py`. The package holds every kind
of every version (70 MB); what is kept here is what a test reads in every run. Strict: an unknown field is an error.
"""

import json
import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

VERSION = "v1.37.0-local-strict"
HERE = Path(__file__).parent
KINDS = {
    "apps/v1/Deployment": "io.k8s.api.apps.v1.Deployment",
    "apps/v1/StatefulSet": "io.k8s.api.apps.v1.StatefulSet",
    "autoscaling/v2/HorizontalPodAutoscaler": "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    "batch/v1/Job": "io.k8s.api.batch.v1.Job",
    "networking.k8s.io/v1/NetworkPolicy": "io.k8s.api.networking.v1.NetworkPolicy",
    "policy/v1/PodDisruptionBudget": "io.k8s.api.policy.v1.PodDisruptionBudget",
    "v1/ConfigMap": "io.k8s.api.core.v1.ConfigMap",
    "v1/Service": "io.k8s.api.core.v1.Service",
}
REFERENCE = re.compile(r"^.*#/(?:\$defs|definitions)/")


def main() -> None:
    """Write the file beside this one."""
    place = files("kubernetes_validate") / "kubernetes-json-schema" / VERSION / "_definitions.json"
    found = json.loads(place.read_text(encoding="utf-8"))
    every = found.get("$defs") or found["definitions"]
    kept: dict[str, Any] = {}
    todo = sorted(KINDS.values())
    while todo:
        name = todo.pop()
        if name not in kept:
            kept[name] = bare(every[name])
            todo += sorted(set(references(kept[name])))
    told = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Kubernetes {VERSION[:5]} API (Apache-2.0), by kubernetes_schemas.py",
        "kinds": {kind: {"$ref": f"#/$defs/{name}"} for kind, name in KINDS.items()},
        "$defs": dict(sorted(kept.items())),
    }
    text = json.dumps(told, separators=(",", ":"))
    (HERE / "kubernetes.schema.json").write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(kept)} definitions, {len(text)} bytes\n")


def bare(node: Any) -> Any:
    """Return a schema without its prose, its references pointing into this file."""
    if isinstance(node, list):
        return [bare(one) for one in node]
    if not isinstance(node, dict):
        return node
    kept = {k: bare(v) for k, v in node.items() if not (k == "description" and isinstance(v, str))}
    if isinstance(kept.get("$ref"), str):
        kept["$ref"] = REFERENCE.sub("#/$defs/", kept["$ref"])
    return {k: v for k, v in kept.items() if not k.startswith("x-")}


def references(node: Any) -> list[str]:
    """Return the names of the definitions a schema refers to."""
    if isinstance(node, list):
        return [name for one in node for name in references(one)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"].removeprefix("#/$defs/")] if isinstance(node.get("$ref"), str) else []
    return own + [name for one in node.values() for name in references(one)]


if __name__ == "__main__":
    main()
