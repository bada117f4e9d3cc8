"""`dongui config check`: the settings in effect, where each comes from, and no secret among them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr

from services.commands.context import Format, effective_settings, fail, print_json, print_table, wants_json
from services.runtime import wire
from services.runtime.settings import Settings
from services.runtime.wire import InsecureWireError

app = typer.Typer(no_args_is_help=True)
SET = "(set)"


@app.callback()
def group() -> None:
    """Keep `check` a verb of its own while it is the only one."""


@app.command()
def check(output: Format = "text") -> None:
    """Print every setting with its source; exit 1 when a named file cannot be read or a wire would be open."""
    as_json = wants_json(output)
    settings = effective_settings()
    rows = effective(settings)
    if as_json:
        print_json(rows)
    else:
        print_table(("SETTING", "VALUE", "SOURCE"), [tuple(row.values()) for row in rows])
    missing = [str(path) for path in named_files(settings) if not path.is_file()]
    if missing:
        fail(f"not a readable file: {', '.join(missing)}")
    try:
        wire.require_secure(settings)
    except InsecureWireError as error:
        fail(str(error))


def effective(settings: Settings) -> list[dict[str, Any]]:
    """Return `{"setting", "value", "source"}` of every setting, without secrets."""
    environment = Settings.read().model_fields_set
    return [
        {
            "setting": name,
            "value": redacted(name, getattr(settings, name)),
            "source": _source(name, settings, environment),
        }
        for name in Settings.model_fields
    ]


def _source(name: str, settings: Settings, environment: set[str]) -> str:
    if name in environment:
        return "environment"
    if name == "data_dir":
        return "command line or default"
    return "dev system" if name in settings.model_fields_set else "default"


def redacted(name: str, value: Any) -> Any:
    """Return a setting's value with every secret in it replaced; of a DSN the place is left."""
    if isinstance(value, SecretStr):
        return _place(value.get_secret_value()) if name.endswith(("dsn", "dsns")) else SET
    if isinstance(value, Mapping):
        return {
            key: redacted(name, inner) if name != "third_parties" else _endpoint(inner) for key, inner in value.items()
        }
    return str(value) if isinstance(value, Path) else value


def _endpoint(party: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value if key == "url" else SET for key, value in party.items()}


def _place(dsn: str) -> str:
    """An @ behind the hosts says that they are none: a password that is not percent-encoded was cut at its / ? or #."""
    hosts = wire.hosts_of(dsn)
    if not hosts:
        return SET
    parts = urlsplit(dsn)
    return SET if "@" in parts.path + parts.query + parts.fragment else f"{parts.scheme}://{hosts}{parts.path}"


def named_files(settings: Settings) -> list[Path]:
    """Return every file that a setting names."""
    values = [getattr(settings, name) for name in Settings.model_fields if name.endswith("_file")]
    return [value for value in values if value is not None]
