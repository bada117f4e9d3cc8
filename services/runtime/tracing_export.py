"""Where spans go: to a collector by OTLP/HTTP, or into a file as OTLP/JSON lines, which a collector reads as well.

Imported only when traces are on.
"""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanContext


def provider(target: str, service: str, ratio: float, every_ms: int) -> TracerProvider:
    """Return a provider that exports to `file:PATH` or to an OTLP/HTTP URL, ending with the process.

    A trace that comes from outside keeps its caller's decision; of those that begin here `ratio` are sampled.
    """
    exporter = FileExporter(Path(target.removeprefix("file:"))) if target.startswith("file:") else _otlp(target)
    return over(BatchSpanProcessor(exporter, schedule_delay_millis=every_ms), service, ratio)


def over(processor: Any, service: str, ratio: float = 1.0) -> TracerProvider:
    """Return a provider with this span processor. The resource names the service, not the machine or the command."""
    resource = Resource({"service.name": service, "service.instance.id": str(uuid.uuid4())})
    made = TracerProvider(ParentBased(TraceIdRatioBased(ratio)), resource, span_limits=SpanLimits())
    made.add_span_processor(processor)
    return made


def _otlp(url: str) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter(endpoint=url)


class FileExporter(SpanExporter):
    """Appends one line of OTLP/JSON for each batch; processes may share the file, a line is one write."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write a batch; a full disk loses it and is said, as a collector that is away would be."""
        try:
            self._file.write(orjson.dumps(to_otlp(spans), option=orjson.OPT_APPEND_NEWLINE))
        except OSError:
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        self._file.close()


def to_otlp(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """Return spans of one process as OTLP/JSON: ids in hex, 64-bit numbers as text."""
    resource, scope = spans[0].resource, spans[0].instrumentation_scope
    group = {
        "resource": {"attributes": _attributes(resource.attributes)},
        "scopeSpans": [{"scope": {"name": scope.name if scope else ""}, "spans": [_span(span) for span in spans]}],
    }
    return {"resourceSpans": [group]}


def _span(span: ReadableSpan) -> dict[str, Any]:
    context, parent = span.get_span_context(), span.parent
    assert context is not None
    return {
        **_ids(context),
        **({"parentSpanId": f"{parent.span_id:016x}"} if parent else {}),
        "flags": int(context.trace_flags),
        "name": span.name,
        "kind": span.kind.value + 1,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": _attributes(span.attributes or {}),
        "links": [_ids(link.context) for link in span.links],
        "status": {"code": span.status.status_code.value},
    }


def _ids(context: SpanContext) -> dict[str, str]:
    return {"traceId": f"{context.trace_id:032x}", "spanId": f"{context.span_id:016x}"}


def _attributes(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in found.items()]


def _value(value: Any) -> dict[str, Any]:
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)}
