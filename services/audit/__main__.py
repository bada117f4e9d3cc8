"""`python -m services.audit`: the audit process."""

from services.audit.app import run
from services.runtime import process


def main() -> None:
    """Read the settings and serve."""
    process.serve("dongui-audit", run)


if __name__ == "__main__":
    main()
