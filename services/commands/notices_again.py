"""The effect `notices` of a replay: their topic read again by the sender's own intake, which knows what it had."""

from schemas.topics import NOTICES
from services.commands.stores import opened
from services.propagator.notices.ingest import Ingest
from services.propagator.replay import offsets, reader
from services.propagator.replay.plan import Plan, Selection, selects
from services.runtime.clock import utc_now
from services.runtime.settings import Settings

GROUP = "dongui-notices"


async def notices_again(settings: Settings, plan: Plan) -> int:
    """Hand the selected records to the intake; return how many. What it took in before is not sent again."""
    topic, group = settings.topic_prefix + NOTICES, settings.topic_prefix + GROUP
    chosen = plan.selection
    within = Selection(affiliates=(), member=chosen.member, since=chosen.since, until=chosen.until)
    done = 0
    async with opened(settings.require("notices_dsn").secret("notices_dsn")) as pool:
        intake = Ingest(pool, utc_now)
        async with reader.consuming(settings) as consumer:
            ranges = await offsets.of_topic(settings, consumer, topic, group, within)
            async for records, _ in reader.read(consumer, topic, ranges, plan.rate):
                wanted = [record for record in records if selects(chosen, record)]
                await intake.apply(wanted)
                done += len(wanted)
    return done
