"""`python -m services.propagator --affiliate ID | --notices`: one propagator process."""

import argparse
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

from services.propagator import app
from services.runtime import process
from services.runtime.settings import Settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the settings and serve."""
    parser = argparse.ArgumentParser(prog="python -m services.propagator", description=__doc__)
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--affiliate", metavar="ID", help="apply this affiliate's topic to its member store")
    chosen.add_argument("--notices", action="store_true", help="send correction notices to third parties")
    asked = parser.parse_args(arguments)
    service = "dongui-notices" if asked.notices else f"dongui-propagator-{asked.affiliate}"
    process.serve(service, _notices if asked.notices else partial(app.run, affiliate=asked.affiliate))


def _notices(settings: Settings) -> Coroutine[Any, Any, None]:
    """Imported here: the sender's own needs do not concern an affiliate's process."""
    from services.propagator.notices import app as notices  # noqa: PLC0415

    return notices.run(settings)


if __name__ == "__main__":
    main()
