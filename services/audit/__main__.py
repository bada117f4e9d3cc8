"""`python -m services.audit`: the audit process."""

import uvloop

from services.audit.app import run
from services.runtime.start import begin


def main() -> None:
    """Read the settings and serve."""
    uvloop.run(run(begin("dongui-audit")))


if __name__ == "__main__":
    main()
