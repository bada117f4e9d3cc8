"""`dongui audit`: ask the log, take proofs and exports away, verify them without the system."""

import base64
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import typer

from schemas.receipts import CODED_VALUE
from services.audit import certificates, kept
from services.audit import verify as verifier
from services.audit.certificates import BadKeysError, Keys
from services.audit.checkpoint import COSIGNER, ED25519, CheckpointError, Verifier, open_checkpoint
from services.audit.verify import Report
from services.commands.context import Format, load_settings, print_json, wants_json
from services.runtime.settings import Settings

TIMEOUT_S = 30.0
PAGE_MAX = 1000
EXIT_FAILED = 1
EXIT_NOT_VERIFIED = 3
CERTIFICATE_KEYS = "certificate.jwks"
STDOUT = Path("-")
FORMS = {"json": "ndjson"}
"""An export is a line for each entry, whatever it is called."""

app = typer.Typer(name="audit", help="The append-only log: query, proofs, verification.", no_args_is_help=True)
Member = Annotated[str | None, typer.Option("--member", help="Member reference")]
Type = Annotated[str | None, typer.Option("--type", help="Event type")]
Actor = Annotated[str | None, typer.Option("--actor")]
Affiliate = Annotated[str | None, typer.Option("--affiliate", help="Whose receipts and disclosures")]
Clause = Annotated[str | None, typer.Option("--clause", help="Of the policy: 5 finds 5.1 too")]
Change = Annotated[str | None, typer.Option("--change", help="Change id")]
Start = Annotated[str | None, typer.Option("--from", help="ISO 8601 with offset")]
End = Annotated[str | None, typer.Option("--to", help="ISO 8601 with offset")]


def _coded(reason: str | None) -> str | None:
    """A reason stays in the log for ever: the service refuses a text, and a header cannot carry every one."""
    if reason and CODED_VALUE.fullmatch(reason) is None:
        raise typer.BadParameter("a code or a file number: letters, digits and _.:/+- (100 at most), nobody's name")
    return reason


Reason = Annotated[
    str | None, typer.Option("--reason", help="Why: a code or a file number, recorded in the log", callback=_coded)
]
Key = Annotated[Path | None, typer.Option("--vkey", help="The log's verifier key file")]


@app.command()
def query(  # noqa: PLR0913, PLR0917 - one option each
    member: Member = None,
    type_: Type = None,
    actor: Actor = None,
    affiliate: Affiliate = None,
    clause: Clause = None,
    change: Change = None,
    start: Start = None,
    end: End = None,
    newest: Annotated[bool, typer.Option("--newest", help="The newest first")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1)] = 100,
    reason: Reason = None,
    output: Format = "text",
) -> None:
    """List entries in the order they were appended."""
    as_json = wants_json(output)
    names = {"member_ref": member, "type": type_, "actor": actor, "affiliate": affiliate, "clause": clause}
    names |= {"change_id": change, "from": start, "to": end, "order": "newest" if newest else "oldest"}
    with _client(reason) as client:
        found = list(_entries(client, {k: v for k, v in names.items() if v is not None}, limit))
    if as_json:
        print_json({"entries": found})
        return
    for entry in found:
        typer.echo(_row(entry))


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
    witness: Annotated[
        list[Path] | None, typer.Option("--witness", help="A witness's key file: its cosignature must be there")
    ] = None,
    output: Format = "text",
) -> None:
    """Recompute every hash of a file, offline; of a certificate its signature too. Exit 3 when it does not hold."""
    as_json = wants_json(output)
    settings = load_settings()
    # Read before the export, which must then be at least as long.
    outside = _outside(settings, checkpoint, use_default=file is None)
    leaves = _leaves(settings, checkpoint)
    key = _key(vkey or settings.data_dir / "audit.vkey")
    witnesses = [_key(path, COSIGNER) for path in witness or ()]
    with _file_or_export(file, _largest(outside, key)) as path:
        try:
            if certificates.is_certificate(path):
                signed_by = _certificate_keys(keys or settings.data_dir / CERTIFICATE_KEYS)
                report = certificates.verify_certificate(path.read_bytes(), key, signed_by, outside)
            else:
                report = verifier.verify_file(path, key, outside, witnesses=witnesses, leaves=leaves)
        except OSError as error:
            _fail(f"cannot read {path}: {error.strerror}")
    _tell(report, as_json=as_json)
    if not report.ok:
        raise typer.Exit(EXIT_NOT_VERIFIED)


def _outside(settings: Settings, given: Path | None, *, use_default: bool) -> list[str]:
    path = given
    if path is None and use_default and (settings.data_dir / "checkpoints/latest.txt").exists():
        path = settings.data_dir / "checkpoints"
    if path is None:
        return []
    try:
        return kept.notes(path) if path.is_dir() else [path.read_text(encoding="utf-8")]
    except (OSError, UnicodeDecodeError):
        _fail(f"cannot read the checkpoint {path}")


def _certificate_keys(path: Path) -> Keys:
    try:
        return Keys.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        _fail(f"cannot read the certificates' keys {path}; save GET /v1/erasures/keys and name it with --keys")
    except BadKeysError:
        _fail(f"{path} is not a set of public keys (JWKS)")


