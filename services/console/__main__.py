"""`python -m services.console`: the console process."""

import uvloop

from services.console.app import run
from services.runtime import log, tracing
from services.runtime.settings import Settings


def main() -> None:
    """Read the settings and serve."""
    settings = Settings()
    log.configure(settings.log_level)
    tracing.start(settings, "dongui-console")
    uvloop.run(run(settings))


if __name__ == "__main__":
    main()
