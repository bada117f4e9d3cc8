"""Pure: the rows of an import file, NDJSON or CSV, as the bodies the consent service takes (docs/import.md)."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, BinaryIO, Final

import orjson

BOOLEANS: Final = {"true": True, "y": True, "1": True, "false": False, "n": False, "0": False}
LIST_SEPARATOR: Final = ";"
PROFILE: Final = "profile."
CONSENTS: Final = "consents."
AGE_DECLARATION: Final = "age_declaration"
ROW_BYTES_MAX: Final = 64 * 1024


class ColumnsError(Exception):
    """Two columns of the header say the same thing, or one a part of the other: keep one. The message numbers them."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"columns {first} and {second} of its header name the same field, or one a part of the other")


@dataclass(frozen=True)
class Line:
    """One row of the file by its number (the first row is 1; a CSV's header has none): a body, or a code why not."""

    number: int
    body: dict[str, Any] | None
    code: str | None = None


def read_ndjson(file: BinaryIO) -> Iterator[Line]:
    """Return the rows of a file with one JSON object per line; blank lines are passed over."""
    for number, raw in enumerate(file, start=1):
        text = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
        if text.strip():
            yield _from_json(number, text)


def _from_json(number: int, text: bytes) -> Line:
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return Line(number, None, "bad_json")
    if not isinstance(body, dict):
        return Line(number, None, "not_an_object")
    return Line(number, body) if len(text) <= ROW_BYTES_MAX else Line(number, None, "row_too_large")


def read_csv(file: BinaryIO, is_list: Callable[[str], bool]) -> Iterator[Line]:
    """Return the rows of a CSV with a header of dotted columns; `is_list` says which profile items are lists.

    Raises ColumnsError before any row, UnicodeDecodeError and csv.Error for a file that is not CSV in UTF-8.
    """
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, strict=True)
        header = [name.strip() for name in next(rows, [])]
        _require_one_column_each(header)
        for number, cells in enumerate(rows, start=1):
            if cells:
                yield _from_cells(number, header, cells, is_list)


def _require_one_column_each(header: list[str]) -> None:
    """Of two cells for one field neither is the member's word: nothing may choose the one that says yes (1.5, 3.1)."""
    paths = sorted((column.split("."), number) for number, column in enumerate(header, start=1) if column)
    for (outer, first), (inner, second) in pairwise(paths):
        if inner[: len(outer)] == outer:
            raise ColumnsError(*sorted((first, second)))


def _from_cells(number: int, header: list[str], cells: list[str], is_list: Callable[[str], bool]) -> Line:
    if len(cells) != len(header):
        return Line(number, None, "wrong_number_of_columns")
    body: dict[str, Any] = {}
    for column, cell in zip(header, cells, strict=True):
        if cell != "":
            _place(body, column, cell, is_list)
    return Line(number, body)


def _place(body: dict[str, Any], column: str, cell: str, is_list: Callable[[str], bool]) -> None:
    """Put one cell where its column says. An empty cell is absent, and absence never means yes."""
    if column.startswith(PROFILE):
        item, profiles = column.removeprefix(PROFILE), body.setdefault("profiles", [{}])
        if isinstance(profiles, list):  # else a column `profiles` stands beside: the service refuses its text
            profiles[0][item] = _texts(cell) if is_list(item) else cell
    elif column.startswith(CONSENTS):
        _nest(body, column.split("."), BOOLEANS.get(cell.strip().lower(), cell))
    elif column == AGE_DECLARATION:
        body[column] = BOOLEANS.get(cell.strip().lower(), cell)
    else:
        body[column] = cell


def _texts(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(LIST_SEPARATOR) if part.strip()]


def _nest(body: dict[str, Any], path: list[str], value: object) -> None:
    """No column is a part of another, so that what is met on the way is always an object."""
    for name in path[:-1]:
        body = body.setdefault(name, {})
    body[path[-1]] = value


def batches(lines: Iterable[Line], *, rows_max: int, bytes_max: int) -> Iterator[list[Line]]:
    """Group rows, in order, into batches of at most so many rows and bytes of JSON; bad lines take no room."""
    batch: list[Line] = []
    rows = size = 0
    for line in lines:
        length = 0 if line.body is None else len(orjson.dumps(line.body)) + 1
        if batch and (rows == rows_max or size + length > bytes_max or len(batch) >= 2 * rows_max):
            yield batch
            batch, rows, size = [], 0, 0
        batch.append(line)
        rows, size = rows + (line.body is not None), size + length
    if batch:
        yield batch
