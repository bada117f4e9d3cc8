"""`python -m services.audit.witness [--create]`: the witness. Run it where the log's administrators have no access."""

import argparse

import uvloop

from services.audit.witness.app import run
from services.runtime.start import begin


def main() -> None:
    """Read the settings and serve."""
    parser = argparse.ArgumentParser(prog="python -m services.audit.witness", description=__doc__)
    parser.add_argument("--create", action="store_true", help="begin with an empty state when there is none")
    chosen = parser.parse_args()
    uvloop.run(run(begin("dongui-witness"), create=chosen.create))


if __name__ == "__main__":
    main()
