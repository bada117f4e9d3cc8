"""Traces: context in and out, one span per sampled record, a replay that only links, and nothing personal in any."""

import base64
import timeit
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import orjson
import pytest
from fastapi import APIRouter, FastAPI
from google.protobuf import json_format
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from services.runtime import problems, traced, tracing, tracing_export
from services.runtime.settings import Settings
from services.runtime.tracing import TracesSettingError

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE_ID}-{SPAN_ID}-01", f"00-{TRACE_ID}-{SPAN_ID}-00"
REF = "01a20ff2-3efa-7672-94f5-420dd68eba32"
SECRET = "haneul@example.kr"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.begin(tracing_export.over(SimpleSpanProcessor(exporter), "test"))
    yield exporter
    tracing.stop()


def finished(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    return list(exporter.get_finished_spans())


def parent_of(span: ReadableSpan) -> tuple[str, str]:
    assert span.parent is not None
    return f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}"


def a_record(traceparent: str | None, offset: int = 0) -> Any:
    headers = [("ce_id", b"x"), ("ce_changeid", REF.encode())]
    headers += [("traceparent", traceparent.encode())] if traceparent else []
    return SimpleNamespace(topic="dongui.facts.v1", partition=3, offset=offset, headers=headers, value=SECRET.encode())


def an_app() -> FastAPI:
    app, router = FastAPI(telemetry=traced.NO_TELEMETRY), APIRouter()

    @router.get("/v1/members/{ref}")
    async def read(ref: str) -> dict[str, str | None]:
        with tracing.span("commit change"):
            return {"traceparent": tracing.traceparent()}

    @router.get("/v1/broken")
    async def broken() -> None:
        raise ValueError(SECRET)

    app.include_router(router)
    problems.install(app)
    traced.install(app)
    return app


async def ask(path: str, traceparent: str | None = None) -> httpx.Response:
    transport = httpx.ASGITransport(an_app(), raise_app_exceptions=False)
    headers = {"traceparent": traceparent} if traceparent else {}
    async with httpx.AsyncClient(transport=transport, base_url="http://consent") as client:
        return await client.get(path, headers=headers)


async def test_a_request_continues_its_callers_trace_and_says_the_template(spans: InMemorySpanExporter) -> None:
    answer = await ask(f"/v1/members/{REF}?email={SECRET}", SAMPLED)
    commit, request = finished(spans)
    assert parent_of(request) == (TRACE_ID, SPAN_ID)
    assert (request.name, request.kind) == ("GET /v1/members/{ref}", SpanKind.SERVER)
    assert dict(request.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/v1/members/{ref}",
        "http.response.status_code": 200,
    }
    assert commit.parent == request.get_span_context()
    version, trace_id, span_id, flags = answer.json()["traceparent"].split("-")
    context = commit.get_span_context()
    assert context is not None
    assert (version, trace_id, span_id) == ("00", TRACE_ID, f"{context.span_id:016x}")
    assert int(flags, 16) & 1


async def test_a_callers_decision_against_a_trace_is_kept_and_passed_on(spans: InMemorySpanExporter) -> None:
    answer = await ask(f"/v1/members/{REF}", UNSAMPLED)
    assert finished(spans) == []
    assert answer.json()["traceparent"].startswith(f"00-{TRACE_ID}-")
    assert int(answer.json()["traceparent"][-2:], 16) & 1 == 0


def test_what_is_asked_of_another_service_carries_the_open_span(spans: InMemorySpanExporter) -> None:
    assert tracing.headers() == {}
    with tracing.span("screen", parent=SAMPLED):
        told = tracing.headers()
    (span,) = finished(spans)
    context = span.get_span_context()
    assert context is not None
    assert told["traceparent"][:53] == f"00-{TRACE_ID}-{context.span_id:016x}-"


@pytest.mark.parametrize("told", [None, "nonsense", f"00-{'0' * 32}-{SPAN_ID}-01"])
async def test_without_a_good_traceparent_a_trace_begins(spans: InMemorySpanExporter, told: str | None) -> None:
    await ask(f"/v1/members/{REF}", told)
    assert finished(spans)[-1].parent is None


async def test_an_error_is_told_by_its_class_and_never_by_its_text(spans: InMemorySpanExporter) -> None:
    assert (await ask("/v1/broken")).status_code == 500
    (request,) = finished(spans)
    assert (request.attributes or {})["error.type"] in {"500", "ValueError"}
    assert not request.status.is_ok
    assert list(request.events) == []
    assert SECRET not in request.to_json()


@pytest.mark.parametrize(("path", "name"), [("/livez", None), (f"/v1/nothing/{REF}", "GET")])
async def test_a_path_is_never_told(spans: InMemorySpanExporter, path: str, name: str | None) -> None:
    await ask(path)
    assert [span.name for span in finished(spans)] == ([name] if name else [])
    assert all(REF not in span.to_json() for span in finished(spans))


def test_each_sampled_record_of_a_batch_has_a_span_below_its_own_trace(spans: InMemorySpanExporter) -> None:
    other = SAMPLED.replace("0af7", "1bf7")
    batch = [a_record(SAMPLED, 7), a_record(UNSAMPLED, 8), a_record(None, 9), a_record(other, 10), a_record("x", 11)]
    with tracing.processing(batch, "group"):
        assert finished(spans) == []  # they end with the block: the COMMIT
    first, second = finished(spans)
    assert parent_of(first) == (TRACE_ID, SPAN_ID)
    assert parent_of(second)[0].startswith("1bf7")
    assert dict(first.attributes or {}) == {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": "dongui.facts.v1",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 7,
        "messaging.consumer.group.name": "group",
        "messaging.batch.message_count": 5,
        "dongui.change_id": REF,
    }


