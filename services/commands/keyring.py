"""`dongui keyring`: the key-encryption key that wraps every member's data key (docs/keys.md)."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import asyncpg
import typer

from services.commands.context import Format, fail, load_settings, print_json, print_table, tell, wants_json
from services.devstack.keyfiles import KeyFiles
from services.keyring import kek as kek_file
from services.keyring import rotation
from services.keyring.kek import KekError, KekProvider
from services.keyring.provider import open_kek
from services.runtime import postgres
from services.runtime.settings import Settings

app = typer.Typer(no_args_is_help=True)
T = TypeVar("T")


@app.command()
def generate(path: Annotated[Path, typer.Argument(help="A new file")]) -> None:
    """Write a new random KEK, readable by its owner only. An old one is never overwritten."""
    try:
        kek_file.generate(path)
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}")
    tell(f"written: {path}. Whoever loses it loses every member it wraps: keep a copy apart from the databases")


@app.command()
def status(output: Format = "text") -> None:
    """List the KEKs by the number of data keys each wraps."""
    as_json = wants_json(output)

    async def look(pool: asyncpg.Pool, kek: KekProvider) -> list[dict[str, object]]:
        found = {kek.key_id: 0} | await rotation.counts(pool)
        return [{"kek": name, "keys": count, "wraps": name == kek.key_id} for name, count in found.items()]

    rows = _with_both(look)
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("KEK", "DATA KEYS", "WRAPS NOW"), [(r["kek"], r["keys"], "yes" if r["wraps"] else "") for r in rows]
        )


@app.command()
def rotate(
    batch: Annotated[int, typer.Option("--batch", min=1, max=5000, help="Data keys per transaction")] = rotation.BATCH,
) -> None:
    """Wrap every data key by the KEK that wraps now. Members' data is not touched; stop and repeat as you like."""

    async def run(pool: asyncpg.Pool, kek: KekProvider) -> int:
        return await rotation.rotate(pool, kek, batch=batch)

    tell(f"{_with_both(run)} data keys wrapped anew")


def _settings() -> Settings:
    """Return the settings; without a KEK in them, that of an embedded system here."""
    settings = load_settings().require("keyring_dsn")
    embedded = KeyFiles.below(settings.data_dir / "secrets").kek
    if settings.kek_file or settings.vault_url or not embedded.is_file():
        return settings
    return settings.model_copy(update={"kek_file": embedded})


def _with_both(work: Callable[[asyncpg.Pool, KekProvider], Awaitable[T]]) -> T:
    """Run with the keyring's pool and the KEK; failures are told by their code."""
    settings = _settings()

    async def opened() -> T:
        async with open_kek(settings) as kek:
            pool = await postgres.open_pool(settings.secret("keyring_dsn"), size=2, application="dongui-kek")
            try:
                return await work(pool, kek)
            finally:
                await pool.close()

    try:
        return asyncio.run(opened())
    except KekError as error:
        fail(f"the KEK cannot be used: {error.code}")
    except (OSError, asyncpg.PostgresError) as error:
        fail(f"the keyring database does not answer or refuses ({type(error).__name__})")
