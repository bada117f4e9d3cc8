"""`dongui erasure certificate` takes a certificate of destruction away; `… verify` checks one offline."""

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import orjson
import typer

from services.audit.checkpoint import CheckpointError, Verifier
from services.commands.certificate_check import NO_PROOF, findings, unchecked
from services.commands.context import (
    DRIFT,
    PARTIAL,
    Format,
    consent_api,
    fail,
    load_settings,
    print_json,
    tell,
    wants_json,
)

NOT_YET = "the log has not sealed its fact yet: ask for the certificate again"


def certificate(
    ref: Annotated[UUID, typer.Argument(help="A destruction's id, or the member's reference")],
    output: Annotated[Path, typer.Option("--output", help="File for the signed JSON")] = Path("certificate.json"),
    page: Annotated[Path | None, typer.Option("--page", help="File for the Korean page to print")] = None,
    keys: Annotated[Path | None, typer.Option("--keys", help="File for the public key (JWKS)")] = None,
) -> None:
    """Write the certificate of a destruction; exit 4 when its proof is not there yet."""
    path = f"/v1/erasures/{ref}/certificate"
    with consent_api(load_settings()) as api:
        issued = api.get(path)
        _write(output, orjson.dumps(issued, option=orjson.OPT_INDENT_2))
        if page is not None:
            _write(page, api.content(path, "text/html"))
        if keys is not None:
            _write(keys, api.content("/v1/erasures/keys", "application/json"))
    if issued["proof"] is None:
        fail(NOT_YET, PARTIAL)


def verify(
    file: Annotated[Path, typer.Argument(help="A certificate, as `dongui erasure certificate` writes it")],
    keys: Annotated[Path, typer.Option("--keys", help="The public key (JWKS), from a place you trust")],
    vkey: Annotated[Path | None, typer.Option("--vkey", help="The log's verifier key")] = None,
    output: Format = "text",
) -> None:
    """Check signature and proof offline. Exit 3 when one does not hold, 4 when there is no proof yet."""
    as_json = wants_json(output)
    issued = _json(file)
    found = findings(issued, _json(keys), _verifier(vkey or load_settings().data_dir / "audit.vkey"))
    left = unchecked(issued)
    if as_json:
        print_json({"ok": not found, "findings": found, "unchecked": left})
    elif found:
        typer.echo(f"NOT VERIFIED: {', '.join(found)}")
    else:
        typer.echo("verified: signature and proof" + (f"; not borne out by the log: {', '.join(left)}" if left else ""))
    if found:
        raise typer.Exit(PARTIAL if found == [NO_PROOF] else DRIFT)


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}")
    tell(f"written: {path}")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except OSError as error:
        fail(f"cannot read {path}: {error.strerror}")
    except orjson.JSONDecodeError:
        fail(f"{path} is not JSON")
    return found if isinstance(found, dict) else {}


def _verifier(path: Path) -> Verifier:
    try:
        return Verifier.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, CheckpointError):
        fail(f"cannot use the log's verifier key {path}; name it with --vkey")
