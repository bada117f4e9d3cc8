"""`python -m services.audit.witness [--create]`: the witness. Run it where the log's administrators have no access."""

import argparse
from functools import partial

from services.audit.witness.app import run
from services.audit.witness.state import StateError
from services.runtime import process


def main() -> None:
    """Read the settings and serve."""
    parser = argparse.ArgumentParser(prog="python -m services.audit.witness", description=__doc__)
    parser.add_argument("--create", action="store_true", help="begin with an empty state when there is none")
    chosen = parser.parse_args()
    process.serve("dongui-witness", partial(run, create=chosen.create), told=(StateError,))


if __name__ == "__main__":
    main()
