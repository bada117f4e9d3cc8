"""How every process begins: settings read once, log set up, and nothing started that would speak in clear."""

import sys

from services.runtime import log, wire
from services.runtime.settings import Settings
from services.runtime.wire import InsecureWireError


def begin() -> Settings:
    """Return the settings of this process; end it with status 1 and a message naming what is not allowed."""
    settings = Settings()
    log.configure(settings.log_level)
    try:
        wire.require_secure(settings)
    except InsecureWireError as error:
        sys.exit(f"refused to start: {error}")
    return settings
