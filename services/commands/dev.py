"""`dongui dev`: the embedded system on this machine."""

from pathlib import Path
from typing import Annotated, Any

import pyotp
import typer

from services.commands import context
from services.commands.context import Format, fail, print_json, tell, wants_json
from services.devstack import supervisor
from services.devstack.state import State
from services.devstack.supervisor import PORT_BASE, Options

app = typer.Typer(no_args_is_help=True)
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Default: .dongui")]


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", help="Return when ready; end it by `dongui dev down`")] = False,
    port_base: Annotated[
        int, typer.Option("--port-base", min=1024, max=65_000, help="First of 100 ports: consent is +1, audit +2")
    ] = PORT_BASE,
    brokers: Annotated[int, typer.Option("--brokers", min=1, max=5, help="Kafka nodes (only on fresh data)")] = 1,
    secure: Annotated[
        bool, typer.Option("--secure", help="Kafka with TLS, logins and ACLs that deny by default (only on fresh data)")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Start Kafka, PostgreSQL and every process; Ctrl-C stops all of it."""
    options = Options(_chosen(data_dir), port_base, brokers, secure)
    state = State(options.data_dir)
    if state.supervisor():
        fail(state.busy())
    if not detach:
        raise typer.Exit(supervisor.run(options, tell))
    _print_urls(supervisor.detach(options, tell))


@app.command()
def down(data_dir: DataDir = None) -> None:
    """End the system, also after its supervisor was killed. Data stays."""
    where = _chosen(data_dir)
    tell("Stopped." if State(where).down() else f"Nothing was running on {where}.")


@app.command()
def reset(data_dir: DataDir = None) -> None:
    """End the system and remove its data. Downloaded jars stay."""
    where = _chosen(data_dir)
    State(where).reset()
    tell(f"Removed the data of {where}.")


@app.command()
def env(output: Format = "text", data_dir: DataDir = None) -> None:
    """Print URLs, DSNs and bearer tokens of the running system. They are secrets, if only a laptop's."""
    described = State(_chosen(data_dir)).described()
    if wants_json(output):
        print_json(described)
        return
    for name, value in _flat("", described):
        typer.echo(f"{name}={value}")


@app.command()
def code(key: Annotated[str, typer.Argument(help="The key that the console shows beside the QR code")]) -> None:
    """Print the six digits of an authenticator key now, for a laptop without a telephone."""
    try:
        typer.echo(pyotp.TOTP(key.replace(" ", "")).now())
    except ValueError:
        fail("that is no authenticator key: 32 letters and digits, as the console's page shows it")


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, dict):
        return [(prefix, str(value))]
    return [pair for name, inner in value.items() for pair in _flat(f"{prefix}.{name}".lstrip("."), inner)]


def _print_urls(described: dict[str, Any]) -> None:
    for name in ("consent_url", "audit_url", "console_url", "partner_url", "kafka", "data_dir"):
        typer.echo(f"{name}={described[name]}")


def _chosen(path: Path | None) -> Path:
    if path:
        context.choose_data_dir(path)
    return context.data_dir()
