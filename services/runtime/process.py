"""How a process of ours begins and ends: settings, logs, one coroutine; and an end that is told as a line of the log.

Python's own traceback would show the texts of errors, and with them what was rejected: a value, a DSN, a token.
"""

import sys
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
import uvloop
from pydantic import ValidationError

from services.runtime.kafka import InsecureKafkaError
from services.runtime.settings import MissingSettingsError, Settings
from services.runtime.start import UnreadableFileError, begin
from services.runtime.tracing import TracesSettingError
from services.runtime.wire import InsecureWireError

FAILED = 1
PLAIN = (MissingSettingsError, InsecureKafkaError, InsecureWireError, UnreadableFileError, TracesSettingError)
"""Errors of ours that name settings and nothing else: their text is the help."""


def serve(service: str, work: Callable[[Settings], Coroutine[Any, Any, None]]) -> None:
    """Run `work` with the settings until it ends; exit 1, saying why, when it or the settings are no good."""
    said = structlog.get_logger("process")
    try:
        uvloop.run(work(begin(service)))
    except ValidationError as error:
        names = [f"DONGUI_{e['loc'][0]}".upper() for e in error.errors()]
        said.error("settings_invalid", settings=names)
        sys.exit(FAILED)
    except PLAIN as error:
        said.error("process_failed", error=type(error).__name__, told=str(error))
        sys.exit(FAILED)
    except Exception:  # noqa: BLE001 - the last place: whatever it was, it is told without its text
        said.error("process_failed", exc_info=True)
        sys.exit(FAILED)
