"""Which clauses of the privacy policy an entry is about, from what the record itself says. Pure.

A fact names the rules by which each recipient was told (`3.2-share`): their first part is the clause. The rest follows
from the kind of record. The answer is stored beside the entry, as a way to find it; it is no part of the leaf.
"""

from typing import Final

from schemas.events import Fact
from schemas.receipts import DisclosureRecord, Receipt, RegisterEntry

FACTS: Final = {
    "signed_up": "3.1",
    "corrected": "5.1",
    "withdrawal_requested": "3.2",
    "withdrawn": "3.2",
    "suspended": "5.1",
    "released": "5.1",
    "erased": "7.1",
}
PURPOSES: Final = {"collection": "3.1", "sharing": "3.2", "marketing": "1.5"}
RECEIPTS: Final = {"affiliate": "3.2", "third_party": "5.7", "retention": "7.2"}
REGISTERS: Final = {
    "rights_request": "5.1",
    "reconsent": "3.1",
    "guardian": "5.3",
    "message": "1.5",
    "dormancy": "2.2",
    "account_member": "2.2",
    "erasure": "7.1",
    "retention_reading": "7.2",
    "retention_hold": "7.2",
    "restricted": "3.3",
    "investigation_report": "3.3",
    "processor": "4.3",
    "processor_check": "4.3",
    "inquiry": "10.2",
}
ACCESS: Final = ("8.1",)
"""Looking at the log is itself a record of access by staff (clause 8, safeguards notice 8)."""


def clauses_of(shape: Fact | Receipt | DisclosureRecord | RegisterEntry) -> tuple[str, ...]:
    """Return the clauses, sorted; none when the record is about none."""
    if isinstance(shape, Fact):
        return _of_fact(shape)
    if isinstance(shape, Receipt):
        found = RECEIPTS.get(shape.kind)
    elif isinstance(shape, DisclosureRecord):
        found = "3.1"
    else:
        found = shape.codes.get("clause") or REGISTERS.get(shape.kind)
    return (found,) if found else ()


def _of_fact(fact: Fact) -> tuple[str, ...]:
    rules = {rule.partition("-")[0] for addressee in fact.addressees for rule in addressee.rules}
    purposes = {PURPOSES[item.purpose] for item in fact.consents}
    own = {FACTS[fact.change]} if fact.change in FACTS else set()
    return tuple(sorted(rules | purposes | own))
