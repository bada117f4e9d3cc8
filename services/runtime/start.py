"""How every process begins: settings read once, log set up, and nothing started that would speak in clear."""

import os
import sys
from pathlib import Path
from typing import Final

from services.runtime import log, wire
from services.runtime.settings import Settings
from services.runtime.wire import InsecureWireError

WIRE_FILES: Final = ("kafka_password_file", "kafka_ca_file")


def begin() -> Settings:
    """Return the settings of this process; end it with status 1 and a message naming what is not allowed."""
    settings = Settings()
    log.configure(settings.log_level)
    try:
        wire.require_secure(settings)
    except InsecureWireError as error:
        sys.exit(f"refused to start: {error}")
    missing = [f"DONGUI_{name.upper()}" for name in WIRE_FILES if not _readable(getattr(settings, name))]
    if missing:
        sys.exit(f"refused to start: {', '.join(missing)} names no file that can be read")
    return settings


def _readable(path: Path | None) -> bool:
    return path is None or os.access(path, os.R_OK)
