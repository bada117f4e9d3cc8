"""Which shapes exist, under which schema and event types they travel, and which are sealed."""

from typing import Final, get_args

from schemas.base import Shape
from schemas.events import (
    RECORD_TYPE,
    Fact,
    FactName,
    Notice,
    Projection,
    StatutoryRecord,
    Stop,
    Suppression,
    event_type,
)
from schemas.receipts import (
    DISCLOSURE_TYPE,
    RECEIPT_TYPE,
    REGISTER_TYPE,
    DisclosureRecord,
    Receipt,
    RegisterEntry,
)

ClearShape = Fact | Stop | Receipt | DisclosureRecord | RegisterEntry | Suppression
SealedShape = Projection | Notice | StatutoryRecord

JSON: Final = "application/json"
JOSE: Final = "application/jose"

CLEAR: Final[dict[str, type[ClearShape]]] = {
    "urn:dongui:fact:v1": Fact,
    "urn:dongui:stop:v1": Stop,
    "urn:dongui:receipt:v1": Receipt,
    "urn:dongui:disclosure:v1": DisclosureRecord,
    "urn:dongui:register:v1": RegisterEntry,
    "urn:dongui:suppression:v1": Suppression,
}
"""`ce_dataschema` to shape, for values that anyone with access to the topic may read."""

SEALED: Final[dict[str, type[SealedShape]]] = {
    "urn:dongui:projection:v1": Projection,
    "urn:dongui:notice:v1": Notice,
    "urn:dongui:record:v1": StatutoryRecord,
}
"""`ce_dataschema` to shape, for values under a member's key."""

MEMBER_TYPES: Final = frozenset(event_type(name) for name in get_args(FactName))
TYPES: Final[dict[type[Shape], frozenset[str]]] = {
    Fact: MEMBER_TYPES,
    Projection: MEMBER_TYPES,
    Stop: MEMBER_TYPES,
    Notice: frozenset({event_type("corrected")}),
    Suppression: frozenset({event_type("erased")}),
    Receipt: frozenset({RECEIPT_TYPE}),
    DisclosureRecord: frozenset({DISCLOSURE_TYPE}),
    RegisterEntry: frozenset({REGISTER_TYPE}),
    StatutoryRecord: frozenset({RECORD_TYPE}),
}
"""The event types each shape may travel under."""

KNOWN_TYPES: Final = frozenset().union(*TYPES.values())
