"""`python -m services.console`: the console process."""

from services.console.app import run
from services.policy.model import PolicyError
from services.runtime import process


def main() -> None:
    """Read the settings and serve."""
    process.serve("dongui-console", run, told=(PolicyError,))


if __name__ == "__main__":
    main()
