"""The witness over HTTP, by the book of C2SP tlog-witness: it cosigns consistent growth and nothing else."""

import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from services.audit import checkpoint, cosignature
from services.audit.checkpoint import Checkpoint
from services.audit.witness import app
from services.audit.witness.app import Parts
from services.audit.witness.state import State, StateError
from services.runtime.settings import Settings

SEED, WITNESS_SEED = bytes(range(32)), bytes(range(1, 33))
ORIGIN = "dongui.kr/audit"
LEAVES = [hashlib.sha256(b"\x00" + str(n).encode()).digest() for n in range(20)]


def root(hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962 2.1 over leaf hashes, recursively: the oracle."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return hashlib.sha256(b"\x01" + root(hashes[:split]) + root(hashes[split:])).digest()


def proof(old: int, hashes: list[bytes], whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 6962 2.1.2, recursively: the oracle."""
    if old == len(hashes):
        return [] if whole else [root(hashes)]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    if old <= split:
        return [*proof(old, hashes[:split], whole), root(hashes[split:])]
    return [*proof(old - split, hashes[split:], False), root(hashes[:split])]


def note(size: int, leaves: list[bytes] = LEAVES, seed: bytes = SEED, origin: str = ORIGIN) -> str:
    return checkpoint.sign(Checkpoint(origin, size, root(leaves[:size])), seed)


def body(old: int, new: int, *, path: list[bytes] | None = None, signed: str | None = None) -> bytes:
    if path is None:
        path = proof(old, LEAVES[:new]) if 0 < old < new else []
    lines = "".join(base64.b64encode(value).decode() + "\n" for value in path)
    return f"old {old}\n{lines}\n{signed or note(new)}".encode()


def settings_in(folder: Path) -> Settings:
    (folder / "seed").write_bytes(WITNESS_SEED)
    (folder / "logs").write_text(checkpoint.verifier_of(ORIGIN, SEED).vkey() + "\n")
    return Settings(
        data_dir=folder,
        witness_name="witness.example/w1",
        witness_signing_key_file=folder / "seed",
        witness_logs_file=folder / "logs",
    )


@pytest.fixture
def parts(tmp_path: Path):
    with app.built(settings_in(tmp_path), create=True) as made:
        yield made


@pytest.fixture
async def client(parts: Parts) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app.application(parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://witness") as made:
        yield made


async def asked(client: httpx.AsyncClient, content: bytes) -> tuple[int, str]:
    answer = await client.post("/add-checkpoint", content=content)
    return answer.status_code, answer.text


async def test_growth_is_cosigned_step_by_step(client: httpx.AsyncClient, parts: Parts) -> None:
    key = cosignature.cosigner_key((await client.get("/vkey")).text)
    for old, new in ((0, 3), (3, 7), (7, 8), (8, 8), (8, 20)):
        status, line = await asked(client, body(old, new))
        assert status == 200
        assert [one.name for one in cosignature.cosigned(note(new) + line, [key])] == ["witness.example/w1"]
        assert parts.state.known[ORIGIN].size == new


FORKED = [hashlib.sha256(b"other").digest(), *LEAVES[1:]]


@pytest.mark.f(27)
@pytest.mark.parametrize(
    ("content", "status", "text"),
    [
        (body(0, 8), 409, "7\n"),  # the log did not know our size
        (body(3, 8), 409, "7\n"),
        (body(7, 7, signed=note(7, FORKED)), 409, "7\n"),  # a split view
        (body(3, 5), 409, "7\n"),  # a shortened log
        (body(7, 8, path=[]), 422, "inconsistent\n"),
        (body(7, 8, path=[bytes(32)] * 3), 422, "inconsistent\n"),
        (body(7, 9, signed=note(9, FORKED)), 422, "inconsistent\n"),  # a rewritten chain
        (body(7, 8, signed=note(8, seed=WITNESS_SEED)), 403, "unknown_key\n"),
        (body(7, 8, signed=note(8).replace("\n8\n", "\n9\n")), 403, "bad_signature\n"),
        (body(7, 8, signed=note(8, origin="other.example")), 404, "unknown_log\n"),
        (body(9, 8), 400, "old_size_too_large\n"),
        (b"", 400, "bad_request\n"),
        (body(7, 8).replace(b"old 7", b"old 07"), 400, "bad_request\n"),
        (body(7, 8, path=[bytes(31)]), 400, "bad_request\n"),
        (body(7, 8, path=[bytes(32)] * 64), 400, "bad_request\n"),
        (body(7, 8) + b"x" * 70_000, 413, "too_large\n"),
    ],
)
async def test_everything_else_is_refused_and_changes_nothing(client, parts: Parts, content, status, text) -> None:
    assert (await asked(client, body(0, 7)))[0] == 200
    assert await asked(client, content) == (status, text)
    assert parts.state.known[ORIGIN] == Checkpoint(ORIGIN, 7, root(LEAVES[:7]))
    assert (await asked(client, body(7, 8)))[0] == 200


@pytest.mark.f(27)
async def test_a_split_view_is_kept_as_evidence_once(client: httpx.AsyncClient, parts: Parts) -> None:
    await asked(client, body(0, 7))
    for _ in range(2):
        await asked(client, body(7, 7, signed=note(7, FORKED)))
    assert evidence(parts, "split") == [body(7, 7, signed=note(7, FORKED))]
    await asked(client, body(7, 7, path=[bytes(32)], signed=note(7, FORKED)))  # the same note, sent otherwise
    assert evidence(parts, "split") == [body(7, 7, signed=note(7, FORKED))]


def evidence(parts: Parts, kind: str) -> list[bytes]:
    return [path.read_bytes() for path in (parts.folder / "evidence" / kind).iterdir()]


async def test_made_up_proofs_leave_room_for_a_split_view(client: httpx.AsyncClient, parts: Parts) -> None:
    """Found in review: anybody can send a genuine note with any proof, and a hundred of them filled the folder."""
    leaves = [hashlib.sha256(bytes([n])).digest() for n in range(110)]
    await asked(client, body(0, 7))
    for size in range(8, 108):
        sent = body(7, size, path=[bytes([size]) * 32], signed=note(size, LEAVES[:7] + leaves))
        assert await asked(client, sent) == (422, "inconsistent\n")
    assert len(evidence(parts, "unproven")) == 10
    assert await asked(client, body(7, 7, signed=note(7, FORKED))) == (409, "7\n")
    assert evidence(parts, "split") == [body(7, 7, signed=note(7, FORKED))]


async def test_an_old_checkpoint_sent_again_by_anybody_is_no_evidence(client: httpx.AsyncClient, parts: Parts) -> None:
    await asked(client, body(0, 7))
    assert await asked(client, body(0, 3)) == (409, "7\n")
    assert not (parts.folder / "evidence").exists()


async def test_a_restarted_witness_remembers(client: httpx.AsyncClient, parts: Parts, tmp_path: Path) -> None:
    await asked(client, body(0, 7))
    parts.state.close()
    again = State(parts.folder / "state.json")
    assert again.known == {ORIGIN: Checkpoint(ORIGIN, 7, root(LEAVES[:7]))}
    again.close()


def test_a_lost_or_broken_memory_is_not_replaced_in_silence(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="--create"):
        State(tmp_path / "state.json")
    (tmp_path / "state.json").write_text("[]")
    with pytest.raises(StateError, match="not a witness's state"):
        State(tmp_path / "state.json", create=True)


def test_two_witnesses_never_share_a_memory(tmp_path: Path) -> None:
    first = State(tmp_path / "state.json", create=True)
    with pytest.raises(StateError, match="another witness"):
        State(tmp_path / "state.json")
    first.close()