@pytest.mark.parametrize("told", [SECRET.encode(), b"\xff\xfe", b"", None])
def test_a_header_that_is_no_id_is_not_said(spans: InMemorySpanExporter, told: bytes | None) -> None:
    record = a_record(SAMPLED)
    record.headers[1] = ("ce_changeid", told)
    with tracing.processing([record], "group"):
        pass
    (span,) = finished(spans)
    assert "dongui.change_id" not in (span.attributes or {})


def test_a_failed_batch_is_told_by_the_errors_class(spans: InMemorySpanExporter) -> None:
    with pytest.raises(RuntimeError), tracing.processing([a_record(SAMPLED)], "group"):
        raise RuntimeError(SECRET)
    (span,) = finished(spans)
    assert (span.attributes or {})["error.type"] == "RuntimeError"
    assert SECRET not in span.to_json()


def test_a_replay_is_a_trace_of_its_own_that_links_to_the_old_ones(spans: InMemorySpanExporter) -> None:
    with tracing.processing([a_record(SAMPLED), a_record(SAMPLED), a_record(UNSAMPLED)], "replay", again=True):
        pass
    (span,) = finished(spans)
    context = span.get_span_context()
    assert span.parent is None
    assert context is not None
    assert f"{context.trace_id:032x}" != TRACE_ID
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [TRACE_ID]


def test_a_replay_of_what_was_not_traced_makes_no_span(spans: InMemorySpanExporter) -> None:
    with tracing.processing([a_record(UNSAMPLED), a_record(None)], "replay", again=True):
        pass
    assert finished(spans) == []


def test_the_relays_span_is_below_the_row_and_leaves_its_headers_alone(spans: InMemorySpanExporter) -> None:
    headers = {"traceparent": SAMPLED, "ce_changeid": REF}
    with tracing.sending([("dongui.facts.v1", headers), ("dongui.facts.v1", {}), ("x", {"traceparent": UNSAMPLED})]):
        pass
    (span,) = finished(spans)
    assert (span.name, span.kind, parent_of(span)) == ("send dongui.facts.v1", SpanKind.PRODUCER, (TRACE_ID, SPAN_ID))
    assert headers == {"traceparent": SAMPLED, "ce_changeid": REF}


def test_while_traces_are_off_nothing_is_made_and_next_to_nothing_is_spent() -> None:
    assert not tracing.is_on()
    assert tracing.traceparent() is None
    with tracing.span("x", parent=SAMPLED) as opened:
        assert opened is None
        assert tracing.traceparent() is None
    batch = [a_record(SAMPLED) for _ in range(1000)]

    def applied() -> None:
        with tracing.processing(batch, "group"):
            pass

    # Its cost may not depend on the size of the batch: 1,000 headers looked at would take 100 times as long.
    assert min(timeit.repeat(applied, number=100, repeat=5)) / 100 < 50e-6


def test_nobody_else_gets_our_provider(spans: InMemorySpanExporter) -> None:
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


@pytest.mark.parametrize("traces", ["otlp", "file:", "ftp://collector/", "http://collector.example:4318/v1/traces"])
def test_a_place_that_is_none_or_not_safe_is_refused_at_the_start(traces: str) -> None:
    with pytest.raises(TracesSettingError, match="DONGUI_TRACES"):
        tracing.start(Settings(traces=traces), "test")
    assert not tracing.is_on()


def test_a_file_has_lines_that_are_otlp(tmp_path: Path) -> None:
    path = tmp_path / "below" / "traces.jsonl"
    tracing.start(Settings(traces=f"file:{path}"), "dongui-test")
    with tracing.span("outer", SpanKind.CLIENT, {"http.response.status_code": 503}, parent=SAMPLED) as opened:
        tracing.fail(opened, "503")
    with tracing.processing([a_record(SAMPLED)], "replay", again=True):
        pass
    tracing.stop()
    (line,) = path.read_bytes().splitlines()
    # An independent reader: OpenTelemetry's own messages, whose JSON has ids in base64 where OTLP's has hex.
    told = json_format.ParseDict(_base64_ids(orjson.loads(line)), TracesData())
    (group,) = told.resource_spans
    assert {a.key: a.value.string_value for a in group.resource.attributes}["service.name"] == "dongui-test"
    outer, replayed = group.scope_spans[0].spans
    assert (outer.trace_id.hex(), outer.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
    assert (outer.kind, outer.status.code) == (outer.SPAN_KIND_CLIENT, outer.status.STATUS_CODE_ERROR)
    assert {a.key: a.value.int_value for a in outer.attributes}["http.response.status_code"] == 503
    assert outer.end_time_unix_nano >= outer.start_time_unix_nano > 0
    assert replayed.links[0].trace_id.hex() == TRACE_ID


def _base64_ids(found: Any) -> Any:
    if isinstance(found, list):
        return [_base64_ids(one) for one in found]
    if not isinstance(found, dict):
        return found
    return {
        key: base64.b64encode(bytes.fromhex(value)).decode()
        if key.endswith(("traceId", "panId"))
        else _base64_ids(value)
        for key, value in found.items()
    }
