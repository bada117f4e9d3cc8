"""Traces: the one module that talks to OpenTelemetry. Off unless DONGUI_TRACES says where the spans go.

Spans are made by hand at the seams, and `Attribute` is all that one may say: no URL, SQL text, message of an error or
reference of a member gets into it. The trace context travels in each record's own `traceparent`, which is made with
the record and never rewritten: it is part of what the audit log hashes. docs/tracing.md, docs/decisions/0015.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from schemas.envelope import CHANGE_ID, TRACE, TRACEPARENT, UUID
from services.runtime.settings import Settings

Attribute = Literal[
    "http.request.method",
    "http.route",
    "http.response.status_code",
    "http.request.resend_count",
    "messaging.system",
    "messaging.operation.type",
    "messaging.operation.name",
    "messaging.destination.name",
    "messaging.destination.partition.id",
    "messaging.kafka.offset",
    "messaging.consumer.group.name",
    "messaging.batch.message_count",
    "error.type",
    "dongui.change_id",
    "dongui.recipient",
]
Attributes = Mapping[Attribute, str | int]
SCOPE: Final = "dongui"
LINKS_MAX: Final = 128
"""OpenTelemetry keeps no more links of one span."""
EXPORT_EVERY_MS: Final = 1000
SAMPLED_ENDS: Final = b"13579bdf"
"""The last digit of a traceparent whose lowest flag, sampled, is set."""
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class TracesSettingError(ValueError):
    """DONGUI_TRACES is neither `file:PATH` nor a URL of an OTLP/HTTP collector (https outside loopback)."""


@dataclass
class _State:
    """The tracer of this process; None while traces are off."""

    tracer: trace.Tracer | None = None
    shut_down: Callable[[], None] | None = None


_state = _State()


def start(settings: Settings, service: str) -> None:
    """Send this process's spans where the settings say; do nothing when they say nothing. Raises TracesSettingError."""
    if settings.traces is None:
        return
    from services.runtime import tracing_export  # noqa: PLC0415 - the SDK costs nothing to who does not use it

    begin(tracing_export.provider(_target(settings), service, settings.traces_ratio, EXPORT_EVERY_MS))


def _target(settings: Settings) -> str:
    target = settings.traces or ""
    url = urlsplit(target)
    allowed = url.scheme == "https" or settings.profile == "dev" or url.hostname in LOOPBACK
    if target.startswith("file:") and len(target) > len("file:"):
        return target
    if url.scheme in {"http", "https"} and url.hostname and allowed:
        return target
    raise TracesSettingError(TracesSettingError.__doc__)


class Provider(Protocol):
    """What of OpenTelemetry's TracerProvider is used here."""

    def get_tracer(self, name: str) -> trace.Tracer: ...

    def shutdown(self) -> None: ...


def begin(provider: Any) -> None:
    """Trace with this provider. It is ours alone: what instruments itself by the global one finds none."""
    _state.tracer, _state.shut_down = provider.get_tracer(SCOPE), provider.shutdown


def stop() -> None:
    """Send what is left and trace no more."""
    if _state.shut_down is not None:
        _state.shut_down()
    _state.tracer = _state.shut_down = None


def is_on() -> bool:
    """Whether spans are made at all."""
    return _state.tracer is not None


def traceparent() -> str | None:
    """Return the W3C traceparent of the span that is open here; None when there is none."""
    if _state.tracer is None:
        return None
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def headers() -> dict[str, str]:
    """Return what a request to another of our services carries of the trace that is open here."""
    found = traceparent()
    return {} if found is None else {TRACEPARENT: found}


