"""A selection of entries as CSV that opens in a Korean Excel: UTF-8 with BOM, Korean heads, no cell that is a formula.

Hashes are hexadecimal: base64 may begin with `+`, which Excel would take for a formula. The last row holds the
checkpoint, so that the file as it was downloaded can be verified. Pure.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BOM = "\ufeff"
HEADS = {
    "index": "번호",
    "at": "일시(KST)",
    "type": "종류",
    "stage": "단계",
    "actor": "행위자",
    "recipient": "받는 곳",
    "clauses": "조항",
    "member_ref": "회원 참조 번호",
    "change_id": "변경 번호",
    "seq": "순번",
    "body": "원문",
    "path": "증명",
}
CHECKPOINT = "체크포인트"
FIRST_LINE = ",".join(HEADS.values())
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@dataclass(frozen=True)
class Row:
    """What is verified of one row."""

    index: int
    body: str
    path: list[bytes]


def guarded(value: Any) -> str:
    """Return a cell that no spreadsheet takes for a formula: what could be one gets an apostrophe before it."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def line(cells: Iterable[Any]) -> str:
    """Return one CSV line."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerow([guarded(cell) for cell in cells])
    return file.getvalue()


def head() -> str:
    """Return the first line, with the BOM."""
    return BOM + line(HEADS.values())


def row(cells: Mapping[str, Any], path: Sequence[bytes]) -> str:
    """Return the line of one entry; `cells` by the names of HEADS, `body` the exact text."""
    told = {**cells, "path": " ".join(value.hex() for value in path)}
    return line(told.get(name) for name in HEADS)


def foot(note: str) -> str:
    """Return the last line: the checkpoint all proofs lead to."""
    return line([CHECKPOINT, note])


def parse(text: str) -> tuple[str, list[Row]]:
    """Return the checkpoint's note and the rows; raise ValueError, IndexError for what is no such file."""
    first, *rows, last = csv.reader(io.StringIO(text.removeprefix(BOM), newline=""))
    if first != list(HEADS.values()) or last[0] != CHECKPOINT:
        raise ValueError("not a sheet of entries")
    index, body, path = (list(HEADS).index(name) for name in ("index", "body", "path"))
    return last[1], [Row(int(r[index]), r[body], [bytes.fromhex(h) for h in r[path].split()]) for r in rows]
