"""What the commands share: settings (the environment first, then a dev system's), HTTP, output, exit statuses."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.devstack.state import State
from services.runtime import wire
from services.runtime.acls import OPERATOR
from services.runtime.settings import DATABASES, Settings
from services.runtime.wire import InsecureWireError

OK, FAILED, USAGE, DRIFT, PARTIAL = 0, 1, 2, 3, 4
TIMEOUT_S = 30.0
PLAIN_WIDTH = 160
CONNECTIONS = frozenset({"kafka", "consent_url", "audit_url", "service_token", *(f"{n}_dsn" for n in DATABASES)})
"""Whoever sets one of these in the environment means that system, not a dev system that happens to be here."""

Format = Annotated[str, typer.Option("--format", help="json or text", metavar="json|text")]
_data_dir: ContextVar[Path | None] = ContextVar("data_dir", default=None)


def choose_data_dir(path: Path) -> None:
    """Use this data directory for the rest of the command."""
    _data_dir.set(path)


def data_dir() -> Path:
    """Return the data directory: the option, else DONGUI_DATA_DIR, else `.dongui`."""
    return (_data_dir.get() or Settings.read().data_dir).absolute()


def load_settings() -> Settings:
    """Return the settings in effect; end the command when one of them would send something in clear."""
    settings = effective_settings()
    try:
        wire.require_secure(settings)
    except InsecureWireError as error:
        fail(str(error))
    return settings


def effective_settings() -> Settings:
    """Return the settings of the environment, completed by those of the dev system when it names no system itself."""
    given = Settings.read()
    chosen: dict[str, Any] = {name: getattr(given, name) for name in given.model_fields_set}
    chosen["data_dir"] = data_dir()
    found = None if CONNECTIONS & given.model_fields_set else State(data_dir()).read()
    return Settings.read(**((_of_dev_system(found) if found else {}) | chosen))


def _of_dev_system(found: dict[str, Any]) -> dict[str, Any]:
    told, databases = found["described"], found["described"]["databases"]
    return {
        "profile": "dev",
        "kafka": told["kafka"],
        **_login(told.get("kafka_login", {}).get(OPERATOR, {})),
        "consent_url": told["consent_url"],
        "audit_url": told["audit_url"],
        "console_url": told["console_url"],
        "retention_url": told.get("retention_url"),
        **{f"{name}_dsn": databases[name] for name in DATABASES},
        "affiliate_dsns": databases["affiliates"],
        "owner_dsns": found["owner_dsns"],
        "process_urls": told.get("process_urls", {}),
        "service_token": told["tokens"]["service"],
        "notices_token": told["tokens"]["notices"],
        "affiliate_tokens": told["tokens"]["affiliates"],
    }


def _login(variables: dict[str, str]) -> dict[str, str]:
    """Return variables as settings."""
    return {name.removeprefix("DONGUI_").lower(): value for name, value in variables.items()}


class Api:
    """One of our HTTP services as a command sees it: JSON, or an end with a message."""

    def __init__(self, client: httpx.Client, name: str) -> None:
        self._client = client
        self._name = name

    def get(self, path: str, **params: str) -> Any:
        """Return the JSON of a success; end the command with status 1 otherwise."""
        return self._answer("GET", path, params=params).json()

    def content(self, path: str, media: str) -> bytes:
        """Return the bytes of a success as a media type; end the command with status 1 otherwise."""
        return self._answer("GET", path, headers={"Accept": media}).content

    def post(self, path: str, body: Any) -> Any:
        """Send JSON (None: no body); return the JSON of a success, end the command with status 1 otherwise."""
        return self._answer("POST", path, json=body).json()

    def _answer(self, method: str, path: str, **sent: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **sent)
        except httpx.HTTPError as error:
            fail(f"the {self._name} service does not answer ({type(error).__name__}); is it running?")
        if not answer.is_success:
            fail(_refusal(answer, self._name))
        return answer


@contextmanager
def consent_api(settings: Settings) -> Iterator[Api]:
    """Yield the consent service."""
    url = settings.consent_url or f"http://{settings.consent_host}:{settings.consent_port}"
    with _client(settings, url) as client:
        yield Api(client, "consent")


@contextmanager
def audit_api(settings: Settings) -> Iterator[Api]:
    """Yield the audit service."""
    url = settings.audit_url or f"http://{settings.audit_host}:{settings.audit_port}"
    with _client(settings, url) as client:
        yield Api(client, "audit")


@contextmanager
def retention_api(settings: Settings) -> Iterator[Api]:
    """Yield the retention service."""
    url = settings.retention_url or f"http://{settings.retention_host}:{settings.retention_port}"
    with _client(settings, url) as client:
        yield Api(client, "retention")


def _client(settings: Settings, url: str) -> httpx.Client:
    token = settings.require("service_token").secret("service_token")
    headers = {"Authorization": f"Bearer {token}", "Accept-Language": "en"}
    return httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S)


def _refusal(answer: httpx.Response, name: str) -> str:
    try:
        problem = answer.json()
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError):
        return f"the {name} service answered {answer.status_code}"


def wants_json(output: str) -> bool:
    """Return whether `--format` says json; end with status 2 when it says neither json nor text."""
    if output not in {"json", "text"}:
        tell("--format is json or text")
        raise typer.Exit(USAGE)
    return output == "json"


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns on stdout: no lines and no colour, so that awk and eyes can read them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text("-" if cell is None else str(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False).print(table)


def tell(message: str) -> None:
    """Say something to the person on stderr."""
    typer.echo(message, err=True)


def fail(message: str, status: int = FAILED) -> NoReturn:
    """End the command with a message on stderr."""
    tell(message)
    raise typer.Exit(status)
