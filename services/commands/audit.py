"""`dongui audit`: ask the log, take proofs and exports away, verify them without the system."""

import base64
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import typer

from services.audit import certificates
from services.audit import verify as verifier
from services.audit.certificates import BadKeysError, Keys
from services.audit.checkpoint import CheckpointError, Verifier
from services.audit.verify import Report
from services.commands.context import load_settings
from services.runtime.settings import Settings

TIMEOUT_S = 30.0
PAGE_MAX = 1000
EXIT_FAILED = 1
EXIT_NOT_VERIFIED = 3
CERTIFICATE_KEYS = "certificate.jwks"

app = typer.Typer(name="audit", help="The append-only log: query, proofs, verification.", no_args_is_help=True)
Format = Annotated[str, typer.Option("--format", help="json or text")]
Key = Annotated[Path | None, typer.Option("--vkey", help="The log's verifier key file")]


@app.command()
def query(
    member: Annotated[str | None, typer.Option("--member", help="Member reference")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Event type")] = None,
    actor: Annotated[str | None, typer.Option("--actor")] = None,
    change: Annotated[str | None, typer.Option("--change", help="Change id")] = None,
    start: Annotated[str | None, typer.Option("--from", help="ISO 8601 with offset")] = None,
    end: Annotated[str | None, typer.Option("--to", help="ISO 8601 with offset")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1)] = 100,
    output: Format = "text",
) -> None:
    """List entries in the order they were appended."""
    names = {"member_ref": member, "type": type_, "actor": actor, "change_id": change}
    asked = {k: v for k, v in (names | {"from": start, "to": end}).items() if v is not None}
    with _client() as client:
        for entry in _entries(client, asked, limit):
            typer.echo(json.dumps(entry, ensure_ascii=False) if output == "json" else _row(entry))


def _entries(client: httpx.Client, asked: dict[str, str], limit: int) -> Iterator[dict[str, Any]]:
    cursor: str | None = "-1"
    while cursor is not None and limit > 0:
        size = min(limit, PAGE_MAX)
        page = _get(client, "/v1/audit/entries", asked | {"cursor": cursor, "limit": str(size)})
        yield from page["entries"]
        limit -= len(page["entries"])
        cursor = page["next"]


def _row(entry: dict[str, Any]) -> str:
    who = entry.get("recipient") or entry.get("actor") or "-"
    what = entry.get("stage") or entry["type"]
    return f"{entry['index']:>8}  {entry['at']}  {what:<36} {who:<14} {entry.get('member_ref', '-')}"


@app.command()
def prove(
    index: Annotated[int, typer.Argument(min=0)],
    output: Annotated[Path, typer.Option("--output", help="File to write (.tlog-proof)")],
) -> None:
    """Write the proof that an entry is in the log (C2SP tlog-proof, with the entry inside)."""
    with _client() as client:
        found = _get(client, f"/v1/audit/entries/{index}/proof", {})
    body = base64.b64decode(found["body_base64"])
    path = [base64.b64decode(value) for value in found["path"]]
    text = verifier.format_proof(index, body, path, found["checkpoint"])
    output.write_text(text, encoding="utf-8")
    typer.echo(f"entry {index} of {found['tree_size']}: {output}", err=True)


@app.command()
def verify(
    file: Annotated[Path | None, typer.Argument(help="A proof, an export or a certificate; absent: export now")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="A checkpoint kept elsewhere, or a folder of them"),
    ] = None,
    vkey: Key = None,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="The certificates' public keys (JWKS, GET /v1/erasures/keys)")
    ] = None,
    output: Format = "text",
) -> None:
    """Recompute every hash of a file, offline; of a certificate its signature too. Exit 3 when it does not hold."""
    settings = load_settings()
    # Read before the export, which must then be at least as long.
    outside = _outside(settings, checkpoint, use_default=file is None)
    key = _key(vkey or settings.data_dir / "audit.vkey")
    with _file_or_export(file) as path:
        try:
            if certificates.is_certificate(path):
                signed_by = _certificate_keys(keys or settings.data_dir / CERTIFICATE_KEYS)
                report = certificates.verify_certificate(path.read_bytes(), key, signed_by, outside)
            else:
                report = verifier.verify_file(path, key, outside)
        except OSError as error:
            _fail(f"cannot read {path}: {error.strerror}")
    _tell(report, output)
    if not report.ok:
        raise typer.Exit(EXIT_NOT_VERIFIED)


