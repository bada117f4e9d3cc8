"""The verifier against files that were tampered with, by hand and by a careful owner."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.audit import checkpoint, tree, verify
from services.audit.checkpoint import Checkpoint

SEED = bytes(range(32))
OTHER_SEED = bytes(32)
NAME = "dongui.kr/audit"
KEY = checkpoint.verifier_of(NAME, SEED)
SIZES = (3, 7, 8, 12)

Line = dict[str, Any]


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def bodies(count: int = 12) -> list[str]:
    return [json.dumps({"n": n}, separators=(",", ":")) for n in range(count)]


def root(texts: list[str]) -> bytes:
    """MTH of RFC 6962 2.1, recursively, as the oracle."""
    if len(texts) == 1:
        return hashlib.sha256(b"\x00" + texts[0].encode()).digest()
    split = 1
    while split * 2 < len(texts):
        split *= 2
    return hashlib.sha256(b"\x01" + root(texts[:split]) + root(texts[split:])).digest()


def note(texts: list[str], size: int, seed: bytes = SEED) -> str:
    return checkpoint.sign(Checkpoint(NAME, size, root(texts[:size])), seed)


def entry(index: int, body: str) -> Line:
    leaf = hashlib.sha256(b"\x00" + body.encode()).digest()
    return {"kind": "entry", "index": index, "leaf_hash": _encoded(leaf), "body": body}


def log_of(texts: list[str], sizes: tuple[int, ...] = SIZES, seed: bytes = SEED) -> list[Line]:
    header = {"kind": "export", "version": 1, "origin": NAME}
    notes = [{"kind": "checkpoint", "size": s, "note": note(texts, s, seed)} for s in sizes]
    return [header, *notes, *(entry(n, text) for n, text in enumerate(texts))]


def written(path: Path, lines: list[Line]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def entries(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line["kind"] == "entry"]


def heads(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line["kind"] != "entry"]


def renumbered(lines: list[Line], texts: list[str]) -> list[Line]:
    """What an owner writes who also corrects indexes and leaf hashes, but has no signing key."""
    return [*heads(lines), *(entry(n, text) for n, text in enumerate(texts))]


def test_an_export_that_nobody_touched_is_verified(tmp_path: Path) -> None:
    path = written(tmp_path / "log", log_of(bodies()))
    report = verify.verify_file(path, KEY, [note(bodies(), 12), note(bodies(), 7)])
    assert report.ok, report.findings
    assert (report.entries, report.size, report.checkpoints) == (12, 12, 4)


def _updated(lines: list[Line]) -> list[Line]:
    entries(lines)[5]["body"] = '{"n":"other"}'
    return lines


def _updated_with_its_hash(lines: list[Line]) -> list[Line]:
    texts = bodies()
    texts[5] = '{"n":"other"}'
    return renumbered(lines, texts)


def _deleted(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line.get("index") != 5]


def _deleted_and_closed_up(lines: list[Line]) -> list[Line]:
    return renumbered(lines, bodies()[:5] + bodies()[6:])


def _swapped(lines: list[Line]) -> list[Line]:
    at = lines.index(entries(lines)[5])
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    return lines


def _swapped_and_renumbered(lines: list[Line]) -> list[Line]:
    texts = bodies()
    texts[5], texts[6] = texts[6], texts[5]
    return renumbered(lines, texts)


def _back_dated(lines: list[Line]) -> list[Line]:
    return renumbered(lines, [*bodies()[:5], '{"n":"back-dated"}', *bodies()[5:]])


def _tail_cut(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line.get("index", 0) < 10]


def _tail_cut_with_its_checkpoints(lines: list[Line]) -> list[Line]:
    kept = [line for line in _tail_cut(lines) if line.get("size", 0) < 10]
    return [line for line in kept if line.get("index", 0) < 8]


def _rewritten(lines: list[Line]) -> list[Line]:
    del lines
    return log_of(["{}", *bodies()[1:]], seed=OTHER_SEED)


TAMPERED: list[tuple[Callable[[list[Line]], list[Line]], str, int]] = [
    (_updated, "body_changed", 5),
    (_updated_with_its_hash, "root_differs", 3),
    (_deleted, "entry_missing", 5),
    (_swapped, "entry_missing", 5),
    (_swapped_and_renumbered, "root_differs", 3),
    (_back_dated, "root_differs", 3),
    (_tail_cut, "truncated", 8),
]


@pytest.mark.parametrize(("tamper", "code", "index"), TAMPERED)
def test_a_changed_log_is_found_from_its_own_checkpoints(tamper, code, index, tmp_path) -> None:
    path = written(tmp_path / "log", tamper(log_of(bodies())))
    report = verify.verify_file(path, KEY)
    assert code in {finding.code for finding in report.findings}
    assert report.first_bad_index == index


@pytest.mark.parametrize(("tamper", "code", "index"), TAMPERED)
def test_a_changed_log_without_checkpoints_is_found_from_one_outside(tamper, code, index, tmp_path) -> None:
    lines = [line for line in tamper(log_of(bodies())) if line["kind"] != "checkpoint"]
    path = written(tmp_path / "log", lines)
    report = verify.verify_file(path, KEY, [note(bodies(), 12)])
    assert code in {finding.code for finding in report.findings}
    assert report.first_bad_index is not None
    assert report.first_bad_index <= index


@pytest.mark.f(25)
def test_a_deleted_entry_is_found_after_the_others_were_renumbered(tmp_path: Path) -> None:
    path = written(tmp_path / "log", _deleted_and_closed_up(log_of(bodies())))
    report = verify.verify_file(path, KEY)
    assert [(f.code, f.index, f.until) for f in report.findings] == [("root_differs", 3, 7)]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    written(path, [line for line in lines if line["kind"] != "checkpoint"])
    report = verify.verify_file(path, KEY, [note(bodies(), 12)])
    assert [(f.code, f.index, f.until) for f in report.findings] == [("truncated", 0, 12)]


def test_a_changed_body_between_two_checkpoints_is_bracketed_by_them(tmp_path: Path) -> None:
    path = written(tmp_path / "log", _updated_with_its_hash(log_of(bodies())))
    report = verify.verify_file(path, KEY)
    assert [(f.code, f.index, f.until) for f in report.findings] == [("root_differs", 3, 7)]


@pytest.mark.f(25)
def test_a_cut_tail_with_its_checkpoints_needs_one_from_outside(tmp_path: Path) -> None:
    path = written(tmp_path / "log", _tail_cut_with_its_checkpoints(log_of(bodies())))
    assert verify.verify_file(path, KEY).ok
    report = verify.verify_file(path, KEY, [note(bodies(), 12)])
    assert [(f.code, f.index, f.until) for f in report.findings] == [("truncated", 8, 9)]


def test_a_rewritten_log_signed_by_another_key_is_found(tmp_path: Path) -> None:
    report = verify.verify_file(written(tmp_path / "log", _rewritten([])), KEY)
    assert {f.code for f in report.findings} == {"bad_checkpoint", "no_checkpoint"}


@pytest.mark.f(25)
def test_a_rewritten_log_signed_by_the_stolen_key_is_found_from_outside(tmp_path: Path) -> None:
    lines = log_of(["{}", *bodies()[1:]])
    assert verify.verify_file(written(tmp_path / "log", lines), KEY).ok
    report = verify.verify_file(tmp_path / "log", KEY, [note(bodies(), 7)])
    assert "checkpoints_contradict" in {f.code for f in report.findings}
    assert report.first_bad_index == 3


def test_entries_beyond_every_checkpoint_are_said_to_be_unsigned(tmp_path: Path) -> None:
    path = written(tmp_path / "log", log_of(bodies(), (3, 7)))
    report = verify.verify_file(path, KEY)
    assert [(f.code, f.index, f.until) for f in report.findings] == [("tail_not_signed", 7, 12)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}\n",
        b"no json\n",
        b'{"kind":"export","version":2}\n',
        b'{"kind":"export","version":1}\n[]\n',
        b'{"kind":"export","version":1}\n{"kind":"other"}\n',
        b'{"kind":"export","version":1}\n{"kind":"entry","index":0}\n',
        b'{"kind":"export","version":1}\n{"kind":"entry","index":0,"body":"',
    ],
)
def test_a_file_that_is_no_export_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(content)
    report = verify.verify_file(tmp_path / "log", KEY)
    assert "bad_export_file" in {f.code for f in report.findings}


def proof(index: int = 5, size: int = 12) -> str:
    texts = bodies()
    nodes, grown = {}, tree.Frontier()
    for n, text in enumerate(texts[:size]):
        nodes[0, n] = hashlib.sha256(b"\x00" + text.encode()).digest()
        nodes |= {(level, at): value for level, at, value in grown.push(nodes[0, n])}
    path = tree.hashes_of(tree.inclusion_ranges(index, size), nodes.__getitem__)
    return verify.format_proof(index, texts[index].encode(), path, note(texts, size))


def test_a_proof_file_has_the_lines_of_the_specification() -> None:
    lines = proof().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1] == "extra " + base64.b64encode(b'{"n":5}').decode()
    assert lines[2] == "index 5"
    assert lines[lines.index("") + 1 : lines.index("") + 3] == [NAME, "12"]


def test_a_proof_file_is_verified(tmp_path: Path) -> None:
    (tmp_path / "p").write_text(proof())
    report = verify.verify_file(tmp_path / "p", KEY, [note(bodies(), 12)])
    assert report.ok
    assert (report.kind, report.size) == ("proof", 12)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda t: t.replace("index 5", "index 6"), "not_included"),
        (lambda t: t.replace("index 5", "index 05"), "bad_proof_file"),
        (lambda t: t.replace(_encoded(b'{"n":5}'), _encoded(b'{"n":6}')), "not_included"),
        (lambda t: t.replace("extra ", ""), "bad_proof_file"),
        (lambda t: t.replace("\n12\n", "\n13\n"), "bad_signature"),
        (lambda t: t.split("\n\n", 1)[0], "bad_proof_file"),
        (lambda t: t.split("\n\n", 1)[0] + "\n\n" + note(bodies(), 12, OTHER_SEED), "unknown_key"),
    ],
)
def test_a_changed_proof_file_is_refused(change, code, tmp_path: Path) -> None:
    (tmp_path / "p").write_text(change(proof()))
    report = verify.verify_file(tmp_path / "p", KEY)
    assert [f.code for f in report.findings] == [code]


def test_a_proof_is_compared_with_an_outside_checkpoint_of_its_size(tmp_path: Path) -> None:
    (tmp_path / "p").write_text(proof())
    other = note(["{}", *bodies()[1:]], 12)
    report = verify.verify_file(tmp_path / "p", KEY, [other])
    assert [f.code for f in report.findings] == ["outside_checkpoint_differs"]
    report = verify.verify_file(tmp_path / "p", KEY, [note(bodies(), 7)])
    assert [f.code for f in report.findings] == ["outside_checkpoint_of_other_size"]
