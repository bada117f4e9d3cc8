"""Pure: what a yearly notice of use and provision says (PIPA 20-2), from the disclosure ledger.

It leaves out what was given to investigators (PIPA 20-2(1) proviso), by the basis of the row.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Use:
    """What one company has of a member and for what, and to whom it gave it within the year."""

    items: frozenset[str]
    purposes: frozenset[str]
    recipients: frozenset[str]


def yearly_use(company: str, ledger: Iterable[Mapping[str, Any]], *, operator: bool, silent: tuple[str, ...]) -> Use:
    """Return the use of one company; only the operator of the account gives items to others.

    `silent` are the beginnings of the bases that are left out.
    """
    rows = [row for row in ledger if not row["basis"].startswith(silent)]
    own = [row for row in rows if row["recipient"] == company and row["role"] == "recipient"]
    others = {row["recipient"] for row in rows if operator and row["recipient"] != company and row["in_year"]}
    return Use(
        items=frozenset(item for row in own for item in row["items"]),
        purposes=frozenset(row["purpose"] for row in own),
        recipients=frozenset(others),
    )
