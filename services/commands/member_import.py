"""`dongui member import`: send an existing member base to the consent service, batch by batch.

Run it again after any stop: rows that are in already are recognised there and create nothing.
"""

import csv
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, TextIO

import httpx
import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from services.commands.context import PARTIAL, USAGE, Format, fail, load_settings, print_json, tell, wants_json
from services.commands.import_reasons import reason_of
from services.commands.import_rows import ColumnsError, Line, batches, read_csv, read_ndjson
from services.policy.model import load
from services.runtime.settings import Settings

ROWS_MAX: Final = 200
BYTES_MAX: Final = 192 * 1024
TIMEOUT_S: Final = 120.0
ATTEMPTS: Final = 8
PAUSE_S_MAX: Final = 5.0
TRANSIENT: Final = frozenset({409, 429, 500, 502, 503, 504})


class StoppedError(Exception):
    """The service did not take a batch; the message is its code, or the connection's error."""


def import_members(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE.ndjson|FILE.csv", exists=True, dir_okay=False, readable=True),
    ],
    errors: Annotated[
        Path | None, typer.Option("--errors", help="Rows not taken in, with reasons [default: FILE.errors.ndjson]")
    ] = None,
    output: Format = "text",
) -> None:
    """Take in an existing member base with its consent evidence. Exit 0 all in, 4 some rows refused, 1 stopped."""
    as_json = wants_json(output)
    if file.suffix not in {".ndjson", ".jsonl", ".csv"}:
        fail("FILE ends in .ndjson or .csv; docs/import.md says what is in it", USAGE)
    target = _target(file, errors)
    counts = _send_all(load_settings(), file, target)
    if not counts["error"] and errors is None:
        target.unlink(missing_ok=True)  # what an earlier run refused
    told = {name: counts[name] for name in ("created", "exists", "error")}
    if as_json:
        print_json(told | {"errors_file": str(target) if counts["error"] else None})
    else:
        typer.echo(" · ".join(f"{name} {count}" for name, count in told.items()))
    if counts["error"]:
        tell(f"{counts['error']} rows were not taken in; the reasons are in {target}")
        raise typer.Exit(PARTIAL)


def _target(file: Path, errors: Path | None) -> Path:
    """Return where refused rows are told: by no means the rows themselves, or what is no file at all."""
    target = errors or file.with_name(file.name + ".errors.ndjson")
    if target.exists() and (not target.is_file() or target.samefile(file)):
        fail(f"--errors {target} is the file to import, or no regular file; choose another", USAGE)
    return target


@contextmanager
def _refused(target: Path) -> Iterator[TextIO]:
    """Yield where to write; it takes the target's place at the end, however that comes, if anything was written."""
    part = target.with_name(target.name + ".part")
    with part.open("w", encoding="utf-8") as refused:
        try:
            yield refused
        finally:
            if refused.tell():
                part.replace(target)
            else:
                part.unlink()


def _send_all(settings: Settings, file: Path, target: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    try:
        with file.open("rb") as raw, _client(settings) as client, _refused(target) as refused:
            for batch in _progress(raw, file, batches(_lines(raw, file), rows_max=ROWS_MAX, bytes_max=BYTES_MAX)):
                counts.update(_send(client, batch, refused))
    except StoppedError as error:
        fail(f"the consent service did not take the rows ({error}). {_told(counts)}")
    except UnicodeDecodeError:
        fail(f"{file} is not UTF-8. {_told(counts)}")
    except ColumnsError as error:
        fail(f"{file} was not read: {error}. Keep one; nothing was sent", USAGE)
    except csv.Error as error:
        fail(f"{file} is not CSV ({type(error).__name__}). {_told(counts)}")
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}. {_told(counts)}")
    return counts


def _told(counts: Counter[str]) -> str:
    return f"{counts['created'] + counts['exists']} rows are in and stay in; run the same command again to go on."


def _lines(raw: BinaryIO, file: Path) -> Iterator[Line]:
    return read_csv(raw, _is_list) if file.suffix == ".csv" else read_ndjson(raw)


@cache
def _lists() -> frozenset[str]:
    return frozenset(name for name, item in load().items.items() if item.kind == "list")


def _is_list(item: str) -> bool:
    return item in _lists()


def _send(client: httpx.Client, batch: list[Line], refused: TextIO) -> Counter[str]:
    """Send one batch; write the refused rows' reasons; return the outcomes."""
    for line in batch:
        if line.code is not None:
            _write(refused, line.number, {"pointer": "", "code": line.code})
    sent = [line for line in batch if line.body is not None]
    answers = _post(client, [line.body for line in sent]) if sent else []
    for line, answer in zip(sent, answers, strict=True):
        for error in answer.get("errors", []):
            _write(refused, line.number, error)
    refused.flush()
    return Counter([answer["outcome"] for answer in answers] + ["error"] * (len(batch) - len(sent)))


def _write(refused: TextIO, number: int, error: dict[str, Any]) -> None:
    ko, en = reason_of(error["code"])
    told = {"row": number, **error, "reason": {"ko": ko, "en": en}}
    refused.write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE).decode())


def _post(client: httpx.Client, rows: list[Any]) -> list[dict[str, Any]]:
    """Send rows under one Idempotency-Key until they are answered; raise StoppedError when they never are."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    last = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(min(0.2 * 2**attempt, PAUSE_S_MAX))
        try:
            answer = client.post("/v1/members/import", json={"rows": rows}, headers=headers)
        except httpx.TransportError as error:
            last = type(error).__name__
            continue
        if answer.status_code == 200:
            return list(answer.json()["rows"])
        last = _code(answer)
        if answer.status_code not in TRANSIENT:
            break
    raise StoppedError(last)


def _code(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["code"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"


def _client(settings: Settings) -> httpx.Client:
    token = settings.require("service_token").secret("service_token")
    url = settings.consent_url or f"http://{settings.consent_host}:{settings.consent_port}"
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_S)


def _progress(raw: BinaryIO, file: Path, found: Iterator[list[Line]]) -> Iterator[list[Line]]:
    """Show how much of the file is in, on a terminal only."""
    with _bar(file) as (bar, task):
        for batch in found:
            yield batch
            if bar is not None:
                bar.update(task, completed=0 if raw.closed else raw.tell(), rows=batch[-1].number)


@contextmanager
def _bar(file: Path) -> Iterator[tuple[Progress | None, TaskID]]:
    if not sys.stderr.isatty():
        yield None, TaskID(0)
        return
    columns = (TextColumn("{task.fields[rows]} rows"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield bar, bar.add_task("import", total=file.stat().st_size, rows=0)
