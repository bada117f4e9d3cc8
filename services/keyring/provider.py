"""Which KEK this installation has, by its settings: Vault's when its address is set, else the file's.

Every other KEK that is named still unwraps: that is what a rotation, or a move into Vault, needs while it runs.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from services.keyring.kek import FileKek, KekProvider, Keks
from services.keyring.vault import open_vault
from services.runtime.settings import Settings


def required(settings: Settings) -> tuple[str, ...]:
    """Return the names of the settings without which there is no KEK."""
    return ("vault_token_file", "vault_transit_key") if settings.vault_url else ("kek_file",)


@asynccontextmanager
async def open_kek(settings: Settings) -> AsyncIterator[Keks]:
    """Yield the KEKs; raise MissingSettingsError or KekError."""
    settings.require(*required(settings))
    files: list[KekProvider] = [FileKek(path) for path in _files(settings)]
    async with AsyncExitStack() as stack:
        if settings.vault_url:
            yield Keks(await stack.enter_async_context(_vault(settings)), files)
        else:
            yield Keks(files[0], files[1:])


def _files(settings: Settings) -> list[Path]:
    return [path for path in (settings.kek_file, settings.kek_old_file) if path is not None]


@asynccontextmanager
async def _vault(settings: Settings) -> AsyncIterator[KekProvider]:
    assert settings.vault_url
    assert settings.vault_transit_key
    assert settings.vault_token_file
    async with open_vault(
        settings.vault_url,
        mount=settings.vault_transit_mount,
        key=settings.vault_transit_key,
        token_file=settings.vault_token_file,
        ca_file=settings.vault_ca_file,
    ) as kek:
        yield kek
