"""A taken port is named together with who holds it, and with what to do about it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from services.devstack import ports
from services.devstack.environment import ALL, ProcessPorts
from services.devstack.errors import PortTakenError
from services.devstack.stack import Ports
from tests.support.servers import REPOSITORY


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.socket() as server:
        server.bind((ports.HOST, ports.free_ports(1)[0]))
        server.listen()
        yield server.getsockname()[1]


def test_a_taken_port_is_told_with_its_holder_and_a_way_out(listening: int) -> None:
    with pytest.raises(PortTakenError) as caught:
        ports.require_free([("the consent service", listening)])
    told = str(caught.value)
    assert f"port {listening} (for the consent service)" in told
    assert f"(pid {os.getpid()})" in told
    assert "dongui dev up --port-base" in told


def test_a_base_with_a_taken_port_is_passed_over(listening: int) -> None:
    taken_base = listening - listening % 100
    assert ports.first_free_base(taken_base) >= taken_base + 100


def test_two_processes_that_choose_at_once_are_given_different_ports_and_none_twice() -> None:
    script = "import services.devstack.ports as p; print(p.free_ports(300), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1, text=True, cwd=REPOSITORY) as other:
        assert other.stdout is not None
        theirs = json.loads(other.stdout.readline())
        ours = [*ports.free_ports(300), *ports.free_ports(300)]
        other.communicate("\n")
    assert len(set(ours) | set(theirs)) == 900


def test_a_base_has_a_hundred_ports_in_a_row_that_are_given_to_nobody_else() -> None:
    base = ports.free_base()
    assert not set(range(base, base + 100)) & set(ports.free_ports(300))


def test_no_two_things_of_one_installation_share_a_port() -> None:
    servers = Ports.from_base(8800, brokers=5)
    used = [servers.postgres, *(p for pair in servers.kafka for p in pair), *ProcessPorts.from_base(8800).of.values()]
    assert len(used) == len(set(used))
    assert all(8800 <= port < 8900 for port in used)
    assert set(ProcessPorts.from_base(8800).of) == set(ALL)
