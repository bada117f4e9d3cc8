"""`python -m services.runtime.probe URL…`: exit 0 when each answers 200 (container health checks have no curl)."""

import sys
import urllib.request

TIMEOUT_S = 2


def main() -> int:
    """Return the exit status for the URLs given."""
    return 0 if all(map(_answers, sys.argv[1:])) else 1


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - our own health URL
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
