"""`python -m tests.fuzz TARGET [libFuzzer options]`: fuzz one reader, guided by coverage (`pip install atheris`)."""

import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType

OURS = ["schemas", "services", "tests.fuzz.targets"]


def main() -> int:
    """Fuzz until something is found or the options say stop (`-runs=100000`, `-max_total_time=60`)."""
    try:
        import atheris  # noqa: PLC0415 - optional: for CPython on Linux and macOS only
    except ImportError:
        sys.stderr.write("atheris is not installed: .venv/bin/python -m pip install atheris\n")
        return 2
    known = _instrumented(atheris).TARGETS
    if len(sys.argv) < 2 or sys.argv[1] not in known:
        sys.stderr.write(f"usage: python -m tests.fuzz TARGET [-runs=N]\ntargets: {', '.join(known)}\n")
        return 2
    target = known[sys.argv.pop(1)]
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            Path(corpus, str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, corpus], target.run)
        atheris.Fuzz()
    return 0


def _instrumented(atheris: ModuleType) -> ModuleType:
    """Import the readers so that the fuzzer sees which of their lines an input reaches."""
    with atheris.instrument_imports(include=OURS):
        return importlib.import_module("tests.fuzz.targets")


if __name__ == "__main__":
    sys.exit(main())
