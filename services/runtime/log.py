"""Logs: one JSON object per line on stderr, and nothing personal in any of them.

Keys that could carry a value of a member or a secret are replaced before rendering, at every depth.
An exception is logged by its type and code places only: its text may hold what was rejected.
"""

import contextlib
import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO, cast

import structlog
from prometheus_client import Counter

REDACTED = "[redacted]"
PERSONAL = frozenset(
    {
        "email",
        "name",
        "password",
        "password_hash",
        "phone",
        "birth_date",
        "birthdate",
        "address",
        "authorization",
        "token",
        "secret",
        "cookie",
        "key",
        "k",
        "dsn",
        "body",
        "payload",
        "value",
        "values",
        "items",
        "profiles",
        "changes",
        "fields",
        "input",
        "detail",
        "message",
    }
)
DEPTH_MAX = 6
LINES_LOST = Counter("dongui_log_lines_lost", "Log lines that could not be written (a full disk, a closed stream)")
WARNINGS = "py.warnings"


def configure(level: str = "INFO") -> None:
    """Send structlog and the standard library's loggers to stderr as redacted JSON. Call once.

    `level` is a name as in `logging`; libraries log from WARNING up. Raises KeyError when unknown.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    stream = cast(TextIO, _Lenient(sys.stderr))
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        where_it_failed,
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(shared))
    logging.basicConfig(level=max(logging.WARNING, threshold), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)  # else they go to stderr as they are


class _Lenient:
    """A stream that loses a line rather than the work that logged it: on a full disk every warning would raise."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or count what could not be written."""
        try:
            return self._stream.write(text)
        except OSError:
            LINES_LOST.inc()
            return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def _formatter(shared: list[Any]) -> logging.Formatter:
    """Libraries format values into their text, so of their records only the template is kept."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[_template_only, *shared],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )


def _template_only(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["event"] = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        event["logger"] = record.name
        if record.name == WARNINGS:  # its template is the whole text: only `file:line: Category` is kept
            event["event"] = ":".join(str(record.msg).split(":", 3)[:3])
    return event


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: replace what a personal key carries, nested ones too."""
    return {key: _clean(key, value, 0) for key, value in event.items()}


def _clean(key: str, value: Any, depth: int) -> Any:
    if key.lower() in PERSONAL or depth > DEPTH_MAX:
        return REDACTED
    if isinstance(value, Mapping):
        return {str(k): _clean(str(k), v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean("", v, depth + 1) for v in value]
    return value


def where_it_failed(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor: turn `exc_info` into the error's type and places; never its text."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        frames = traceback.extract_tb(error.__traceback__)[-5:]
        event["at_code"] = [f"{f.name}:{f.lineno}" for f in frames]
    return event
