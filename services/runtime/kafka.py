"""Kafka clients built from settings in one place: same security, idempotent producers, no auto-commit."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from services.runtime import wire
from services.runtime.settings import Settings

REQUEST_TIMEOUT_MS = 30_000
CLOSE_TIMEOUT_S = 2.0
PAUSE_S = (0.5, 2.0)
log = structlog.get_logger("kafka")


class InsecureKafkaError(Exception):
    """This way to Kafka is refused; the message names the setting (services.runtime.wire)."""


def client_options(settings: Settings) -> dict[str, Any]:
    """Return the connection options every aiokafka client takes; raise when the set-up is not allowed."""
    settings.require("kafka")
    faults = wire.kafka_faults(settings)
    if faults:
        raise InsecureKafkaError("; ".join(faults))
    options: dict[str, Any] = {"bootstrap_servers": settings.kafka}
    return options if settings.kafka_security == "PLAINTEXT" else options | _login(settings)


def _login(settings: Settings) -> dict[str, Any]:
    return {
        "security_protocol": "SASL_SSL",
        "ssl_context": ssl.create_default_context(cafile=settings.kafka_ca_file),
        "sasl_mechanism": settings.kafka_mechanism,
        "sasl_plain_username": settings.kafka_username,
        "sasl_plain_password": _password(settings),
    }


def _password(settings: Settings) -> str:
    """Return the password of the file, else the setting's."""
    if settings.kafka_password_file is not None:
        return settings.kafka_password_file.read_text(encoding="utf-8").strip()
    return settings.secret("kafka_password")


async def producer(settings: Settings) -> AIOKafkaProducer:
    """Return a started idempotent producer (acks=all): in order per partition, no duplicate of its own."""
    made = AIOKafkaProducer(
        **client_options(settings),
        enable_idempotence=True,
        linger_ms=2,
        max_batch_size=256 * 1024,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    try:
        await made.start()
    except BaseException:
        await made.stop()  # a producer that could not start holds tasks and sockets all the same
        raise
    return made


async def close(made: AIOKafkaProducer) -> None:
    """Stop a producer; one that cannot deliver what it has within `CLOSE_TIMEOUT_S` is torn down.

    Idempotent, it would try for ever otherwise. What was not acknowledged is the caller's to send again.
    """
    try:
        await asyncio.wait_for(made.stop(), CLOSE_TIMEOUT_S)
    except TimeoutError:
        with contextlib.suppress(Exception):  # the sender ends by whatever it stumbles over in what was taken from it
            await asyncio.wait_for(_torn_down(made), CLOSE_TIMEOUT_S)


async def _torn_down(made: Any) -> None:
    made._message_accumulator.fail_all(KafkaConnectionError("closed"))  # noqa: SLF001 - stop() only flushes
    await made.client.close()  # first: the sender waits for the requests that are on their way
    await made._sender.close()  # noqa: SLF001


@contextlib.asynccontextmanager
async def consuming(settings: Settings, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """Yield a started consumer; one that does not stop in time is left to the end of the process."""
    made = consumer(settings, **options)
    try:
        await made.start()
        yield made
    finally:
        await end(made)


async def end(made: AIOKafkaConsumer) -> None:
    """Stop a consumer; one that does not stop in time is left to the end of the process. Raises nothing of its own.

    Whose fetch waits for a broker that is away, aiokafka ends by a CancelledError, which would end its caller's task.
    """
    stopping = asyncio.ensure_future(made.stop())
    await asyncio.wait([stopping], timeout=CLOSE_TIMEOUT_S)
    if not stopping.done():
        stopping.cancel()
    elif not stopping.cancelled() and (error := stopping.exception()) is not None:
        log.warning("consumer_ended_by", error=type(error).__name__)


async def wait_for_consumer(settings: Settings, stop: asyncio.Event, **options: Any) -> AIOKafkaConsumer | None:
    """Return a started consumer, waiting for a broker that is away; None when `stop` comes first."""
    while not stop.is_set():
        made = consumer(settings, **options)
        try:
            await made.start()
        except (KafkaError, OSError) as error:
            log.warning("broker_away", error=type(error).__name__)
            await made.stop()
        else:
            return made
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), random.uniform(*PAUSE_S))  # noqa: S311
    return None


def consumer(settings: Settings, **options: Any) -> AIOKafkaConsumer:
    """Return a consumer, not started, that never commits by itself and starts at the earliest record."""
    defaults: dict[str, Any] = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
    return AIOKafkaConsumer(**client_options(settings), **(defaults | options))
