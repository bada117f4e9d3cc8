"""The JSON API that each process serves: bounds, problems, and an OpenAPI document that says what the service does."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI

from services.runtime import probes, problems, traced
from services.runtime.auth import Authenticator
from services.runtime.bounds import Bounded
from services.runtime.probes import Ready
from services.runtime.rates import Rates
from services.runtime.traced import NO_TELEMETRY

Links = Mapping[tuple[str, str], Mapping[str, Any]]
"""(method, path) of what makes something -> OpenAPI links to what can be done with it."""

PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; the texts are for people"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "code"],
                "properties": {"pointer": {"type": "string"}, "code": {"type": "string"}},
            },
        },
    },
}
PROBLEM: Final[dict[str, Any]] = {
    "description": "A problem (RFC 9457), in Korean or English; it never repeats the rejected value",
    "content": {"application/problem+json": {"schema": PROBLEM_SCHEMA}},
}
REQUIRED_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "Idempotency-Key": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
    "If-Match": {"type": "string", "pattern": '^(\\*|"[0-9]{1,19}"(, ?"[0-9]{1,19}")*)$'},
}


def other_forms(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route whose success may come in these forms beside JSON."""
    return {200: {"content": {one: {"schema": {"type": "string"}} for one in media_types}}}


class Api(FastAPI):
    """An application whose every refusal is a problem and is documented."""

    def __init__(
        self,
        *,
        title: str,
        summary: str,
        authenticator: Authenticator,
        rates: Rates,
        ready: Ready,
        links: Links | None = None,
    ) -> None:
        super().__init__(
            telemetry=NO_TELEMETRY,
            title=title,
            version="1",
            summary=summary,
            openapi_url="/openapi.json",
            docs_url=None,
            redoc_url=None,
            responses={"4XX": PROBLEM, 422: PROBLEM, 503: PROBLEM},
        )
        self._links = links or {}
        self.state.authenticator = authenticator
        self.state.rates = rates
        problems.install(self)
        probes.install(self, ready)
        self.add_middleware(Bounded)
        traced.install(self)

    def openapi(self) -> dict[str, Any]:
        """Return the document, with what FastAPI cannot know: which headers are required, and the links."""
        if self.openapi_schema is None:
            self.openapi_schema = described(super().openapi(), self._links)
        return self.openapi_schema


def described(document: dict[str, Any], links: Links) -> dict[str, Any]:
    """Complete an OpenAPI document in place."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", []):
                _plain(parameter["schema"])
                _require(method, parameter)
            if made := links.get((method.upper(), path)):
                success = next(found for code, found in operation["responses"].items() if code.startswith("2"))
                success["links"] = dict(made)
    return document


def _plain(schema: dict[str, Any]) -> None:
    """An absent parameter is absent: no URL and no header has a null."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind.get("type") != "null"]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema.update(kinds[0] | schema)


def _require(method: str, parameter: dict[str, Any]) -> None:
    """A handler asks for these itself, for an answer that says what to send."""
    name = parameter["name"]
    if parameter["in"] == "header" and name in REQUIRED_HEADERS:
        parameter["schema"] = {**REQUIRED_HEADERS[name], "title": name}
        parameter["required"] = method == "post" or name == "If-Match"
