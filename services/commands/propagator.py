"""`dongui propagator run`: one process per affiliate, the notice sender, or all affiliates under one supervisor."""

import asyncio
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from services.commands.context import FAILED, data_dir, fail, load_settings
from services.runtime import log as logs
from services.runtime.settings import Settings

STOP_S = 15.0
RESTART_S = 1.0
START_AGAIN = frozenset({70, 71})
"""A propagator left without acknowledging (offset hole, no progress): the next start reads again what was in flight."""

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `run` a verb of its own: Typer makes a group of one command that command."""


@app.command()
def run(
    affiliate: Annotated[str | None, typer.Option("--affiliate", help="Affiliate whose store is written")] = None,
    every: Annotated[bool, typer.Option("--all", help="One child process per affiliate")] = False,
    notices: Annotated[bool, typer.Option("--notices", help="Send correction notices to third parties")] = False,
    health_port: Annotated[int | None, typer.Option("--health-port", hidden=True)] = None,
) -> None:
    """Run until SIGTERM or SIGINT."""
    if [affiliate is not None, every, notices].count(True) != 1:
        raise typer.BadParameter("give one of --affiliate ID, --all, --notices")
    settings = load_settings()
    if health_port is not None:
        settings = settings.model_copy(update={"health_port": health_port})
    if every:
        raise typer.Exit(asyncio.run(supervise(commands(settings))))
    _serve(settings, affiliate)


def _serve(settings: Settings, affiliate: str | None) -> None:
    """Import here: Faust takes a while, and `--help` needs none of it."""
    import uvloop  # noqa: PLC0415

    logs.configure(settings.log_level)
    if affiliate is None:
        from services.propagator.notices import app as sender  # noqa: PLC0415

        uvloop.run(sender.run(settings))
        return
    from services.propagator import app as propagator  # noqa: PLC0415

    try:
        uvloop.run(propagator.run(settings, affiliate))
    except propagator.UnknownAffiliateError:
        fail(f"no store or no token is set for {affiliate}; known: {', '.join(settings.affiliate_dsns) or 'none'}")


def commands(settings: Settings) -> list[list[str]]:
    """Return one child's command line per affiliate; their health ports follow each other when one is set."""
    settings.require("affiliate_dsns")
    base = [sys.executable, "-m", "services.cli", "--data-dir", str(data_dir()), "propagator", "run"]
    first = settings.health_port
    return [
        [*base, "--affiliate", affiliate, "--health-port", str(first + i if first else 0)]
        for i, affiliate in enumerate(settings.affiliate_dsns)
    ]


async def supervise(children: Sequence[Sequence[str]]) -> int:
    """Run the children; end all on a signal or when one ends. One that asks for it is started again.

    Return the exit status: 0 after a signal, 1 when a child ended by itself.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    kept = [asyncio.create_task(_keep(command, stop)) for command in children]
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *kept], return_when=asyncio.FIRST_COMPLETED)
    by_signal = stop.is_set()
    stop.set()
    await asyncio.gather(*kept, stopping)
    return 0 if by_signal else FAILED


async def _keep(command: Sequence[str], stop: asyncio.Event) -> None:
    while not stop.is_set():
        child = await asyncio.create_subprocess_exec(*command, start_new_session=True)
        await _until_ended(child, stop)
        if child.returncode not in START_AGAIN:
            return
        await _pause(stop)


async def _until_ended(child: asyncio.subprocess.Process, stop: asyncio.Event) -> None:
    """Wait for the child; on `stop` ask it to end, and kill it when it does not."""
    ended, stopping = asyncio.create_task(child.wait()), asyncio.create_task(stop.wait())
    await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not ended.done():
        child.terminate()
        await asyncio.wait([ended], timeout=STOP_S)
    if not ended.done():
        child.kill()
    await ended


async def _pause(stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), RESTART_S)
    except TimeoutError:
        return
