"""What docs/http.md says about who may call is what the service does: each GET, asked by each role."""

import uuid

import pytest

from tests.architecture.test_http_docs import rows
from tests.integration.consent.harness import Service, a_token, bearer

STAFF, OFFICERS = {"compliance", "cpo", "sre"}, {"compliance", "cpo"}
WORDS = {
    "service": {"service"},
    "staff": STAFF,
    "officers": OFFICERS,
    "handlers": {"service"} | OFFICERS,
    "member": {"member"},
    "affiliate": {"affiliate"},
    "desk": {"affiliate_desk"},
    "third party": {"third_party"},
    "notices": {"notices"},
    "auditor": {"auditor"},
    "sre": {"sre"},
    "as the request itself": {"service", "member", "affiliate", "affiliate_desk"} | OFFICERS,
}
ROLES = ("service", *sorted(STAFF), "auditor", "member", "affiliate", "affiliate_desk", "third_party", "notices")
REF = str(uuid.uuid4())
SUBJECTS = {"member": REF, "affiliate": "tmax-os", "affiliate_desk": "tmax-os", "third_party": "demo-partner"}
QUERIES = {
    "/v1/decisions": {"recipient": "tmax-os", "purpose": "P1.1", "member_ref": REF},
    "/v1/affected": {"from": "2026-01-01T00:00:00+09:00"},
    "/v1/investigation-reports": {"half": "2026H1"},
    "/v1/records/schedule": {"until": "2027-01-01"},
    "/v1/affiliates/{affiliate}/digests": {"salt": "0123456789abcdef"},
}
ELSEWHERE = ("/v1/audit/", "/v1/retention/")
"""Of the other services."""
READS = [(path, who) for method, path, who in rows() if method == "GET" and not path.startswith(ELSEWHERE)]


def named(who: str) -> set[str]:
    """The roles of a cell of the page."""
    return set(ROLES) if "anybody" in who else {role for word, roles in WORDS.items() if word in who for role in roles}


@pytest.mark.f(30)
@pytest.mark.parametrize(("path", "who"), READS, ids=[path for path, _ in READS])
async def test_a_read_is_open_to_the_roles_the_page_names_and_to_no_other(silent: Service, path: str, who: str) -> None:
    """Nobody's record is there: who may ask gets an answer or 404, who may not gets 403."""
    own = {"{affiliate}": SUBJECTS["affiliate"]}
    parts = [own.get(part, REF) if part.startswith("{") else part for part in path.split("/")]
    refused = set()
    for role in ROLES:
        headers = bearer(a_token(SUBJECTS.get(role, role), role))
        answer = await silent.http.get("/".join(parts), params=QUERIES.get(path), headers=headers)
        assert answer.status_code != 500
        refused |= {role} if answer.status_code == 403 else set()
    assert refused == set(ROLES) - named(who)
