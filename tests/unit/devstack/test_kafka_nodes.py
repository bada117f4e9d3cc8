"""Several nodes: how many copies there are, and when a cluster is still one."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.devstack.kafka import Kafka, Node, _settings
from services.devstack.stack import quiet
from services.devstack.topics import in_sync


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Kafka]:
    """A cluster of three whose processes only sleep."""
    made = Kafka(tmp_path, cache=tmp_path, nodes=[Node(i, 9000 + i, 9100 + i) for i in (1, 2, 3)], say=quiet)
    made._children = {name: subprocess.Popen(["sleep", "60"]) for name in made.names}
    yield made
    for child in made._children.values():
        child.kill()
        child.wait()


@pytest.mark.parametrize(("brokers", "copies", "held_by"), [(1, 1, 1), (2, 2, 1), (3, 3, 2), (5, 3, 2)])
def test_a_record_is_acknowledged_by_all_copies_but_one(brokers: int, copies: int, held_by: int) -> None:
    """Kafka's own topics as well: a group's offsets and a transaction's state are records too."""
    found = _settings(Node(1, 9001, 9101), "1@127.0.0.1:9101", brokers, Path("data"))
    assert {v for n, v in found.items() if n.endswith("replication.factor")} == {copies}
    assert {v for n, v in found.items() if n.endswith(("min.isr", "insync.replicas"))} == {held_by}
    assert in_sync(copies) == held_by


def test_a_cluster_serves_until_most_of_its_nodes_are_gone(three: Kafka) -> None:
    assert three.names == ["kafka-1", "kafka-2", "kafka-3"]
    assert three.running()
    three.kill_node("kafka-2")
    assert three.running()
    assert three.fallen() == [], "what was killed here did not fall"
    three._children["kafka-3"].kill()
    three._children["kafka-3"].wait()
    assert three.fallen() == ["kafka-3"]
    assert not three.running()
