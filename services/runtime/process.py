"""How a process of ours begins and ends: settings, logs, one coroutine; and an end that is told as a line of the log.

Python's own traceback would show the texts of errors, and with them what was rejected: a value, a DSN, a token.
"""

import sys
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
import uvloop

from services.runtime.kafka import InsecureKafkaError
from services.runtime.settings import InvalidSettingsError, MissingSettingsError, Settings
from services.runtime.start import UnreadableFileError, begin
from services.runtime.tracing import TracesSettingError
from services.runtime.wire import InsecureWireError

FAILED = 1
PLAIN = (MissingSettingsError, InsecureKafkaError, InsecureWireError, UnreadableFileError, TracesSettingError)
"""Errors of ours that name settings and nothing else: their text is the help."""


def serve(
    service: str, work: Callable[[Settings], Coroutine[Any, Any, None]], told: tuple[type[Exception], ...] = ()
) -> None:
    """Run `work` with the settings until it ends; exit 1, saying why, when it or the settings are no good.

    `told`: errors of the process's own whose text is help, or a code, and shows no value.
    """
    said = structlog.get_logger("process")
    try:
        uvloop.run(work(begin(service)))
    except InvalidSettingsError as error:
        said.error("settings_invalid", settings=error.variables)
        sys.exit(FAILED)
    except PLAIN + told as error:
        said.error("process_failed", error=type(error).__name__, told=str(error))
        sys.exit(FAILED)
    except Exception:  # noqa: BLE001 - the last place: whatever it was, it is told without its text
        said.error("process_failed", exc_info=True)
        sys.exit(FAILED)