def _outside(settings: Settings, given: Path | None, *, use_default: bool) -> list[str]:
    path = given
    if path is None and use_default and (settings.data_dir / "checkpoints/latest.txt").exists():
        path = settings.data_dir / "checkpoints"
    if path is None:
        return []
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    try:
        return [one.read_text(encoding="utf-8") for one in files]
    except (OSError, UnicodeDecodeError):
        _fail(f"cannot read the checkpoint {path}")


def _certificate_keys(path: Path) -> Keys:
    try:
        return Keys.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        _fail(f"cannot read the certificates' keys {path}; save GET /v1/erasures/keys and name it with --keys")
    except BadKeysError:
        _fail(f"{path} is not a set of public keys (JWKS)")


def _key(path: Path) -> Verifier:
    try:
        return Verifier.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        _fail(f"cannot read the verifier key {path}; name it with --vkey")
    except CheckpointError:
        _fail(f"{path} is not a verifier key")


@contextmanager
def _file_or_export(file: Path | None) -> Iterator[Path]:
    if file is not None:
        yield file
        return
    with tempfile.TemporaryDirectory() as folder, _client() as client:
        path = Path(folder) / "export.ndjson"
        _download(client, path)
        yield path


def _tell(report: Report, output: str) -> None:
    if output == "json":
        found = {"ok": report.ok, "first_bad_index": report.first_bad_index, **asdict(report)}
        typer.echo(json.dumps(found))
        return
    if report.ok:
        what = {"export": f"{report.entries} entries", "certificate": f"the certificate, {report.entries} entries"}
        typer.echo(f"verified: {what.get(report.kind, 'the entry')}, tree size {report.size}")
        return
    typer.echo(f"NOT VERIFIED, first bad index: {report.first_bad_index}")
    for finding in report.findings:
        until = f" (or up to {finding.until - 1})" if finding.until else ""
        at = "" if finding.index is None else f" at index {finding.index}{until}"
        typer.echo(f"  {finding.code}{at}")


@app.command()
def checkpoint(output: Format = "text") -> None:
    """Print the latest signed checkpoint; keep it elsewhere and verify against it later."""
    with _client() as client:
        found = _get(client, "/v1/audit/checkpoint", {})
    typer.echo(json.dumps(found) if output == "json" else found["note"], nl=output == "json")


@app.command()
def export(
    output: Annotated[Path, typer.Option("--output", help="File to write")] = Path("audit-export.ndjson"),
) -> None:
    """Write the whole log up to the latest checkpoint as NDJSON, for `audit verify FILE`."""
    with _client() as client:
        _download(client, output)
    typer.echo(f"written: {output}", err=True)


def _download(client: httpx.Client, path: Path) -> None:
    partial = path.with_name(path.name + ".part")
    try:
        with client.stream("GET", "/v1/audit/export") as answer, partial.open("wb") as file:
            if answer.status_code != 200:
                answer.read()
                _refused(answer)
            for chunk in answer.iter_bytes():
                file.write(chunk)
    except httpx.HTTPError as error:
        _fail(f"the audit service does not answer ({type(error).__name__}); is it running?")
    partial.replace(path)


@contextmanager
def _client() -> Iterator[httpx.Client]:
    settings = load_settings().require("service_token")
    url = settings.audit_url or f"http://{settings.audit_host}:{settings.audit_port}"
    headers = {
        "Authorization": f"Bearer {settings.secret('service_token')}",
        "Accept-Language": "en",
    }
    with httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S) as client:
        yield client


def _get(client: httpx.Client, path: str, params: dict[str, str]) -> dict[str, Any]:
    try:
        answer = client.get(path, params=params)
    except httpx.HTTPError as error:
        _fail(f"the audit service does not answer ({type(error).__name__}); is it running?")
    if answer.status_code != 200:
        _refused(answer)
    found: dict[str, Any] = answer.json()
    return found


def _refused(answer: httpx.Response) -> NoReturn:
    try:
        problem = answer.json()
        _fail(f"{problem['code']}: {problem['detail']}")
    except (ValueError, KeyError):
        _fail(f"the audit service answered {answer.status_code}")


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(EXIT_FAILED)
