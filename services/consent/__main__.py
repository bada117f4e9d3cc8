"""`python -m services.consent`: the consent process."""

import uvloop

from services.consent.app import run
from services.runtime.start import begin


def main() -> None:
    """Read the settings and serve."""
    uvloop.run(run(begin("dongui-consent")))


if __name__ == "__main__":
    main()
