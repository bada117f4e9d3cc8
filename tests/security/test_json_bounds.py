"""JSON that is too deep, too much, or no JSON (F32): refused by a coded problem that repeats nothing."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from services.runtime import bounds
from tests.architecture.test_http_docs import applications
from tests.security.test_slow_and_large import an_api

pytestmark = pytest.mark.f(32)


def nested(levels: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * levels + closing * levels).encode()


async def answer_to(body: bytes, content_type: str = "application/json") -> httpx.Response:
    transport = httpx.ASGITransport(an_api())
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as http:
        return await http.post("/v1/echo", content=body, headers={"Content-Type": content_type})


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (nested(33), 422, "body_too_deep"),
        (nested(100_000), 422, "body_too_deep"),
        (nested(40_000, '{"a":', "}"), 422, "body_too_deep"),
        (b"[" * 200_000, 422, "body_too_deep"),
        (nested(32), 422, "invalid_field"),
        (b'{"text": NaN}', 400, "bad_json"),
        (b'{"text": -Infinity}', 400, "bad_json"),
        (b'{"text": "NaN"}', 200, None),
        (b'{"text": "\\ud800"}', 422, "invalid_field"),
        (b'{"\\ud800": 1}', 422, "invalid_field"),
        (b'{"text": "\\ud83d\\ude00 \\\\u0000"}', 200, None),
        (b'{"text": "\xff"}', 400, "bad_json"),
        (b'{"text": "a\x00b"}', 400, "bad_json"),
        (b'{"text": ' + b"9" * 100_000 + b"}", 400, "bad_json"),
        (b"", 422, "invalid_field"),
        (b"null", 422, "invalid_field"),
        (b'"' + b"\\" * 100_000, 400, "bad_json"),
        (b'"\\' * 100_000, 400, "bad_json"),
        (b'{"text": "x"} {}', 400, "bad_json"),
        ('{"text": "한글"}'.encode("utf-16"), 400, "bad_json"),
        ('{"text": "a\\u0000"}'.encode("utf-16-le"), 400, "bad_json"),
        ('{"text": "한글"}'.encode(), 200, None),
    ],
)
async def test_a_body_out_of_bounds_is_refused(body: bytes, status: int, code: str | None) -> None:
    answer = await answer_to(body)
    assert (answer.status_code, answer.json().get("code")) == (status, code)


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data; boundary=x", ""])
async def test_another_type_than_json_is_told_so(content_type: str) -> None:
    answer = await answer_to(b'{"text": "x"}', content_type)
    assert (answer.status_code, answer.json()["code"]) == (415, "not_json")


async def test_a_json_type_of_another_name_is_held_to_the_same_bounds() -> None:
    answer = await answer_to(nested(100), "application/vnd.example+json; charset=utf-8")
    assert answer.json()["code"] == "body_too_deep"


@pytest.mark.parametrize("levels", [1, 31, 32, 33, 64])
def test_brackets_inside_of_texts_are_no_depth(levels: int) -> None:
    assert bounds.depth(nested(levels)) == levels
    assert bounds.depth(json.dumps(["[{" * 100] * 50).encode()) == 1
    assert bounds.depth(json.dumps([['\\"[' * 40]]).encode()) == 2


def test_every_list_and_text_of_a_request_has_an_end() -> None:
    """Read from the documents: no body's list, map or text is without a bound that the service itself checks."""
    endless = []
    for name, api in applications().items():
        document = api.openapi()
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                for part, schema in _schemas(operation):
                    endless += _endless(document, schema, f"{name} {method} {path} {part}")
    assert endless == []


def _schemas(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the body and each parameter; those of the path are bounded by the wire, and parsed as references."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content:
        yield "body", content["schema"]
    for parameter in operation.get("parameters", []):
        if parameter["in"] != "path":
            yield f"?{parameter['name']}", parameter["schema"]


def _endless(document: dict[str, Any], schema: dict[str, Any], where: str) -> list[str]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _endless(document, document["components"]["schemas"][name], where)
    if branches := schema.get("anyOf") or schema.get("allOf") or schema.get("oneOf"):
        return [one for branch in branches for one in _endless(document, branch, where)]
    match schema.get("type"):
        case "string":
            bounded = {"maxLength", "enum", "const", "pattern", "format"} & schema.keys()
            return [] if bounded else [where]
        case "array":
            own = [] if "maxItems" in schema else [where + "[]"]
            return own + _endless(document, schema["items"], where + "/*")
        case "object":
            own = []
            if isinstance(schema.get("additionalProperties"), dict) and "maxProperties" not in schema:
                own = [where + "{}"]
            inner = schema.get("properties", {})
            return own + [one for n, s in inner.items() for one in _endless(document, s, f"{where}/{n}")]
        case _:
            return []
