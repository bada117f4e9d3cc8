"""Who may do what on Kafka: one principal per process and affiliate, literal names, and nothing that is not here.

The broker denies by default (docs/wire.md). Writing implies no reading: the consent process cannot read back what it
published to an affiliate. Nobody in this table may create, delete or alter anything; only `setup` may.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from schemas.topics import (
    DLQ_SUFFIX,
    FACTS,
    NOTICES,
    RECEIPTS,
    RETENTION,
    SUPPRESSIONS,
    affiliate_topic,
    all_topics,
    dlq_of,
)

BROKER: Final = "broker"
SETUP: Final = "setup"
"""The two superusers: the brokers among themselves, and whoever makes topics, users and ACLs."""
OPERATOR: Final = "operator"
"""The command line: reads every topic, sends dead letters again, sees how far each group is."""
NOTICES_GROUP: Final = "dongui-notices"

Kind = Literal["topic", "group"]
Operation = Literal["READ", "WRITE", "DESCRIBE"]


@dataclass(frozen=True, order=True)
class Acl:
    """One literal permission; READ and WRITE imply DESCRIBE."""

    kind: Kind
    name: str
    operation: Operation


Table = Mapping[str, frozenset[Acl]]


def propagator_principal(affiliate: str) -> str:
    """Return the principal of the process that writes an affiliate's store."""
    return f"propagator-{affiliate}"


def propagator_group(affiliate: str) -> str:
    """Return the consumer group of that process."""
    return f"dongui-propagator-{affiliate}"


def backend_group(affiliate: str) -> str:
    """Return the consumer group of an affiliate's own backend, whose principal is the affiliate's id."""
    return f"{affiliate}-backend"


def table(affiliates: Iterable[str], prefix: str = "") -> dict[str, frozenset[Acl]]:
    """Return the ACLs of every principal that is no superuser; `prefix` stands before every topic and group."""
    known = list(affiliates)
    logical = {**_processes(known), **{a: of_backend(a) for a in known}}
    return {who: frozenset(Acl(a.kind, prefix + a.name, a.operation) for a in acls) for who, acls in logical.items()}


def of_backend(affiliate: str) -> frozenset[Acl]:
    """Return what an affiliate's own backend needs: to read its topic, with its group."""
    return _reads(affiliate_topic(affiliate)) | _in_group(backend_group(affiliate))


def _processes(affiliates: list[str]) -> dict[str, frozenset[Acl]]:
    letters = [t.name for t in all_topics(affiliates) if t.name.endswith(DLQ_SUFFIX)]
    published = [FACTS, NOTICES, RECEIPTS, RETENTION, SUPPRESSIONS, *map(affiliate_topic, affiliates)]
    return {
        "consent": _writes(*published) | _reads(RECEIPTS, SUPPRESSIONS, *letters),
        "audit": _reads(FACTS, RECEIPTS) | _writes(RECEIPTS),
        "retention": _reads(RETENTION, RECEIPTS) | _writes(RECEIPTS, dlq_of(RETENTION)),
        "notices": _reads(NOTICES, RECEIPTS) | _writes(RECEIPTS, dlq_of(NOTICES)) | _in_group(NOTICES_GROUP),
        "console": _writes(RECEIPTS),
        **{propagator_principal(a): _of_propagator(a) for a in affiliates},
        OPERATOR: _of_operator(affiliates),
    }


def _of_propagator(affiliate: str) -> frozenset[Acl]:
    own = affiliate_topic(affiliate)
    return _reads(own, SUPPRESSIONS) | _writes(RECEIPTS, dlq_of(own)) | _in_group(propagator_group(affiliate))


def _of_operator(affiliates: list[str]) -> frozenset[Acl]:
    """What has a dead-letter topic can be sent again; where a group is may be asked, not changed."""
    redriven = [NOTICES, RETENTION, *map(affiliate_topic, affiliates)]
    groups = [NOTICES_GROUP, *map(propagator_group, affiliates)]
    asked = frozenset(Acl("group", name, "DESCRIBE") for name in groups)
    return _reads(*(t.name for t in all_topics(affiliates))) | _writes(*redriven) | asked


def _reads(*topics: str) -> frozenset[Acl]:
    return frozenset(Acl("topic", name, "READ") for name in topics)


def _writes(*topics: str) -> frozenset[Acl]:
    return frozenset(Acl("topic", name, "WRITE") for name in topics)


def _in_group(name: str) -> frozenset[Acl]:
    return frozenset({Acl("group", name, "READ")})
