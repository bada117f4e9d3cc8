"""The `dongui` command. Only the groups named on the command line are imported, so that help and errors are quick."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import structlog
import typer

from services.commands import context
from services.devstack.errors import DevstackError
from services.policy.model import PolicyError
from services.runtime.settings import InvalidSettingsError, MissingSettingsError

GROUPS = {
    "dev": "The embedded system: a real Kafka, a real PostgreSQL and all processes on this machine.",
    "member": "Show a member and where its changes are; import a member base.",
    "change": "Where one change is now.",
    "status": "Lag per recipient, oldest unapplied withdrawal, dead letters, sealed tree size.",
    "policy": "The privacy policy as data: rules, decisions explained, periods.",
    "duties": "What must be done by when, and what is late.",
    "retention": "What is kept until when, and what is destroyed by when, on whose word.",
    "erasure": "Is a member really gone? Searches everything this system keeps.",
    "keyring": "The key that wraps every member's key: status, rotation.",
    "affiliate": "The affiliates and how far each of them is.",
    "third-party": "Who is told of corrections: endpoints, their proof, keys, tests.",
    "notice": "What third parties were sent and what they said; send notices again.",
    "replay": "Read history again: planned, compared, approved by a second person, harmless by default.",
    "dlq": "Records nobody could use: look at them, send them again, give them up.",
    "propagator": "Run the processes that write the affiliates' stores and send notices.",
    "audit": "The append-only log: query, proofs, verification.",
    "db": "Migrations of every database.",
    "config": "The settings in effect, without secrets.",
    "doctor": "Check the whole installation; write a diagnostics bundle.",
}


def build(arguments: Sequence[str]) -> typer.Typer:
    """Return the application with the groups that `arguments` name; the others are there by name and help only."""
    app = typer.Typer(
        name="dongui",
        help="One member changes one thing once; every affiliate and third party provably follows.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for name, told in GROUPS.items():
        module = f"services.commands.{name.replace('-', '_')}"
        if name in arguments:
            app.add_typer(import_module(module).app, name=name, help=told)
        elif find_spec(module):
            app.add_typer(typer.Typer(no_args_is_help=True), name=name, help=told)
    return app


def _options(
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Data directory of the embedded system (default: .dongui)")
    ] = None,
) -> None:
    if data_dir:
        context.choose_data_dir(data_dir)
    # What libraries log goes where messages go; looked up for each line, because a test may have put it elsewhere.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def main() -> None:
    """Run the command line; expected errors are told in one message, with exit status 1."""
    try:
        build(sys.argv[1:])()
    except KeyboardInterrupt:
        sys.exit(130)
    except DevstackError as error:
        _end(str(error))
    except MissingSettingsError as error:
        _end(f"{error}. Set them, or start an embedded system: dongui dev up")
    except InvalidSettingsError as error:
        _end(f"{error}. docs/configuration.md says what each of them is")
    except PolicyError as error:
        _end(f"the policy cannot be used: {error}. Once it is mended: dongui policy check")


def _end(message: str) -> NoReturn:
    typer.echo(message, err=True)
    sys.exit(context.FAILED)


if __name__ == "__main__":
    main()
