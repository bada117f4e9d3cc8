"""The links of the OpenAPI document lead to operations that are there, by parameters that these have."""

from typing import Any

import pytest

from services.consent.links import LINKS
from tests.architecture.test_http_docs import applications


@pytest.fixture(scope="module")
def paths() -> dict[str, Any]:
    found: dict[str, Any] = applications()["consent"].openapi()["paths"]
    return found


def test_each_link_fits_the_operation_it_leads_to(paths: dict[str, Any]) -> None:
    for (method, path), links in LINKS.items():
        assert method.lower() in paths[path]
        for link in links.values():
            assert link["operationRef"].startswith("#/paths/")
            *escaped, verb = link["operationRef"].removeprefix("#/paths/").split("/")
            (place,) = escaped
            target = paths[place.replace("~1", "/").replace("~0", "~")][verb]
            taken = {p["name"] for p in target["parameters"] if p["in"] == "path"}
            assert set(link["parameters"]) == taken - {"purpose", "kind"}


def test_the_links_are_in_the_document(paths: dict[str, Any]) -> None:
    for (method, path), links in LINKS.items():
        shown = [r.get("links") for r in paths[path][method.lower()]["responses"].values() if "links" in r]
        assert shown == [dict(links)]


def test_headers_without_which_a_request_is_refused_are_required(paths: dict[str, Any]) -> None:
    def required(method: str, path: str) -> set[str]:
        parameters = paths[path][method].get("parameters", [])
        return {p["name"] for p in parameters if p["in"] == "header" and p["required"]}

    assert required("post", "/v1/members") == {"Idempotency-Key"}
    assert required("patch", "/v1/members/{ref}") == {"If-Match"}
    assert required("put", "/v1/members/{ref}/consents/{purpose}") == {"If-Match"}
    assert required("get", "/v1/members/{ref}") == set()


def test_what_needs_no_token_says_so(paths: dict[str, Any]) -> None:
    open_to_all = {path for path, ops in paths.items() for op in ops.values() if "security" not in op}
    assert open_to_all == {
        "/v1/consent-notices",
        "/v1/consent-notices/{version}",
        "/v1/guardian-methods",
        "/v1/opt-outs/{token}",
    }
