"""`python -m services.retention`: the retention process."""

from services.retention.app import run
from services.runtime import process


def main() -> None:
    """Read the settings and serve."""
    process.serve("dongui-retention", run)


if __name__ == "__main__":
    main()
