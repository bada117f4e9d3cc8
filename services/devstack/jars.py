"""Kafka's jars: resolved once by jgo, then every start hashes all of them against our own committed list.

jgo does not verify its own lock (notes/probes.md), so nothing here trusts it: what it fetched is hashed in a
scratch folder and only then moved into place, in one rename. A half-finished download is never seen.
Maintainers: `python -m services.devstack.jars` resolves afresh and rewrites the lock.
"""

import fcntl
import hashlib
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson

from services.devstack.errors import DevstackError, JarMismatchError

KAFKA_VERSION = "4.3.1"
COORDINATES = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
LOCK_NAME = "kafka.lock.json"
DOWNLOAD_THREADS = 8

Say = Callable[[str], None]


def load_lock() -> dict[str, str]:
    """Return the committed `{jar file name: sha256 hex}`."""
    lock: dict[str, str] = orjson.loads(files("services.devstack").joinpath(LOCK_NAME).read_bytes())
    return lock


def digests(folder: Path) -> dict[str, str]:
    """Return `{file name: sha256 hex}` of every file in a folder, whatever it is called."""
    return {p.name: _digest(p) for p in sorted(folder.iterdir())}


def verify(folder: Path, lock: dict[str, str]) -> list[Path]:
    """Return the class path, or raise JarMismatchError naming what is extra, missing or altered."""
    found = digests(folder)
    faults = {
        "altered": sorted(n for n in found if n in lock and found[n] != lock[n]),
        "extra": sorted(found.keys() - lock.keys()),
        "missing": sorted(lock.keys() - found.keys()),
    }
    told = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in faults.items() if names)
    if told:
        raise JarMismatchError(
            f"the Kafka jars in {folder} differ from the committed lock ({told}). Kafka was not started. "
            f"If you did not change them, look into why; then remove the folder and start again."
        )
    return [folder / name for name in sorted(lock)]


def ensure(cache: Path, say: Say) -> list[Path]:
    """Return the verified class path below `cache`, downloading it first when the folder is not there.

    Raises JarMismatchError, or DevstackError when the download fails.
    """
    folder = cache / f"kafka-{KAFKA_VERSION}"
    lock = load_lock()
    cache.mkdir(parents=True, exist_ok=True)
    if not folder.is_dir():
        with _one_at_a_time(cache):
            if not folder.is_dir():
                _download(cache, folder, lock, say)
    return verify(folder, lock)


def _download(cache: Path, folder: Path, lock: dict[str, str] | None, say: Say) -> None:
    say(f"Downloading Apache Kafka {KAFKA_VERSION} (about 45 MB, once) ...")
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as scratch:
        fetched = Path(scratch) / "jars"
        fetched.mkdir()
        fetch(Path(scratch) / "m2", fetched, say)
        if lock is not None:
            verify(fetched, lock)
        fetched.chmod(0o755)
        fetched.rename(folder)
    say(f"Apache Kafka {KAFKA_VERSION} is in {folder}")


def fetch(
    repository: Path, target: Path, say: Say, coordinates: str = COORDINATES, *, without: Container[str] = ()
) -> None:
    """Resolve `coordinates` by jgo into `repository` and copy the jars into `target`, `without` these group:name.

    Only jgo's resolver is used: its environment builder would look for a JDK of its own on the network.
    """
    try:
        artifacts = [a for a in _resolve(repository, coordinates) if f"{a.groupId}:{a.artifactId}" not in without]
        with ThreadPoolExecutor(DOWNLOAD_THREADS) as pool:
            for done, path in enumerate(pool.map(lambda a: Path(a.resolve()), artifacts), start=1):
                shutil.copyfile(path, target / path.name)
                if done % 10 == 0 or done == len(artifacts):
                    say(f"  {done} of {len(artifacts)} jars")
    except (RuntimeError, OSError, ValueError) as error:
        raise DevstackError(
            f"the jars of {coordinates} could not be downloaded ({type(error).__name__}: {error}). "
            "Check the network or the Maven mirror, then start again; nothing half-done was kept."
        ) from error


def _resolve(repository: Path, coordinates: str) -> list[Any]:
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 - slow, and needed once in a machine's life
    from jgo.maven import MavenContext  # noqa: PLC0415
    from jgo.parse import Endpoint  # noqa: PLC0415

    logging.getLogger("jgo").setLevel(logging.ERROR)
    context = MavenContext(repo_cache=repository, remote_repos={"central": MAVEN_CENTRAL_URL})
    wanted = [
        context.create_dependency(replace(c, scope=c.scope or "compile"))
        for c in Endpoint.parse(coordinates).coordinates
    ]
    direct, transitive = context.resolver.resolve(wanted)
    kept = [*direct, *(d for d in transitive if d.scope in ("compile", "runtime"))]
    return list({d.artifact.key: d.artifact for d in kept}.values())


@contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    """Two stacks that start together on a fresh machine download once."""
    with (cache / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def main() -> int:
    """Resolve afresh and write the lock beside this file; the diff is what a reviewer reads."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "jars"
        target.mkdir()
        fetch(Path(scratch) / "m2", target, lambda line: print(line, file=sys.stderr))
        text = orjson.dumps(digests(target), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    Path(__file__).with_name(LOCK_NAME).write_bytes(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
