"""What the conformance kit makes of a backend that says something else than it must, or cannot be started."""

import sys
from pathlib import Path

import pytest

from services.commands.conformance import Backend, BackendError, Keys, said_by
from services.runtime.settings import Settings

REF = "0198a000-0000-7000-8000-000000000001"


def backend(command: str, folder: Path) -> Backend:
    return Backend(Settings(profile="dev", kafka="127.0.0.1:9"), command, "conformance-0-", Keys(), folder / "store")


@pytest.mark.parametrize(
    "printed",
    [
        f'{{"members": {{"{REF}": "x"}}, "gaps": []}}',
        f'{{"members": {{"{REF}": []}}, "gaps": []}}',
        f'{{"members": ["{REF}"], "gaps": []}}',
        f'{{"members": {{}}, "gaps": [["{REF}", "a", 2]]}}',
        f'{{"members": {{}}, "gaps": [["{REF}", 1]]}}',
        '{"members": {}, "gaps": [7]}',
        '{"members": {}}',
        "[]",
        "ready",
        "",
    ],
)
def test_another_shape_is_told_and_not_judged(printed: str) -> None:
    with pytest.raises(BackendError, match="REF, after, upto"):
        said_by(printed.encode())


def test_what_a_backend_holds_is_read_as_it_says_it() -> None:
    printed = f'{{"members": {{"{REF}": {{"status": "active"}}, "gone": null}}, "gaps": [["{REF}", 1, 3]]}}'
    held = {"members": {REF: {"status": "active"}, "gone": None}, "gaps": [(REF, 1, 3)]}
    assert said_by(printed.encode()) == held


@pytest.mark.parametrize("command", ["./nope --topic {topic}", "echo 'open", " "])
async def test_a_command_that_cannot_be_started_is_the_commands_fault(command: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"the command .+; see --command"):
        await backend(command, tmp_path).run()


async def test_a_command_that_prints_nonsense_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="must print"):
        await backend(f"{sys.executable} -c 'print(1)'", tmp_path).until_done()
