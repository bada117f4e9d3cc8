"""`python -m services.retention`: the retention process."""

import uvloop

from services.retention.app import run
from services.runtime.start import begin


def main() -> None:
    """Read the settings and serve."""
    uvloop.run(run(begin("dongui-retention")))


if __name__ == "__main__":
    main()
