"""`python -m services.audit`: the audit process."""

import uvloop

from services.audit.app import run
from services.runtime import log, tracing
from services.runtime.settings import Settings


def main() -> None:
    """Read the settings and serve."""
    settings = Settings()
    log.configure(settings.log_level)
    tracing.start(settings, "dongui-audit")
    uvloop.run(run(settings))


if __name__ == "__main__":
    main()
