"""`dongui db`: migrations of every database, as its owner."""

import asyncio
from typing import Annotated, Any

import asyncpg
import typer

from services.commands.context import (
    DRIFT,
    Format,
    fail,
    load_settings,
    print_json,
    print_table,
    tell,
    wants_json,
)
from services.runtime import migrate as migrations
from services.runtime.migrate import DriftError, package_of

app = typer.Typer(no_args_is_help=True)
Names = Annotated[list[str] | None, typer.Argument(metavar="[DATABASE]...", help="Default: all")]


@app.command()
def migrate(names: Names = None) -> None:
    """Apply what is pending; exit 3 when an applied migration was edited."""
    for name, dsn in _owners(names).items():
        done = _run(migrations.migrate(dsn, package_of(name), name))
        tell(f"{name}: {'applied ' + ', '.join(done) if done else 'nothing pending'}")


@app.command()
def info(names: Names = None, output: Format = "text") -> None:
    """List every migration of every database, applied or pending."""
    as_json = wants_json(output)
    rows = [row for name, dsn in _owners(names).items() for row in _run(_listed(name, dsn))]
    if as_json:
        print_json(rows)
        return
    print_table(("DATABASE", "VERSION", "NAME", "STATE"), [tuple(row.values()) for row in rows])


@app.command()
def validate(names: Names = None) -> None:
    """Exit 0 when every migration is applied as it is in the code; 3 when one is pending or was edited."""
    rows = [row for name, dsn in _owners(names).items() for row in _run(_listed(name, dsn))]
    waiting = [f"{row['database']} {row['version']}_{row['name']}" for row in rows if row["state"] != "applied"]
    if waiting:
        fail(f"pending: {', '.join(waiting)}", DRIFT)
    tell(f"{len(rows)} migrations, all applied and unchanged")


def _owners(names: list[str] | None) -> dict[str, str]:
    settings = load_settings().require("owner_dsns")
    known = {n: d.get_secret_value() for n, d in settings.owner_dsns.items()}
    unknown = sorted(set(names or []) - known.keys())
    if unknown:
        fail(f"unknown database {', '.join(unknown)}; known: {', '.join(known)}")
    return {name: known[name] for name in names or known}


async def _listed(name: str, dsn: str) -> list[dict[str, Any]]:
    known = migrations.load(package_of(name))
    connection = await asyncpg.connect(dsn)
    try:
        waiting = {m.version for m in await migrations.pending(connection, known)}
    finally:
        await connection.close()
    return [
        {
            "database": name,
            "version": m.version,
            "name": m.name,
            "state": "pending" if m.version in waiting else "applied",
        }
        for m in known
    ]


def _run(work: Any) -> Any:
    """Run one piece of database work; its failures are told without a traceback and without a DSN."""
    try:
        return asyncio.run(work)
    except DriftError as error:
        fail(str(error), DRIFT)
    except (OSError, asyncpg.PostgresError) as error:
        fail(f"the database does not answer or refuses ({type(error).__name__})")
