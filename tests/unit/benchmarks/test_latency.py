"""The latency of a change: what a round found, the series of all rounds, and changes sent whether or not answered."""

import asyncio

import pytest

from benchmarks import latency, load, paced
from benchmarks.ours import Ran
from benchmarks.paced import Answered, Answers

REFS = ("a", "b")


def _ran(*commits_ms: float, refused: int = 0) -> Ran:
    """A run of two corrections, due at 10 s and answered 20 ms later, produced 5 ms after that."""
    answers = Answers([], [Answered(ref, 2, 10.0, 10.02) for ref in REFS], refused)
    committed = {(ref, 2): 10.02 + ms / 1000 for ref, ms in zip(REFS, commits_ms, strict=True)}
    return Ran(answers, 0.5, {(ref, 2): 10.025 for ref in REFS}, committed, {"consent": 9.0})


def test_a_round_says_how_long_each_stage_took_and_what_a_change_cost() -> None:
    found = latency.figures(_ran(30, 30), [10.0, 10.0])
    stages = ("correction_http_ms", "to_last_produced_ms", "to_last_commit_ms", "produced_to_commit_ms", "bare_ms")
    assert [found[stage]["p50"] for stage in stages] == [20.0, 5.0, 30.0, 25.0, 10.0]
    assert found["sign_up_http_ms"] == {}
    assert (found["accepted"], found["accepted_per_s"], found["cpu_ms_a_change"]) == (2, 4.0, {"consent": 4.5})


def test_ratios_are_of_each_pair_and_what_was_refused_is_of_all_rounds() -> None:
    rounds = [
        latency.figures(_ran(30, 30, refused=1), [10.0, 10.0]),
        latency.figures(_ran(40, 40), [40.0, 40.0]),
        latency.figures(_ran(50, 50, refused=2), [25.0, 25.0]),
    ]
    found = latency.summary(rounds)
    assert found["ratio"]["p50"] == {"median": 2.0, "min": 1.0, "max": 3.0, "spread": 1.0}
    assert found["to_last_commit_ms"]["p99"] == {"median": 40.0, "min": 30.0, "max": 50.0, "spread": 0.5}
    assert (found["refused"], found["accepted"], found["sign_up_http_ms"]) == (3, 6, {})


def test_every_so_many_requests_one_is_a_sign_up() -> None:
    made = paced.requests(["a", "b", "c", "d"], 2, "token")
    assert [ref for ref, _ in made] == ["", "b", "", "d"]
    assert [ref for ref, _ in paced.requests(["a", "b"], 0, "token")] == ["a", "b"]


async def _answered(answers: dict[bytes, str], made: list[str], patience_s: float = 5.0) -> Answers:
    """Send to a server that gives each path its answer, or none."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
                await reader.readexactly(2)
                if path in answers:
                    writer.write(answers[path].encode())
        except asyncio.IncompleteReadError:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        requests = [(path, load.request("PATCH", f"/{path}", {}, {})) for path in made]
        return await paced.sent(server.sockets[0].getsockname()[1], requests, 100.0, patience_s)


def _answer(status: str, body: str) -> str:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}"


async def test_a_change_refused_or_without_an_answer_is_counted_and_holds_nobody_up() -> None:
    answers = {b"/good": _answer("200 OK", '{"seq": 2}'), b"/full": _answer("503 Busy", "{}")}
    found = await _answered(answers, ["silent", "full", "good"], patience_s=0.5)
    assert (found.unanswered, found.refused, [a.key for a in found.all]) == (1, 1, [("good", 2)])


async def test_an_answer_that_is_neither_success_nor_refusal_fails_the_run() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await _answered({b"/bad": _answer("409 Conflict", "{}")}, ["bad"])
    assert "409" in str(raised.value.exceptions[0])
