"""Logs: one JSON object a line, and nothing personal in any of them, whoever wrote it."""

import errno
import io
import logging
import sys
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import structlog

from services.runtime import log


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Everything logged in the test, parsed."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    log.configure("INFO")
    yield lambda: [orjson.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()
    root.handlers[:], root.level = before
    logging.captureWarnings(capture=False)


def test_a_line_has_its_event_level_and_instant(lines: Any) -> None:
    structlog.get_logger("x").info("relayed", rows=3)
    (line,) = lines()
    assert (line["event"], line["level"], line["rows"]) == ("relayed", "info", 3)
    assert line["at"].endswith("Z")


def test_personal_keys_are_redacted_at_every_depth(lines: Any) -> None:
    structlog.get_logger("x").info(
        "change",
        email="hong@example.com",
        member={"Name": "홍길동", "list": [{"phone": "010-1234-5678"}]},
        member_ref="ref",
    )
    (line,) = lines()
    text = orjson.dumps(line).decode()
    assert not any(secret in text for secret in ("hong@", "홍길동", "1234-5678"))
    assert line["member"]["list"] == [{"phone": "[redacted]"}]
    assert line["member_ref"] == "ref"


@pytest.mark.parametrize("name", ["password", "token", "authorization", "value", "payload", "k", "dsn", "birth_date"])
def test_secrets_and_values_are_redacted(lines: Any, name: str) -> None:
    structlog.get_logger("x").warning("w", **{name: "to be hidden"})
    assert lines()[0][name] == "[redacted]"


def test_an_exception_is_told_by_type_and_place_and_never_by_its_text(lines: Any) -> None:
    try:
        raise ValueError("hong@example.com is not a number")
    except ValueError:
        structlog.get_logger("x").error("failed", exc_info=True)
        logging.getLogger("library").exception("failed for %s", "hong@example.com")
    for line in lines():
        assert line["error"] == "ValueError"
        assert line["at_code"]
        assert "hong@" not in orjson.dumps(line).decode()


def test_of_a_librarys_record_only_the_template_is_kept(lines: Any) -> None:
    logging.getLogger("library").warning("cannot parse %r", "hong@example.com")
    (line,) = lines()
    assert (line["event"], line["logger"]) == ("cannot parse %r", "library")


def test_what_is_nested_too_deep_is_redacted_whole(lines: Any) -> None:
    deep: Any = "hong@example.com"
    for _ in range(20):
        deep = {"a": deep}
    structlog.get_logger("x").info("deep", a=deep)
    assert "hong@" not in orjson.dumps(lines()[0]).decode()


def test_libraries_log_from_warning_up(lines: Any) -> None:
    logging.getLogger("library").info("chatter")
    structlog.get_logger("x").debug("chatter")
    assert lines() == []


class Full(io.StringIO):
    """A stream on a disk without room."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_a_full_disk_costs_lines_and_not_the_work_that_logs(monkeypatch: pytest.MonkeyPatch, lines: Any) -> None:
    """Found by chaos: loops that outlive an outage log it first, and on a full disk that raised out of them."""
    stream = Full()
    monkeypatch.setattr(sys, "stderr", stream)
    log.configure("INFO")
    before = log.LINES_LOST._value.get()
    structlog.get_logger("x").warning("relay_session_ended")
    logging.getLogger("library").warning("retrying")
    assert log.LINES_LOST._value.get() >= before + 2
    stream.full = False
    structlog.get_logger("x").info("again")
    assert [orjson.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["again"]
