"""What a benchmark fetches by pip when it is first asked for: below .dongui, in no dependency and no lock of ours."""

import subprocess
import sys
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parents[1] / ".dongui" / "peers"
TIMEOUT_S: Final = 300


class NotInstalledError(Exception):
    """What was asked for is not on this machine and could not be brought here."""


def environment(wanted: str, name: str) -> Path:
    """Return the Python of an environment of its own with this requirement. Raises NotInstalledError."""
    folder = FOLDER / name
    python = folder / "bin" / "python"
    if _is_new(folder, wanted):
        _run(wanted, sys.executable, "-m", "venv", "--clear", str(folder))
        _installed(wanted, folder, str(python))
    return python


def library(wanted: str, name: str) -> Path:
    """Return a folder of packages that goes BEHIND our own on `sys.path`. Raises NotInstalledError."""
    folder = FOLDER / name
    if _is_new(folder, wanted):
        _installed(wanted, folder, sys.executable, "--target", str(folder), "--upgrade")
    return folder


def _is_new(folder: Path, wanted: str) -> bool:
    if (folder / "installed").exists():
        return False
    sys.stderr.write(f"Installing {wanted} into {folder} (once) ...\n")
    return True


def _installed(wanted: str, folder: Path, python: str, *options: str) -> None:
    _run(wanted, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options, wanted)
    (folder / "installed").touch()


def _run(wanted: str, *command: str) -> None:
    try:
        subprocess.run(command, check=True, timeout=TIMEOUT_S, capture_output=True, text=True)
    except (subprocess.SubprocessError, OSError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()[-500:]
        raise NotInstalledError(f"{wanted} could not be installed: {said}") from error
