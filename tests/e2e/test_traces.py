"""One change is one trace, from the request to every store's COMMIT and to the webhook; and it names nobody."""

import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from schemas.topics import FACTS, NOTICES, affiliate_topic
from services.runtime.tracing import Attribute
from tests.e2e.client import HOST, Client, until
from tests.support.canaries import Canaries
from tests.support.expected import AFFILIATES, PARTNER

STORE_TIME = "SELECT extract(epoch FROM applied_at) * 1e9 FROM member WHERE member_ref = $1"


@dataclass(frozen=True)
class Span:
    """A span as some process exported it."""

    service: str
    name: str
    id: str
    parent: str | None
    start: int
    end: int
    said: dict[str, Any]


def spans_of(file: Path, trace_id: str) -> list[Span]:
    """Read what all processes wrote of one trace."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    groups = [group for line in lines if trace_id in line for group in json.loads(line)["resourceSpans"]]
    return [
        _span(plain(group["resource"]["attributes"])["service.name"], span)
        for group in groups
        for scope in group["scopeSpans"]
        for span in scope["spans"]
        if span["traceId"] == trace_id
    ]


def _span(service: str, told: dict[str, Any]) -> Span:
    times = int(told["startTimeUnixNano"]), int(told["endTimeUnixNano"])
    return Span(service, told["name"], told["spanId"], told.get("parentSpanId"), *times, plain(told["attributes"]))


def plain(attributes: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in attributes}


def a_traceparent() -> tuple[str, str, str]:
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    return trace_id, span_id, f"00-{trace_id}-{span_id}-01"


async def complete(client: Client, trace_id: str, wanted: set[tuple[str, str]]) -> list[Span]:
    """Wait until every process has exported what it did."""
    file = client.system.base_dir / "traces.jsonl"

    async def whole() -> Any:
        found = spans_of(file, trace_id)
        return found if wanted <= {(s.service, s.name) for s in found} else None

    found: list[Span] = await until(whole)
    return found


async def test_a_change_is_one_trace_from_the_request_to_every_commit_and_to_the_webhook(client: Client) -> None:
    ref = (await client.sign_up(profiles=[HOST]))["member_ref"]
    given = {"recipient": PARTNER, "items": ["email"], "purpose": "P1.1", "basis": "consent"}
    await client.ask("POST", f"/v1/members/{ref}/disclosures", given)
    trace_id, caller, traceparent = a_traceparent()
    began = time.time_ns()
    body = {"email": f"new-{ref}@example.kr"}
    change = await client.ask("PATCH", f"/v1/members/{ref}", body, seq=1, traceparent=traceparent)
    await client.followed(change["change_id"])
    topics = [*map(affiliate_topic, AFFILIATES), FACTS, NOTICES]
    found = await complete(
        client,
        trace_id,
        {
            *((f"dongui-propagator-{a}", f"process {affiliate_topic(a)}") for a in AFFILIATES),
            *(("dongui-consent", f"send {topic}") for topic in topics),
            ("dongui-consent", "PATCH /v1/members/{ref}"),
            ("dongui-notices", "POST webhook"),
            ("dongui-audit", f"process {FACTS}"),
        },
    )
    named = {span.name: span for span in found}
    request, commit, webhook = (named[n] for n in ("PATCH /v1/members/{ref}", "commit change", "POST webhook"))
    assert (request.parent, commit.parent) == (caller, request.id)
    assert request.said["http.response.status_code"] == "200"
    after = [span for span in found if span not in (request, commit)]
    assert {span.parent for span in after} == {commit.id}
    assert began < request.start < commit.start < commit.end < request.end
    for affiliate in AFFILIATES:
        span = named[f"process {affiliate_topic(affiliate)}"]
        applied = await (await client.pool(affiliate)).fetchval(STORE_TIME, ref)
        assert span.start <= int(applied) <= span.end, "the span has the transaction in it"
        assert span.said["dongui.change_id"] == change["change_id"]
    assert (webhook.said["dongui.recipient"], webhook.said["http.response.status_code"]) == (PARTNER, "200")
    received = (await client.ask("GET", "/received", service="partner_url"))["received"]
    (told,) = [one for one in received if one["message"]["data"]["change_id"] == change["change_id"]]
    assert told["traceparent"][:53] == f"00-{trace_id}-{webhook.id}-"


async def test_no_span_of_a_whole_life_says_anything_of_the_member(client: Client) -> None:
    canaries = Canaries()
    trace_id, _, traceparent = a_traceparent()
    traced = {"traceparent": traceparent}
    profile = HOST | {"phone": canaries.phone(), "department": canaries.text("dept"), "title": canaries.text("title")}
    body = {
        "email": f"{canaries.marker}@example.kr",
        "password": f"pw {canaries.marker}",
        "name": canaries.hangul,
        "profiles": [profile],
        "consents": {"collection": True, "sharing": True},
        "notice_version": "2021-02-22",
    }
    made = await client.ask("POST", "/v1/members", body, **traced)
    ref = made["member_ref"]
    given = {"recipient": PARTNER, "items": ["email", "name"], "purpose": "P1.1", "basis": "consent"}
    await client.ask("POST", f"/v1/members/{ref}/disclosures", given, **traced)
    await client.ask("GET", f"/v1/members/{ref}", **traced)
    assert (await client.answer("POST", "/v1/members", body, **traced)).status_code == 409
    refused = await client.answer("PATCH", f"/v1/members/{ref}", {"phone": canaries.phone()}, seq=1, **traced)
    assert refused.status_code == 422
    await client.followed(made["change_id"])
    corrected = {"email": f"new-{canaries.marker}@example.kr", "name": f"{canaries.hangul}나"}
    change = await client.ask("PATCH", f"/v1/members/{ref}", corrected, seq=1, **traced)
    await client.followed(change["change_id"])
    for step in ("withdrawal", "withdrawal/confirm"):
        last = await client.ask("POST", f"/v1/members/{ref}/{step}", **traced)
    await client.followed(last["change_id"])
    confirmed = "POST /v1/members/{ref}/withdrawal/confirm"
    wanted = {("dongui-consent", confirmed), ("dongui-notices", "POST webhook"), ("dongui-audit", f"process {FACTS}")}
    found = await complete(client, trace_id, wanted)
    assert len(found) >= 30
    assert {name for span in found for name in span.said} <= set(get_args(Attribute))
    written = (client.system.base_dir / "traces.jsonl").read_bytes()
    for personal in (canaries.marker, canaries.hangul, *canaries.phones, ref):
        assert personal.encode() not in written, personal[:2]
        assert json.dumps(personal).strip('"').encode() not in written
