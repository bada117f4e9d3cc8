"""What FastAPI calls for a request runs in the event loop: a plain `def` is sent to a thread and back, each time."""

import ast
import importlib
import inspect
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _named(path: Path) -> set[str]:
    """The names that a module hands to `Depends`."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    given = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Depends"]
    return {ast.unparse(one) for one in given}


def test_no_dependency_of_a_request_is_sent_to_a_thread() -> None:
    """Found by measuring: two of the audit log's were, and cost a tenth of a question's processor time."""
    found = {}
    for path in sorted((ROOT / "services").rglob("*.py")):
        module = (
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts)) if _named(path) else None
        )
        found |= {(path.name, name): getattr(module, name) for name in _named(path)}
    assert len(found) > 10  # the search finds what there is
    threads = [where for where, one in found.items() if not _in_loop(one)]
    assert threads == []


def _in_loop(one: object) -> bool:
    called = one if inspect.isfunction(one) else type(one).__call__
    return inspect.iscoroutinefunction(called)
