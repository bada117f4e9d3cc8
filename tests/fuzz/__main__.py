"""`python -m tests.fuzz TARGET [libFuzzer options]`: fuzz one reader, guided by coverage (`pip install atheris`)."""

import sys

from tests.fuzz.targets import TARGETS


def main() -> int:
    """Fuzz until something is found or the options say stop (`-runs=100000`, `-max_total_time=60`)."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.stderr.write(f"usage: python -m tests.fuzz TARGET [-runs=N]\ntargets: {', '.join(TARGETS)}\n")
        return 2
    try:
        import atheris  # noqa: PLC0415 - optional, and only for CPython on Linux and macOS
    except ImportError:
        sys.stderr.write("atheris is not installed: .venv/bin/python -m pip install atheris\n")
        return 2
    target = TARGETS[sys.argv.pop(1)]
    for seed in target.seeds:
        target.run(seed)
    atheris.instrument_all()
    atheris.Setup(sys.argv, target.run)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
