"""Which KEK a process has, by its settings: Vault's when its address is set, else the file's.

The members' data keys and the keys of statutory records have one each, chosen alike and never the same.

Every other KEK that is named still unwraps: that is what a rotation, or a move into Vault, needs while it runs.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, Literal

from services.keyring.kek import FileKek, KekProvider, Keks
from services.keyring.vault import open_vault
from services.runtime.settings import Settings

Use = Literal["members", "records"]
_PREFIX: Final[dict[Use, str]] = {"members": "", "records": "retention_"}


def required(settings: Settings, use: Use = "members") -> tuple[str, ...]:
    """Return the names of the settings without which there is no KEK."""
    names = ("vault_token_file", "vault_transit_key") if settings.vault_url else ("kek_file",)
    return tuple(_PREFIX[use] + name for name in names)


@asynccontextmanager
async def open_kek(settings: Settings, use: Use = "members") -> AsyncIterator[Keks]:
    """Yield the KEKs of the members' keys, or of the statutory records'; raise MissingSettingsError or KekError."""
    settings.require(*required(settings, use))
    files: list[KekProvider] = [FileKek(path) for path in _files(settings, use)]
    async with AsyncExitStack() as stack:
        if settings.vault_url:
            yield Keks(await stack.enter_async_context(_vault(settings, settings.vault_url, use)), files)
        else:
            yield Keks(files[0], files[1:])


def _files(settings: Settings, use: Use) -> list[Path]:
    named: list[Path | None] = [getattr(settings, _PREFIX[use] + name) for name in ("kek_file", "kek_old_file")]
    return [path for path in named if path is not None]


@asynccontextmanager
async def _vault(settings: Settings, url: str, use: Use) -> AsyncIterator[KekProvider]:
    async with open_vault(
        url,
        mount=settings.vault_transit_mount,
        key=getattr(settings, _PREFIX[use] + "vault_transit_key"),
        token_file=getattr(settings, _PREFIX[use] + "vault_token_file"),
        ca_file=settings.vault_ca_file,
    ) as kek:
        yield kek
