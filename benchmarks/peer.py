"""What every peer of `peers` shares: the records in a form it can read, the table it writes, how it is asked.

A peer reads flat JSON in clear and upserts one row a member. That an older change never replaces a newer one is a
trigger of the table: neither peer can say it in its upsert.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

import orjson

from benchmarks.apply import Made
from benchmarks.servers import Servers
from schemas.topics import affiliate_topic

PREFIX: Final = "flat-"
TABLE: Final = "peer_member"
CREATE: Final = """
CREATE TABLE peer_member (
    member_ref uuid PRIMARY KEY, seq bigint NOT NULL, email text, name text, password_hash text, status text NOT NULL,
    signed_up_at timestamptz, marketing jsonb
);
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER newest BEFORE UPDATE ON peer_member FOR EACH ROW WHEN (NEW.seq <= OLD.seq) EXECUTE FUNCTION keep()
"""
LACKS: Final = (
    "no sealed values (JWE) and so no key to destroy",
    "no inbox: a record is applied as often as it is read, which only the version makes harmless",
    "no receipts: nobody learns what was applied",
    "no gaps: a change that never came is not noticed",
    "no suppression of destroyed members, no dead-letter evidence bound to the member",
    "no version guard of its own: here a trigger of the table has it",
)
"""What ours does for each record and no peer does."""


Ready = Callable[[Servers], AbstractAsyncContextManager["Peer"]]
"""Brings a peer here and starts what lives through all runs. Raises NotInstalledError."""


class Peer(Protocol):
    """A program that applies topics to databases."""

    name: str
    is_called: str

    def applying(self, on: Servers, databases: Mapping[str, str]) -> AbstractAsyncContextManager[list[int]]:
        """Apply each affiliate's topic to the database named for it; yield the ids of the processes at work."""


def labels(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the name of each side of a result of `peers`, ours first, and what it is called."""
    return {"ours": "ours, every guarantee on", **result["peers"]}


def topic_of(affiliate: str) -> str:
    """Return the topic with this affiliate's records in clear."""
    return PREFIX + affiliate_topic(affiliate)


def flat(made: Made) -> bytes:
    """Return a record as one JSON object of the table's columns; what is itself an object is JSON in a string."""
    shape = made.shape.model_dump(mode="json")
    member = shape["member"] or {}
    columns = ("email", "name", "password_hash", "status", "signed_up_at")
    row = {"member_ref": shape["member_ref"], "seq": shape["seq"]} | {c: member.get(c) for c in columns}
    return orjson.dumps(row | {"marketing": orjson.dumps(shape["marketing"]).decode()})
