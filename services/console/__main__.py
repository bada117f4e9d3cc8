"""`python -m services.console`: the console process."""

import uvloop

from services.console.app import run
from services.runtime.start import begin


def main() -> None:
    """Read the settings and serve."""
    uvloop.run(run(begin("dongui-console")))


if __name__ == "__main__":
    main()