@contextlib.contextmanager
def span(
    name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None, *, parent: str | None = None
) -> Iterator[Span | None]:
    """Open a span below the one that is open here, or below a `traceparent`; yield it, None while traces are off.

    An error that passes is noted by its class and goes on.
    """
    tracer = _state.tracer
    if tracer is None:
        yield None
        return
    context = None if parent is None else _context(parent)
    opened = tracer.start_span(name, context, kind, _plain(attributes or {}))
    with trace.use_span(opened, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield opened
        except BaseException as error:
            fail(opened, type(error).__name__)
            raise


def note(opened: Span | None, attributes: Attributes) -> None:
    """Add to what an open span says."""
    if opened is not None:
        opened.set_attributes(_plain(attributes))


def fail(opened: Span | None, error: str) -> None:
    """Mark an open span as failed, by a class or a code; a text could quote what was refused."""
    if opened is not None:
        opened.set_attributes({"error.type": error})
        opened.set_status(Status(StatusCode.ERROR))


class Received(Protocol):
    """A record as a Kafka consumer returns it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


@contextlib.contextmanager
def processing(records: Sequence[Any], group: str, *, again: bool = False) -> Iterator[None]:
    """Spans over what is done with a batch of records; they end with the block, which is to say at the COMMIT.

    One for each record whose trace is sampled, below that trace: a batch serves many traces, and a span has one
    parent. `again` (a replay) makes one span of its own that links to them: it is another cause, later.
    """
    tracer = _state.tracer
    if tracer is None:
        yield
        return
    opened = _replayed(tracer, records, group) if again else list(_processed(tracer, records, group))
    with _ended_together(opened):
        yield


@contextlib.contextmanager
def sending(rows: Iterable[tuple[str, Mapping[str, str]]]) -> Iterator[None]:
    """Spans over the publication of outbox rows (topic, headers), each below its row's trace if that is sampled."""
    tracer = _state.tracer
    if tracer is None:
        yield
        return
    with _ended_together(list(_sent(tracer, rows))):
        yield


def _sent(tracer: trace.Tracer, rows: Iterable[tuple[str, Mapping[str, str]]]) -> Iterator[Span]:
    for topic, headers in rows:
        parent = _sampled(headers.get(TRACEPARENT, "").encode())
        if parent is not None:
            said = _messaging("send", topic) | _change(headers.get(CHANGE_ID, "").encode())
            yield tracer.start_span(f"send {topic}", _context(parent), SpanKind.PRODUCER, _plain(said))


def _processed(tracer: trace.Tracer, records: Sequence[Received], group: str) -> Iterator[Span]:
    for record in records:
        parent = _sampled(_header(record, TRACEPARENT))
        if parent is None:
            continue
        said = _messaging("process", record.topic) | _change(_header(record, CHANGE_ID))
        said |= {
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
            "messaging.consumer.group.name": group,
            "messaging.batch.message_count": len(records),
        }
        yield tracer.start_span(f"process {record.topic}", _context(parent), SpanKind.CONSUMER, _plain(said))


def _replayed(tracer: trace.Tracer, records: Sequence[Received], group: str) -> list[Span]:
    parents = (_sampled(_header(record, TRACEPARENT)) for record in records)
    causes = dict.fromkeys(parent for parent in parents if parent is not None)
    if not causes:
        return []
    said = _messaging("process", records[0].topic)
    said |= {"messaging.consumer.group.name": group, "messaging.batch.message_count": len(records)}
    links = [Link(_span_context(parent)) for parent in list(causes)[:LINKS_MAX]]
    return [tracer.start_span(f"replay {records[0].topic}", Context(), SpanKind.CONSUMER, _plain(said), links)]


def _messaging(operation: str, topic: str) -> dict[Attribute, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
        "messaging.destination.name": topic,
    }


def _change(told: bytes | None) -> dict[Attribute, str | int]:
    """What is no id is not said: a header may hold anything."""
    change_id = (told or b"").decode("ascii", errors="replace")
    return {"dongui.change_id": change_id} if UUID.fullmatch(change_id) else {}


def _plain(attributes: Attributes) -> dict[str, Any]:
    """The same for OpenTelemetry, which knows no list of what may be said."""
    return {str(name): value for name, value in attributes.items()}


@contextlib.contextmanager
def _ended_together(opened: Sequence[Span]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        for one in opened:
            fail(one, type(error).__name__)
        raise
    finally:
        for one in opened:
            one.end()


def _header(record: Received, name: str) -> bytes | None:
    for key, value in record.headers:
        if key == name:
            return value
    return None


def _sampled(told: bytes | None) -> str | None:
    """Return a traceparent whose trace is sampled; an ill-formed one counts as none (W3C)."""
    if not told or told[-1] not in SAMPLED_ENDS:  # most are left here, for next to nothing
        return None
    text = told.decode("ascii", errors="replace")
    return text if TRACE.fullmatch(text) else None


def _context(parent: str) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(_span_context(parent)), Context())


def _span_context(parent: str) -> SpanContext:
    _, trace_id, span_id, flags = parent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
