"""Certificates, selections and sheets: what is given out is verified, and what was changed is not."""

import base64
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from services.audit import certificate, checkpoint, cosignature, sheet, tree, verify
from services.audit.checkpoint import Checkpoint
from services.audit.proofs import format_proof

SEED, WITNESS_SEED = bytes(range(32)), bytes(range(1, 33))
ORIGIN, WITNESS_NAME = "dongui.kr/audit", "witness.example/w1"
KEY = checkpoint.verifier_of(ORIGIN, SEED)
WITNESS = cosignature.cosigner_of(WITNESS_NAME, WITNESS_SEED)
AT = "2026-11-24T15:00:00Z"


def body(n: int) -> bytes:
    data = {"change_id": f"c{n}", "at": AT, "actor": "member", "items": ["email", "<script>"], "seq": n}
    told = {"data": data, "envelope": {"type": "kr.dongui.member.corrected.v1"}, "source": {"offset": n}}
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()


BODIES = [body(n) for n in range(12)]


def grown() -> tuple[bytes, dict[tree.Coordinate, bytes]]:
    frontier, nodes = tree.Frontier(), {}
    for n, text in enumerate(BODIES):
        nodes[0, n] = tree.leaf_hash(text)
        nodes |= {(level, at): value for level, at, value in frontier.push(nodes[0, n])}
    return frontier.root(), nodes


def note() -> str:
    made = checkpoint.sign(Checkpoint(ORIGIN, len(BODIES), grown()[0]), SEED)
    return made + cosignature.cosign(checkpoint.text_part(made), WITNESS_NAME, WITNESS_SEED, 1_700_000_000)


def path_of(index: int) -> list[bytes]:
    return tree.hashes_of(tree.inclusion_ranges(index, len(BODIES)), grown()[1].__getitem__)


def proof(index: int = 5) -> str:
    return format_proof(index, BODIES[index], path_of(index), note())


def checked(path: Path, text: str) -> verify.Report:
    path.write_bytes(text.encode())
    return verify.verify_file(path, KEY, witnesses=[WITNESS])


def codes(report: verify.Report) -> list[str]:
    return [finding.code for finding in report.findings]


def test_a_certificate_says_in_korean_what_the_entry_says(tmp_path: Path) -> None:
    page = certificate.page(proof())
    assert "감사 기록 확인서" in page
    assert "정정 (kr.dongui.member.corrected.v1)" in page
    assert "2026-11-25 00:00:00" in page  # 15:00 UTC in Korea
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    report = checked(tmp_path / "c.html", page)
    assert report.ok, report.findings
    assert (report.kind, report.size, report.cosigned_by) == ("certificate", 12, [WITNESS_NAME])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda t: t.replace("회원", "사람").replace("2026-11-25", "2026-11-24"), "page_differs"),
        (lambda t: t.replace("<td>5</td>", "<td>6</td>", 1), "page_differs"),
        (lambda t: t.replace("index 5", "index 6"), "not_included"),
        (lambda t: t.replace('<pre id="proof">', "<pre>"), "bad_proof_file"),
        (lambda t: t.replace("\n12\n", "\n13\n"), "bad_signature"),
        (lambda t: t + "<p>x</p>", "page_differs"),
    ],
)
def test_a_certificate_whose_page_or_proof_was_changed_is_refused(
    change: Callable[[str], str], code: str, tmp_path: Path
) -> None:
    assert codes(checked(tmp_path / "c.html", change(certificate.page(proof())))) == [code]


def test_a_witness_that_is_asked_for_must_have_signed(tmp_path: Path) -> None:
    bare = proof().rsplit("— ", 1)[0]
    assert codes(checked(tmp_path / "p", bare)) == ["not_cosigned"]
    assert verify.verify_file(tmp_path / "p", KEY).ok


def selection(indexes: tuple[int, ...] = (1, 5, 11)) -> str:
    lines = [{"kind": "selection", "version": 1, "checkpoint": note()}]
    for n in indexes:
        path = [base64.b64encode(value).decode() for value in path_of(n)]
        lines.append({"kind": "entry", "index": n, "body": BODIES[n].decode(), "path": path})  # type: ignore[dict-item]
    return "".join(json.dumps(line) + "\n" for line in lines)


def sheet_of(indexes: tuple[int, ...] = (1, 5, 11)) -> str:
    rows = [sheet.row({"index": n, "type": "t", "body": BODIES[n].decode()}, path_of(n)) for n in indexes]
    return sheet.head() + "".join(rows) + sheet.foot(note())


@pytest.mark.parametrize("made", [selection, sheet_of])
def test_each_entry_of_a_selection_is_proved(made: Callable[[], str], tmp_path: Path) -> None:
    report = checked(tmp_path / "s", made())
    assert report.ok, report.findings
    assert (report.kind, report.entries, report.size, report.cosigned_by) == ("selection", 3, 12, [WITNESS_NAME])


@pytest.mark.parametrize("made", [selection, sheet_of])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda t: t.replace("c5", "c6"), "not_included"),
        (lambda t: t.replace("12\\n", "13\\n").replace("\n12\n", "\n13\n"), "bad_signature"),
        (lambda t: t[: len(t) // 2], "bad_selection_file"),
    ],
)
def test_a_changed_selection_is_refused(made: Callable[[], str], change, code: str, tmp_path: Path) -> None:
    assert code in codes(checked(tmp_path / "s", change(made())))


def test_a_sheet_opens_in_a_korean_excel() -> None:
    text = sheet_of()
    assert text.startswith("\ufeff번호,일시(KST),")
    assert text.endswith("\r\n")
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    assert [row[0] for row in rows] == ["번호", "1", "5", "11", "체크포인트"]
    assert {len(row) for row in rows[:-1]} == {len(sheet.HEADS)}
    formulas = ("=", "+", "-", "@", "\t", "\r")
    assert not any(cell.startswith(formulas) for row in rows for cell in row)


@pytest.mark.parametrize("cell", ["=1+1", "+82", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1", "  =1", "\n=1"])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert sheet.guarded(cell) == f"'{cell}"
    assert sheet.guarded(f"a{cell}") == f"a{cell}"
    assert sheet.guarded(None) == ""
    assert sheet.guarded(12) == "12"
