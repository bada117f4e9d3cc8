"""Where a page of a list in order of position begins, and from which end the list is read."""

from dataclasses import dataclass

from services.consent.store import SQL
from services.runtime.fields import BIGINT_MAX, Order


@dataclass(frozen=True)
class Place:
    """`cursor` is the `next` of the page before in the same order; 0 is the end the list is read from."""

    cursor: int = 0
    order: Order = "oldest"

    @property
    def start(self) -> int:
        """The position next to which the page begins."""
        return self.cursor or (0 if self.order == "oldest" else BIGINT_MAX)

    def query(self, name: str) -> str:
        """Return a listing's query in this order; it is kept with a gap for the comparison and one for the order."""
        return SQL[name].format(*((">", "ASC") if self.order == "oldest" else ("<", "DESC")))
