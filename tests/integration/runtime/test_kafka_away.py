"""A broker that is away when a process starts is waited for, and a stop meanwhile is heard."""

import asyncio
from typing import Any

from services.devstack.ports import free_ports
from services.runtime import kafka
from services.runtime.settings import Settings
from tests.chaos.proxy import Proxy


async def test_a_broker_that_is_away_at_the_start_is_waited_for(stack: Any) -> None:
    """Found by chaos: the notices' process ended when it was started while the broker came back."""
    port = int(stack.bootstrap.rpartition(":")[2])
    proxy = Proxy(port, free_ports(1)[0])
    settings = Settings(profile="dev", kafka=f"127.0.0.1:{proxy.port}")
    starting = asyncio.create_task(kafka.wait_for_consumer(settings, asyncio.Event()))
    await asyncio.sleep(1)
    assert not starting.done()
    await proxy.start()
    found = await asyncio.wait_for(starting, 20)
    assert found is not None
    await found.stop()
    await proxy.stop()


async def test_a_stop_ends_the_wait() -> None:
    stop = asyncio.Event()
    settings = Settings(profile="dev", kafka=f"127.0.0.1:{free_ports(1)[0]}")
    starting = asyncio.create_task(kafka.wait_for_consumer(settings, stop))
    await asyncio.sleep(0.5)
    stop.set()
    assert await asyncio.wait_for(starting, 10) is None
