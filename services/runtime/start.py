"""How a process begins: settings read once, log and traces set up, and nothing started that would speak in clear."""

import gc
import os
from pathlib import Path
from typing import Final

from services.runtime import log, tracing, wire
from services.runtime.settings import Settings

YOUNG_MAX: Final = 50_000
"""Objects before a collection. A batch makes thousands that live together: Python's 700 costs a quarter of the work."""
WIRE_FILES: Final = ("kafka_password_file", "kafka_ca_file")


class UnreadableFileError(Exception):
    """A setting names a file that cannot be read; the message says which settings."""


def begin(service: str) -> Settings:
    """Return the settings of the process `service`.

    Raises InvalidSettingsError for those that are no good, and for one that is refused InsecureWireError,
    UnreadableFileError or TracesSettingError.
    """
    log.configure()
    settings = Settings.read()
    log.configure(settings.log_level)
    wire.require_secure(settings)
    missing = [f"DONGUI_{name.upper()}" for name in WIRE_FILES if not _readable(getattr(settings, name))]
    if missing:
        raise UnreadableFileError(f"{', '.join(missing)} names no file that can be read")
    tracing.start(settings, service)
    collect_seldom()
    return settings


def _readable(path: Path | None) -> bool:
    return path is None or os.access(path, os.R_OK)


def collect_seldom() -> None:
    """Set Python's collector for work in batches, once everything is imported."""
    gc.freeze()  # what was imported stays for good, and is looked at by no collection
    gc.set_threshold(YOUNG_MAX, 20, 50)
