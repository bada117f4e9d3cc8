"""Twenty seeds of chaos and a short soak, each on a fresh system of its own; a failure prints the command to repeat."""

import subprocess
import sys

import pytest

from tests.support.servers import REPOSITORY

SEEDS = range(1, 21)
MINUTES = "0.3"
pytestmark = pytest.mark.long


def chaos(*arguments: str) -> None:
    """Run the harness as a person would; its figures stay below .dongui/chaos for the report."""
    command = [sys.executable, "-m", "tests.chaos", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, check=False, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr[-20_000:]


@pytest.mark.f(2, 5, 7, 10, 12, 28, 36)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_of_chaos_loses_nothing(seed: int) -> None:
    chaos("--seed", str(seed), "--minutes", MINUTES)


@pytest.mark.f(35)
@pytest.mark.timeout(1200)
def test_a_soak_at_twice_the_rated_load_stays_clean() -> None:
    """Two minutes; `python -m tests.chaos --soak --minutes 30` is the full one."""
    chaos("--soak", "--minutes", "2")
