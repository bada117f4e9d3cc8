"""What schemathesis cannot know of our APIs; loaded by the tool itself (SCHEMATHESIS_HOOKS)."""

import json
import os
import uuid
from typing import Any

import schemathesis

from tests.security.places import World

WORLD = World(json.loads(os.environ["DONGUI_WORLD"]))
"""What is there to be found, so that requests get further than to 404."""

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
    """Give each request a key of its own: one key is one request, and a generator likes to repeat itself.

    Of the requests that fit the document, most are made to be about something that exists.
    """
    headers = case.headers or {}
    if case.method == "POST" and len(headers.get("Idempotency-Key", "")) > 1:
        headers["Idempotency-Key"] = str(uuid.uuid4())
    if mode_of(case) == "positive" and len(str(case.body)) % 4:
        _place(case)
        if isinstance(case.body, dict):
            _make_real(case)


def mode_of(case: Any) -> str:
    """Return `positive` or `negative`; empty when nobody generated the case."""
    generated = getattr(case.meta, "generation", None)
    return str(generated.mode.value) if generated else ""


def _place(case: Any) -> None:
    names = case.operation.path.split("/")
    concrete = WORLD.path(case.operation.path).split("/")
    real = {name[1:-1]: value for name, value in zip(names, concrete, strict=True) if name.startswith("{")}
    for name, value in (case.path_parameters or {}).items():
        if not _is_reference(value):  # a link may have put one there
            case.path_parameters[name] = real.get(name, value)


def _is_reference(value: Any) -> bool:
    try:
        return uuid.UUID(str(value)).int > 0
    except ValueError:
        return False


def _make_real(case: Any) -> None:
    if "member_ref" in case.body:
        case.body["member_ref"] = WORLD.ids["member"]
    if case.operation.label == "POST /v1/members":
        case.body |= {"email": f"{uuid.uuid4().hex}@example.com", "notice_version": "2021-02-22", "profiles": []}
        case.body["consents"] = {"collection": True, "sharing": True}
        for name in ("birth_date", "age_declaration", "notice_locale"):
            case.body.pop(name, None)


@schemathesis.check
def shape_as_documented(context: Any, response: Any, case: Any) -> None:
    """A request that fits the document is never refused for its shape."""
    if mode_of(case) != "positive" or response.status_code != 422:
        return
    errors = response.json().get("errors", [])
    undocumented = [error for error in errors if error["code"] in BY_SCHEMA]
    assert not undocumented, f"refused for a shape the document allows: {undocumented}"


@schemathesis.check
def problems_say_nothing_back(context: Any, response: Any, case: Any) -> None:
    """A problem has a stable code, and repeats no value that was sent; whether one is due, the document says."""
    if "problem+json" not in response.headers.get("content-type", [""])[0]:
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
