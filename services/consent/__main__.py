"""`python -m services.consent`: the consent process."""

from services.consent.app import run
from services.runtime import process


def main() -> None:
    """Read the settings and serve."""
    process.serve("dongui-consent", run)


if __name__ == "__main__":
    main()
