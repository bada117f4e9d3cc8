"""`python -m services.retention`: the retention process."""

from services.keyring.kek import KekError
from services.retention.app import run
from services.runtime import process


def main() -> None:
    """Read the settings and serve."""
    process.serve("dongui-retention", run, told=(KekError,))


if __name__ == "__main__":
    main()
