"""Pure: the AsyncAPI 3.0.0 document of every topic: who sends, which messages, which headers and keys."""

from typing import Any, Final

from schemas.envelope import CHANGE_ID, CONTENT_TYPE, REQUIRED_HEADERS, TRACE, TRACEPARENT, UUID
from schemas.jwe import KID
from schemas.registry import CLEAR, JOSE, JSON, SEALED, TYPES
from schemas.topics import FACTS, NOTICES, RECEIPTS, RETENTION, SUPPRESSIONS, Topic, affiliate_topic, all_topics

AFFILIATES: Final = ("tmax-cloud", "tmax-os", "tmax-anc")
BODIES: Final[dict[str, tuple[str, ...]]] = {
    FACTS: ("fact",),
    NOTICES: ("notice",),
    RECEIPTS: ("receipt", "disclosure", "register"),
    RETENTION: ("record",),
    SUPPRESSIONS: ("suppression",),
    **{affiliate_topic(a): ("projection", "stop") for a in AFFILIATES},
}
"""Which shapes travel on a topic; a dead-letter topic carries what its topic could, and what nobody could read."""
SENDERS: Final = {
    FACTS: "consent",
    NOTICES: "consent",
    SUPPRESSIONS: "consent",
    RETENTION: "consent",
    RECEIPTS: "consent, propagator, audit, retention",
    **{affiliate_topic(a): "consent" for a in AFFILIATES},
}
HEADER_TEXTS: Final = {
    "ce_id": "Event id: the same record sent again keeps it",
    "ce_type": "What happened",
    "ce_source": "Which process says so",
    "ce_specversion": "CloudEvents version",
    "ce_time": "When it was accepted, RFC 3339, UTC",
    "ce_subject": "member_ref, also the Kafka key; the subject of a register entry that names no member",
    "ce_sequence": "The member's seq",
    "ce_previous": "The last seq sent to this recipient for this member; 0 for the first",
    "ce_dataschema": "Which shape and version the value has",
    CONTENT_TYPE: "application/jose: compact JWE, dir, A256GCM; application/json: clear",
    CHANGE_ID: "The change, in clear, so that a record nobody can open any more can be answered",
    TRACEPARENT: "W3C Trace Context",
}


def schema_file(urn: str) -> str:
    """Return the JSON Schema's file name for a `ce_dataschema`: `urn:dongui:fact:v1` is `fact.v1.json`."""
    _, _, shape, version = urn.split(":")
    return f"{shape}.{version}.json"


def document() -> dict[str, Any]:
    """Return the whole document."""
    topics = all_topics(AFFILIATES)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Dongui",
            "version": "1.0.0",
            "description": "Consent propagation. CloudEvents 1.0, Kafka binding, binary mode; key = member_ref.",
        },
        "defaultContentType": JSON,
        "channels": {_id(t.name): _channel(t) for t in topics},
        "operations": {f"send.{_id(name)}": _operation(name) for name in BODIES},
        "components": {"messages": {_shape(urn): _message(urn) for urn in CLEAR | SEALED}},
    }


def _id(topic: str) -> str:
    """A key of channels and operations is of [A-Za-z0-9_-] and dots."""
    return topic.removeprefix("dongui.")


def _shape(urn: str) -> str:
    return urn.split(":")[2]


def _origin(topic: str) -> str:
    return topic.removesuffix(".dlq")


def _channel(topic: Topic) -> dict[str, Any]:
    binding = {
        "topic": topic.name,
        "partitions": topic.partitions,
        "topicConfiguration": {"cleanup.policy": ["delete"], "retention.ms": topic.retention_ms},
        "bindingVersion": "0.5.0",
    }
    names = BODIES[_origin(topic.name)]
    return {
        "address": topic.name,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"kafka": binding},
    }


def _operation(topic: str) -> dict[str, Any]:
    channel = f"#/channels/{_id(topic)}"
    return {
        "action": "send",
        "summary": f"Sent by {SENDERS[topic]}",
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{name}"} for name in BODIES[topic]],
    }


def _message(urn: str) -> dict[str, Any]:
    sealed = urn in SEALED
    told: dict[str, Any] = {
        "name": _shape(urn),
        "contentType": JOSE if sealed else JSON,
        "headers": _headers(urn),
        "payload": {"$ref": f"json/{schema_file(urn)}"},
        "bindings": {"kafka": {"key": {"type": "string", "pattern": _whole(UUID.pattern)}, "bindingVersion": "0.5.0"}},
    }
    if sealed:
        told["summary"] = f"The payload is the plain text of a compact JWE; kid: {_plain(KID.pattern)}"
    return told


def _headers(urn: str) -> dict[str, Any]:
    shape = (CLEAR | SEALED)[urn]
    texts: dict[str, dict[str, Any]] = {name: {"type": "string"} for name in HEADER_TEXTS}
    texts["ce_type"]["enum"] = sorted(TYPES[shape])
    texts["ce_specversion"]["const"] = "1.0"
    texts["ce_dataschema"]["const"] = urn
    texts[CONTENT_TYPE]["const"] = JOSE if urn in SEALED else JSON
    texts["ce_time"]["format"] = "date-time"
    for name in ("ce_subject", CHANGE_ID):
        texts[name]["pattern"] = _whole(UUID.pattern)
    for name in ("ce_sequence", "ce_previous"):
        texts[name]["pattern"] = "^(0|[1-9][0-9]{0,18})$"
    texts[TRACEPARENT]["pattern"] = _whole(TRACE.pattern)
    described = {name: {**told, "description": HEADER_TEXTS[name]} for name, told in texts.items()}
    return {"type": "object", "properties": described, "required": sorted(REQUIRED_HEADERS)}


def _whole(pattern: str) -> str:
    return f"^{pattern}$"


def _plain(pattern: str) -> str:
    """Named groups are Python's spelling."""
    for name in ("recipient", "member", "epoch"):
        pattern = pattern.replace(f"?P<{name}>", "")
    return pattern
