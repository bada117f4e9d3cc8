"""The only code that talks to Faust and acknowledges: take what waits, apply it together, then acknowledge.

No exception leaves the loop: a restarted agent would go on with the NEXT batch. Apply again in place, or leave the
process without acknowledging. How Faust loses events otherwise, measured: docs/decisions/0004.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Any, Final

import faust
import structlog
from aiokafka import ConsumerRecord
from prometheus_client import Counter

from services.propagator import transport
from services.propagator.transport import Batch, BatchSchema
from services.runtime import kafka, tracing
from services.runtime.pace import Pace
from services.runtime.settings import Settings

EXIT_GIVEN_UP: Final = 71
RETRY_BUDGET_S: Final = 240.0
BACKOFF_S_MIN: Final = 0.1
BACKOFF_S_MAX: Final = 5.0
BUFFER_BATCHES: Final = 16
PACE_S: Final = 0.01
"""Applications are this far apart at least: partitions that move at the same time share a transaction."""
MAX_POLL_S: Final = 86_400.0
"""Faust never comes back after a missed poll; our own watchdog ends a process that makes no progress."""

SESSION_S: Final = 10.0
"""How long the broker waits for a process that was killed before it gives its partitions to the next one."""

RETRIES = Counter("dongui_propagator_retries", "Attempts at a batch that failed and were repeated", ["application"])
log = structlog.get_logger("agents")

Apply = Callable[[Sequence["ConsumerRecord[Any, Any]"]], Awaitable[None]]
"""Applies records; their effects are committed when it returns. Anything it raises is tried again."""


class UnsafeAppError(Exception):
    """The Faust app could lose records. The message names the settings to change."""


def create(settings: Settings, *, app_id: str, topic: str, apply: Apply) -> faust.App:
    """Return a guarded Faust app that feeds `apply` with the records of one logical topic.

    Consumer group and topic carry the settings' prefix. Batches of more than `affiliate_batch_max` records are cut.
    """
    transport.register()
    datadir = settings.data_dir / "faust"  # Faust makes it, and keeps nothing there without tables
    datadir.parent.mkdir(parents=True, exist_ok=True)
    app = faust.App(
        settings.topic_prefix + app_id,
        loop=asyncio.get_running_loop(),
        autodiscover=False,
        datadir=datadir,
        value_serializer="raw",
        web_enabled=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=BUFFER_BATCHES,
        topic_disable_leader=True,
        topic_allow_declare=False,
        broker_max_poll_interval=MAX_POLL_S,
        broker_session_timeout=SESSION_S,
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        **_broker(settings),
    )
    source = app.topic(settings.topic_prefix + topic, schema=BatchSchema())

    async def agent(stream: Any) -> None:
        taken: asyncio.Queue[Any] = asyncio.Queue(BUFFER_BATCHES)
        worker = asyncio.create_task(_work(app, apply, taken, settings.affiliate_batch_max))
        try:
            async for event in stream.noack().events():
                await taken.put(event)
        finally:
            worker.cancel()  # in the middle of a batch, too: it is not acknowledged, so it is read again
            await asyncio.gather(worker, return_exceptions=True)

    app.agent(source, name=app_id, concurrency=1)(agent)
    guard(app)
    return app


def _broker(settings: Settings) -> dict[str, Any]:
    """Return the broker URLs and credentials; the same rules hold as for every other client."""
    options = kafka.client_options(settings)
    urls = [f"{transport.SCHEME}://{server.strip()}" for server in options["bootstrap_servers"].split(",")]
    if "sasl_mechanism" in options:
        credentials: Any = faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=options["ssl_context"],
        )
    elif "ssl_context" in options:
        credentials = faust.SSLCredentials(options["ssl_context"])
    else:
        return {"broker": urls}
    return {"broker": urls, "broker_credentials": credentials}


def guard(app: faust.App) -> None:
    """Raise UnsafeAppError for what was measured to lose records (reliability of Faust 0.15.3).

    That an agent acknowledges by itself can't be seen from outside: the transport refuses to acknowledge a batch
    that was not applied, and its producer refuses to send.
    """
    conf = app.conf
    wrong = {
        "processing_guarantee": conf.processing_guarantee.name != "AT_LEAST_ONCE",
        "broker (the batch transport)": any(url.scheme != transport.SCHEME for url in conf.broker_consumer),
        "broker_producer (the batch transport)": any(url.scheme != transport.SCHEME for url in conf.broker_producer),
        "stream_wait_empty": conf.stream_wait_empty,
        "broker_max_poll_interval": conf.broker_max_poll_interval < MAX_POLL_S,
        "topic_disable_leader": not conf.topic_disable_leader,
        "topic_allow_declare": conf.topic_allow_declare,
        "web_enabled": conf.web_enabled,
        "tables": bool(app.tables),
        "concurrency": any(agent.concurrency != 1 for agent in app.agents.values()),
        "sinks": any(agent._sinks for agent in app.agents.values()),  # noqa: SLF001 - a sink is a send
        "schema": not all(isinstance(agent.channel.schema, BatchSchema) for agent in app.agents.values()),
    }
    found = sorted(name for name, is_wrong in wrong.items() if is_wrong)
    if found:
        raise UnsafeAppError(f"refused Faust settings: {', '.join(found)}")


async def _work(app: faust.App, apply: Apply, taken: "asyncio.Queue[Any]", size: int) -> None:
    """Apply what waits, whatever the partition, and acknowledge it in the order it came."""
    pace = Pace(PACE_S)
    while True:
        events = [await taken.get()]
        await pace.turn()
        while not taken.empty():
            events.append(taken.get_nowait())
        await _apply_all(app, apply, [event.value for event in events], size)
        for event in events:
            event.ack()


async def _apply_all(app: faust.App, apply: Apply, batches: Sequence[Batch], size: int) -> None:
    for part in _cut([record for batch in batches for record in batch.records], size):
        await _until_applied(app, apply, part)
    for batch in batches:
        batch.applied = True


def _cut(records: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(records), size):
        yield records[start : start + size]


async def _until_applied(app: faust.App, apply: Apply, records: Sequence[Any]) -> None:
    """Apply until it succeeds; leave the process when the budget is spent. A cancellation acknowledges nothing."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + RETRY_BUDGET_S
    pause_s = BACKOFF_S_MIN
    while True:
        try:
            with tracing.processing(records, app.conf.id):
                return await apply(records)
        except Exception as error:  # noqa: BLE001
            # Whatever it was, the next batch must not come before this one is applied.
            RETRIES.labels(app.conf.id).inc()
            log.warning("apply_failed", error=type(error).__name__, code=_code(error), records=len(records))
        if app.should_stop or loop.time() > give_up_at:
            transport.leave(EXIT_GIVEN_UP, "stopped" if app.should_stop else "retry_budget_spent")
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
        pause_s = min(pause_s * 2, BACKOFF_S_MAX)


async def ended(tasks: Collection["asyncio.Task[None]"], stop: asyncio.Event, timeout_s: float) -> None:
    """Wait for `stop`, which the end of one task is too, then for all tasks as long as a stop may take.

    When one is left, or failed, leave the process, acknowledging nothing.
    One fails when the broker goes away in the second in which Faust starts: the next start waits for it.
    """
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    done, pending = await asyncio.wait(tasks, timeout=timeout_s)
    if pending:
        transport.leave(EXIT_GIVEN_UP, "stop_took_too_long")
    failed = [type(error).__name__ for error in (task.exception() for task in done) if error is not None]
    if failed:
        transport.leave(EXIT_GIVEN_UP, "task_failed", errors=failed)


def _code(error: Exception) -> str | None:
    """A coded reason (SQLSTATE, or ours), never the text: it may quote what was refused."""
    code = getattr(error, "sqlstate", None) or getattr(error, "code", None)
    return code if isinstance(code, str) else None
