"""`python -m services.runtime.probe URL`: exit 0 when the URL answers 200 (container health checks have no curl)."""

import sys
import urllib.request

TIMEOUT_S = 2


def main() -> int:
    """Return the exit status for the URL given."""
    try:
        with urllib.request.urlopen(sys.argv[1], timeout=TIMEOUT_S) as answer:  # noqa: S310 - our own health URL
            return 0 if answer.status == 200 else 1
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
