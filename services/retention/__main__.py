"""`python -m services.retention`: the retention process."""

import uvloop

from services.retention.app import run
from services.runtime import log, tracing
from services.runtime.settings import Settings


def main() -> None:
    """Read the settings and serve."""
    settings = Settings()
    log.configure(settings.log_level)
    tracing.start(settings, "dongui-retention")
    uvloop.run(run(settings))


if __name__ == "__main__":
    main()
