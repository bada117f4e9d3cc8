"""`python quix_sink.py BOOTSTRAP TOPIC GROUP DSN`: Quix Streams' PostgreSQL sink, in an environment of its own.

Run by `quix`; imports nothing of ours. JSON in clear, upserts by member; SIGTERM ends it.
"""

import sys
from urllib.parse import unquote, urlsplit

from quixstreams import Application
from quixstreams.sinks.community.postgresql import PostgreSQLSink

COMMIT_EVERY = 2000
"""Records between two commits. Its default, 5 s and no count, would be one commit of everything."""


def main(bootstrap: str, topic: str, group: str, dsn: str) -> None:
    """Apply until SIGTERM."""
    at = urlsplit(dsn)
    sink = PostgreSQLSink(
        host=at.hostname,
        port=at.port,
        dbname=at.path[1:],
        user=unquote(at.username or ""),
        password=unquote(at.password or ""),
        table_name="peer_member",
        primary_key_columns="member_ref",
        upsert_on_primary_key=True,
        schema_auto_update=False,
        include_metadata=False,
    )
    application = Application(
        broker_address=bootstrap,
        consumer_group=group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        commit_every=COMMIT_EVERY,
        loglevel="WARNING",
    )
    application.dataframe(application.topic(topic, value_deserializer="json")).sink(sink)
    application.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
