"""What schemathesis cannot know of our APIs; loaded by the tool itself (SCHEMATHESIS_HOOKS)."""

import uuid
from typing import Any

import schemathesis

BY_SCHEMA = frozenset(
    {
        "missing",
        "extra_forbidden",
        "string_type",
        "string_too_short",
        "string_too_long",
        "string_pattern_mismatch",
        "int_type",
        "int_parsing",
        "bool_type",
        "bool_parsing",
        "list_type",
        "dict_type",
        "too_short",
        "too_long",
        "literal_error",
        "greater_than_equal",
        "less_than_equal",
        "greater_than",
        "less_than",
        "model_type",
        "model_attributes_type",
    }
)
"""Refusals of a field that JSON Schema can express: who follows the document never meets them."""


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Give each request a key of its own: one key is one request, and a generator likes to repeat itself."""
    headers = case.headers or {}
    if case.method == "POST" and len(headers.get("Idempotency-Key", "")) > 1:
        headers["Idempotency-Key"] = str(uuid.uuid4())


@schemathesis.check
def shape_as_documented(context: Any, response: Any, case: Any) -> None:
    """A request that fits the document is never refused for its shape."""
    generated = getattr(case.meta, "generation", None)
    if generated is None or generated.mode.value != "positive" or response.status_code != 422:
        return
    errors = response.json().get("errors", [])
    undocumented = [error for error in errors if error["code"] in BY_SCHEMA]
    assert not undocumented, f"refused for a shape the document allows: {undocumented}"


@schemathesis.check
def problems_say_nothing_back(context: Any, response: Any, case: Any) -> None:
    """A refusal is a problem with a stable code, and repeats no value that was sent."""
    if response.status_code < 400 or "html" in response.headers.get("content-type", [""])[0]:
        return
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["code"]
    assert problem["detail"]
    told = response.text
    for value in _values(case.body):
        assert value not in told, "a problem repeats a value"


def _values(body: Any) -> list[str]:
    if isinstance(body, dict):
        return [found for one in body.values() for found in _values(one)]
    if isinstance(body, list):
        return [found for one in body for found in _values(one)]
    return [body] if isinstance(body, str) and len(body) > 12 else []
