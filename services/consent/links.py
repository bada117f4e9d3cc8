"""OpenAPI links: what can be done with what a request made, so that a client, or a test, can go on from an answer."""

from collections.abc import Mapping
from typing import Any, Final

REF: Final = {"ref": "$response.body#/member_ref"}
REQUEST: Final = {"request_id": "$response.body#/id"}
CHANGE: Final = {"change_id": "$response.body#/change_id"}


def _pointer(method: str, path: str) -> str:
    return f"#/paths/{path.replace('~', '~0').replace('/', '~1')}/{method.lower()}"


def _to(parameters: Mapping[str, str], *operations: str) -> dict[str, Any]:
    """Return links to operations written as `METHOD /path`, all with these parameters."""
    found = {}
    for operation in operations:
        method, path = operation.split(" ")
        name = "".join(c if c.isalnum() else "_" for c in f"{method}{path}")
        found[name] = {"operationRef": _pointer(method, path), "parameters": dict(parameters)}
    return found


OF_MEMBER: Final = (
    "GET /v1/members/{ref}",
    "PATCH /v1/members/{ref}",
    "PUT /v1/members/{ref}/consents/{purpose}",
    "POST /v1/members/{ref}/withdrawal",
    "POST /v1/members/{ref}/withdrawal/confirm",
    "POST /v1/members/{ref}/withdrawal/cancel",
    "GET /v1/members/{ref}/changes",
    "GET /v1/members/{ref}/as-of",
    "GET /v1/members/{ref}/reconsents",
    "GET /v1/members/{ref}/disclosures",
    "POST /v1/members/{ref}/disclosures",
    "POST /v1/members/{ref}/records",
    "GET /v1/members/{ref}/records",
    "POST /v1/members/{ref}/reveals",
    "POST /v1/members/{ref}/guardian",
    "POST /v1/members/{ref}/guardian/confirm",
    "POST /v1/members/{ref}/messages",
    "POST /v1/members/{ref}/source-notices",
    "PUT /v1/members/{ref}/messages/{kind}",
    "POST /v1/members/{ref}/activity",
    "GET /v1/members/{ref}/account-members",
    "POST /v1/members/{ref}/account-members",
)
OF_REQUEST: Final = (
    "GET /v1/rights-requests/{request_id}",
    *(f"POST /v1/rights-requests/{{request_id}}/{verb}" for verb in ("verify", "defer", "decide", "done", "withdraw")),
    "POST /v1/rights-requests/{request_id}/release",
    "POST /v1/rights-requests/{request_id}/evidence",
    "GET /v1/rights-requests/{request_id}/answer",
    "GET /v1/rights-requests/{request_id}/evidence",
    "GET /v1/rights-requests/{request_id}/retained-records",
)
OF_CHANGE: Final = ("GET /v1/changes/{change_id}", "GET /v1/changes/{change_id}/certificate")
OF_REPLAY: Final = (
    "GET /v1/replays/{replay_id}",
    *(f"POST /v1/replays/{{replay_id}}/{verb}" for verb in ("approve", "progress", "cancel")),
)
LINKS: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    ("POST", "/v1/members"): _to(REF, *OF_MEMBER) | _to(CHANGE, *OF_CHANGE),
    ("POST", "/v1/rights-requests"): _to(REQUEST, *OF_REQUEST),
    ("POST", "/v1/rights-requests/{request_id}/evidence"): _to(
        {"request_id": "$request.path.request_id", "evidence_id": "$response.body#/id"},
        "GET /v1/rights-requests/{request_id}/evidence/{evidence_id}",
    ),
    ("POST", "/v1/inquiries"): _to(
        {"ref": "$response.body#/id"}, "GET /v1/inquiries/{ref}", "POST /v1/inquiries/{ref}/answer"
    ),
    ("POST", "/v1/investigation-requests"): _to(
        {"ref": "$response.body#/id"},
        "GET /v1/investigation-requests/{ref}",
        "POST /v1/investigation-requests/{ref}/decide",
        "POST /v1/investigation-requests/{ref}/paper",
    ),
    ("POST", "/v1/replays"): _to({"replay_id": "$response.body#/replay_id"}, *OF_REPLAY),
    ("PATCH", "/v1/members/{ref}"): _to(CHANGE, *OF_CHANGE),
}
