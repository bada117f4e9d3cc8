"""`python -m services.consent`: the consent process."""

from services.consent.app import run
from services.keyring.kek import KekError
from services.policy.model import PolicyError
from services.runtime import process


def main() -> None:
    """Read the settings and serve."""
    process.serve("dongui-consent", run, told=(KekError, PolicyError))


if __name__ == "__main__":
    main()
