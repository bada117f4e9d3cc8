"""How a process begins: settings read once, log and traces set up, and nothing started that would speak in clear."""

import gc
from typing import Final

from services.runtime import log, tracing, wire
from services.runtime.settings import Settings

YOUNG_MAX: Final = 50_000
"""Objects before a collection. A batch makes thousands that live together: Python's 700 costs a quarter of the work."""


def begin(service: str) -> Settings:
    """Return the settings of the process `service`.

    Raises ValidationError for one that is no good, InsecureWireError and TracesSettingError for one that is refused.
    """
    log.configure()
    settings = Settings()
    log.configure(settings.log_level)
    wire.require_secure(settings)
    tracing.start(settings, service)
    collect_seldom()
    return settings


def collect_seldom() -> None:
    """Set Python's collector for work in batches, once everything is imported."""
    gc.freeze()  # what was imported stays for good, and is looked at by no collection
    gc.set_threshold(YOUNG_MAX, 20, 50)