def _leaves(settings: Settings, given: Path | None) -> Iterable[bytes]:
    """Leaf hashes kept outside, wherever they are: a signed checkpoint must vouch for them before they count."""
    own = settings.data_dir / "checkpoints"
    folders = [own] if given is None else [given if given.is_dir() else given.parent, own]
    for folder in folders:
        found = kept.leaves(folder)
        if (first := next(found, None)) is not None:
            return chain([first], found)
    return ()


def _key(path: Path, kind: bytes = ED25519) -> Verifier:
    try:
        return Verifier.parse(path.read_text(encoding="utf-8"), kind)
    except (OSError, UnicodeDecodeError):
        _fail(f"cannot read the verifier key {path}; name it with --vkey")
    except CheckpointError:
        _fail(f"{path} is not a verifier key")


@contextmanager
def _file_or_export(file: Path | None, until: int) -> Iterator[Path]:
    if file is not None:
        yield file
        return
    with tempfile.TemporaryDirectory() as folder, _client() as client:
        path = Path(folder) / "export.ndjson"
        _download(client, path, {"until": str(until)})
        yield path


def _holds(note: str, key: Verifier) -> bool:
    try:
        return bool(open_checkpoint(note, key).size)
    except CheckpointError:
        return False


def _largest(notes: Sequence[str], key: Verifier) -> int:
    """Return the size of the largest checkpoint kept elsewhere: the export must reach it, or show that it cannot."""
    heads = [open_checkpoint(note, key) for note in notes if _holds(note, key)]
    return max((head.size for head in heads), default=0)


def _tell(report: Report, *, as_json: bool) -> None:
    if as_json:
        print_json({"ok": report.ok, "first_bad_index": report.first_bad_index, **asdict(report)})
        return
    if report.ok:
        named = {"proof": "the entry", "certificate": f"the certificate, {report.entries} entries"}
        what = named.get(report.kind, f"{report.entries} entries")
        by = f", cosigned by {', '.join(report.cosigned_by)}" if report.cosigned_by else ""
        left = f"; not borne out by the log: {', '.join(report.unchecked)}" if report.unchecked else ""
        typer.echo(f"verified: {what}, tree size {report.size}{by}{left}")
        return
    typer.echo(f"NOT VERIFIED, first bad index: {report.first_bad_index}")
    for finding in report.findings:
        until = f" (or up to {finding.until - 1})" if finding.until else ""
        at = "" if finding.index is None else f" at index {finding.index}{until}"
        typer.echo(f"  {finding.code}{at}")


@app.command()
def checkpoint(output: Format = "text") -> None:
    """Print the latest signed checkpoint; keep it elsewhere and verify against it later."""
    as_json = wants_json(output)
    with _client() as client:
        found = _get(client, "/v1/audit/checkpoint", {})
    if as_json:
        print_json(found)
    else:
        typer.echo(found["note"], nl=False)


@app.command()
def export(  # noqa: PLR0913, PLR0917 - one option each
    output: Annotated[Path, typer.Option("--output", help="File to write; - for stdout")] = Path("audit-export.ndjson"),
    form: Annotated[str, typer.Option("--format", help="ndjson (or json), or csv for Excel")] = "ndjson",
    member: Member = None,
    type_: Type = None,
    actor: Actor = None,
    affiliate: Affiliate = None,
    clause: Clause = None,
    change: Change = None,
    start: Start = None,
    end: End = None,
    reason: Reason = None,
) -> None:
    """Write the log up to the latest checkpoint, or a selection with its proofs, for `audit verify FILE`."""
    names = {"member_ref": member, "type": type_, "actor": actor, "affiliate": affiliate, "clause": clause}
    names |= {"change_id": change, "from": start, "to": end, "format": FORMS.get(form, form)}
    with _client(reason) as client, _written(output) as path:
        _download(client, path, {k: v for k, v in names.items() if v is not None})


@contextmanager
def _written(output: Path) -> Iterator[Path]:
    """Yield the file to write, and say so in the end; of `-` one whose content goes to stdout."""
    if output != STDOUT:
        yield output
        typer.echo(f"written: {output}", err=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield (path := Path(folder) / "export")
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)


@app.command()
def certificate(
    index: Annotated[int, typer.Argument(min=0)],
    output: Annotated[Path, typer.Option("--output", help="File to write (.html)")],
    reason: Reason = None,
) -> None:
    """Write a Korean certificate of an entry: a page to print, with the proof inside."""
    with _client(reason) as client:
        _download(client, output, {"format": "html"}, f"/v1/audit/entries/{index}/proof")
    typer.echo(f"written: {output}", err=True)


def _download(client: httpx.Client, path: Path, params: dict[str, str], url: str = "/v1/audit/export") -> None:
    partial = path.with_name(path.name + ".part")
    try:
        with client.stream("GET", url, params=params) as answer, partial.open("wb") as file:
            if answer.status_code != 200:
                answer.read()
                partial.unlink()
                _refused(answer)
            for chunk in answer.iter_bytes():
                file.write(chunk)
    except httpx.HTTPError as error:
        _fail(f"the audit service does not answer ({type(error).__name__}); is it running?")
    partial.replace(path)


@contextmanager
def _client(reason: str | None = None) -> Iterator[httpx.Client]:
    settings = load_settings().require("service_token")
    url = settings.audit_url or f"http://{settings.audit_host}:{settings.audit_port}"
    headers = {
        "Authorization": f"Bearer {settings.secret('service_token')}",
        "Accept-Language": "en",
        "X-Reason": reason or "cli",
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
