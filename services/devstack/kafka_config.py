"""A broker's properties, for the embedded Kafka and for the container: plain on loopback, or closed to strangers.

Secure means: clients come by TLS with a SCRAM-SHA-512 login, brokers know each other by certificate, and what no ACL
allows is denied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from services.runtime.acls import BROKER, SETUP

BROKER_CERTIFICATE: Final = "dongui-broker"
"""Common name of the brokers' certificate: who has one is a broker."""
_LOGIN: Final = "org.apache.kafka.common.security.scram.ScramLoginModule"
Properties = dict[str, object]


@dataclass(frozen=True)
class Secured:
    """What a secure broker reads: PEM of its key and chain, PEM of the authority, its own SCRAM password."""

    certificate: PurePath
    authority: PurePath
    password: str


@dataclass(frozen=True)
class Place:
    """One node: its number, where it listens (empty: everywhere), what clients are told, its quorum and data.

    `advertised_port`: where something stands before it, such as a proxy that cuts connections.
    """

    number: int
    listen: str
    advertised: str
    port: int
    controller_port: int
    voters: str
    nodes: int
    data: PurePath
    advertised_port: int | None = None

    @property
    def address(self) -> str:
        """What clients are told to connect to."""
        return f"{self.advertised}:{self.advertised_port or self.port}"


def properties(place: Place, secured: Secured | None) -> Properties:
    """Return a node's properties."""
    return _common(place) | (_plain(place) if secured is None else _secure(place, secured))


def lines(found: Mapping[str, object]) -> str:
    """Return the text of a properties file."""
    return "".join(f"{name}={value}\n" for name, value in found.items())


def _plain(place: Place) -> Properties:
    return {
        "listeners": f"PLAINTEXT://{place.listen}:{place.port},CONTROLLER://{place.listen}:{place.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{place.address}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }


def _secure(place: Place, secured: Secured) -> Properties:
    jaas = f'{_LOGIN} required username="{BROKER}" password="{secured.password}";'
    return {
        "listeners": f"CLIENTS://{place.listen}:{place.port},CONTROLLER://{place.listen}:{place.controller_port}",
        "advertised.listeners": f"CLIENTS://{place.address}",
        "listener.security.protocol.map": "CLIENTS:SASL_SSL,CONTROLLER:SSL",
        "inter.broker.listener.name": "CLIENTS",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.clients.scram-sha-512.sasl.jaas.config": jaas,
        "listener.name.controller.ssl.client.auth": "required",
        "ssl.enabled.protocols": "TLSv1.3,TLSv1.2",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": secured.certificate,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": secured.authority,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": f"User:{BROKER};User:{SETUP};User:CN={BROKER_CERTIFICATE}",
    }


def _common(place: Place) -> Properties:
    replicas = min(3, place.nodes)
    in_sync = max(1, replicas - 1)
    return {
        "process.roles": "broker,controller",
        "node.id": place.number,
        "controller.quorum.voters": place.voters,
        "controller.listener.names": "CONTROLLER",
        "log.dirs": place.data,
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,  # also for __consumer_offsets, which has no setting of its own
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": 8,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": 4,
        "group.initial.rebalance.delay.ms": 0,
        "log.retention.hours": 168,
        "log.segment.bytes": 64 * 1024 * 1024,
        "log.index.size.max.bytes": 1024 * 1024,
        "log.cleaner.threads": 1,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
    }
