"""Every metric the code makes, read from the code: what the page, the alerts and the dashboards are held against."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KINDS = {"Counter": "counter", "Gauge": "gauge", "Histogram": "histogram", "Summary": "summary"}
PROCESSES = {
    "services/consent/": "consent",
    "services/propagator/notices/": "notices",
    "services/propagator/": "propagator",
    "services/audit/witness/": "witness",
    "services/audit/": "audit",
    "services/retention/": "retention",
    "services/console/": "console",
    "services/runtime/": "every",
}
SHARED = {"services/propagator/agents.py", "services/propagator/watchdog.py", "services/propagator/transport.py"}
"""What the notices process runs too."""


@dataclass(frozen=True)
class Metric:
    """One metric as it is exported: a counter's name ends in `_total`."""

    name: str
    kind: str
    labels: tuple[str, ...]
    what: str
    process: str
    path: str


def all_metrics() -> list[Metric]:
    """Return every metric by name; raise AssertionError when a name is made twice."""
    found = sorted((m for path in sorted((ROOT / "services").rglob("*.py")) for m in _of(path)), key=lambda m: m.name)
    names = [m.name for m in found]
    assert len(names) == len(set(names)), "a metric is made twice"
    return found


def _of(path: Path) -> Iterator[Metric]:
    where = str(path.relative_to(ROOT))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        made = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        if made in KINDS and isinstance(node, ast.Call) and node.args and _is_ours(node.args[0]):
            yield _metric(node, KINDS[made], where)


def _is_ours(name: ast.expr) -> bool:
    return isinstance(name, ast.Constant) and str(name.value).startswith("dongui_")


def _metric(node: ast.Call, kind: str, where: str) -> Metric:
    name, what = str(ast.literal_eval(node.args[0])), _text(node.args[1])
    labels = tuple(ast.literal_eval(node.args[2])) if len(node.args) > 2 else ()
    prefix = next(p for p in PROCESSES if where.startswith(p))
    process = "propagator, notices" if where in SHARED else PROCESSES[prefix]
    return Metric(name + "_total" * (kind == "counter"), kind, labels, what, process, where)


def _text(node: ast.expr) -> str:
    """The description; a number that is put into it stands as its name."""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(p.value) if isinstance(p, ast.Constant) else ast.unparse(p.value)
            for p in node.values  # type: ignore[attr-defined]
        )
    return str(ast.literal_eval(node))


def table() -> list[str]:
    """Return the rows that docs/metrics.md must have."""
    rows = []
    for m in all_metrics():
        labels = ", ".join(f"`{label}`" for label in m.labels)
        rows.append(f"| `{m.name}` | {m.kind} | {labels} | {m.what} | {m.process} |")
    return rows


if __name__ == "__main__":
    print("\n".join(table()))
