"""Fuzzing (F9, F21, F32): whatever bytes come, every reader answers with a result or a documented error, and soon."""

import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from schemas import codec
from schemas.errors import CodecError
from tests.fuzz.targets import TARGETS, BrokenPromiseError, Target, clear_record, webhook

pytestmark = [pytest.mark.f(9), pytest.mark.f(21), pytest.mark.f(32)]
SOON_S = 1.0
"""Of the processor's time; for at most some kilobytes."""
SPICE = (
    b"\\u0000",
    b"\\ud800",
    b"\x00",
    b"\xff",
    b"null",
    b"1e999",
    b"NaN",
    b"[" * 60,
    b"9" * 40,
    b'"',
    b"{}",
    b"-0",
    b",",
)
Edit = tuple[int, int, bytes]
edits: st.SearchStrategy[list[Edit]] = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 12), st.binary(max_size=6) | st.sampled_from(SPICE)),
    max_size=4,
)


def edited(seed: bytes, changes: list[Edit]) -> bytes:
    """Replace some bytes of a good input by others."""
    for place, length, other in changes:
        at = place % (len(seed) + 1)
        seed = seed[:at] + other + seed[at + length :]
    return seed


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Good inputs with a few bytes changed, and now and then any bytes at all."""
    spoilt = st.builds(edited, st.sampled_from(target.seeds), edits)
    return spoilt | st.binary(max_size=200)


def fuzzed(name: str, examples: int) -> Callable[[], None]:
    """Return a run of so many examples against one target."""
    target = TARGETS[name]

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=inputs(target))
    def run(data: bytes) -> None:
        started = time.process_time()
        target.run(data)
        assert time.process_time() - started < SOON_S

    return run


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_keeps_its_promise(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)
    fuzzed(name, 40)()


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_keeps_its_promise_for_many(name: str) -> None:
    fuzzed(name, 1_500)()


def test_every_byte_of_a_notice_counts() -> None:
    """F21: each single byte of id, time and body changed is refused, by the library and by our example receiver."""
    for seed in TARGETS["webhook"].seeds:
        for place in range(len(seed)):
            webhook(seed[:place] + bytes([seed[place] ^ 1]) + seed[place + 1 :])


def test_a_broken_promise_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness itself: a reader that quotes what it was given does not pass."""

    class ChattyError(CodecError):
        def __str__(self) -> str:
            return "cannot read canary-9f2c7d@hong.example"

    def chatty(*_: object) -> None:
        raise ChattyError("bad_json")

    monkeypatch.setattr(codec, "decode_clear", chatty)
    with pytest.raises(BrokenPromiseError):
        clear_record("fact", b"{}")
