"""One pass over a log, leaf by leaf: recomputes the tree and says what is wrong and where. Pure.

Three things are compared at each step: the leaf hash with the body, the root with every checkpoint of that size, and
the leaf with the hash that was kept outside. Hashes from outside name the first bad entry exactly; they are believed
only as far as a signed checkpoint vouches for them, so it does not matter where they come from. Without them the first
bad entry lies between two checkpoints.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from services.audit import tree
from services.audit.checkpoint import Checkpoint

FINDINGS_MAX = 100
EXACT = frozenset({"body_changed", "leaf_differs"})
MALFORMED: Final[tuple[type[Exception], ...]] = (
    *(ValueError, KeyError, IndexError, TypeError, AttributeError),
    *(RecursionError, OverflowError, csv.Error),
)
"""What reading a file raises that is not of its form: other types, missing parts, too deep, too large. Never a crash:
whoever made the file up must not decide whether there is a verdict."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `index` is the first bad leaf; it lies in [index, until) when until is given."""

    code: str
    index: int | None = None
    until: int | None = None


@dataclass
class Report:
    """What was looked at and what is wrong with it. `size` is the number of leaves covered; `unchecked` are parts that
    nothing in the file bears out, which is no fault.
    """

    kind: str
    entries: int = 0
    size: int = 0
    checkpoints: int = 0
    cosigned_by: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    @property
    def first_bad_index(self) -> int | None:
        """The smallest index any finding names."""
        return min((f.index for f in self.findings if f.index is not None), default=None)

    def add(self, code: str, index: int | None = None, until: int | None = None) -> None:
        """Note a finding; beyond FINDINGS_MAX they are no longer of use."""
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(code, index, until))


@dataclass
class Heads:
    """Checkpoints to be met, by size; the roots claimed for one size should be one."""

    by_size: dict[int, set[bytes]] = field(default_factory=dict)

    def add(self, head: Checkpoint) -> None:
        """Expect this checkpoint."""
        self.by_size.setdefault(head.size, set()).add(head.root)

    @property
    def largest(self) -> int:
        """The largest size, 0 for none."""
        return max(self.by_size, default=0)


class Walk:
    """Feed it every entry in order with `take`, then call `end`. `kept` are leaf hashes from outside, in order."""

    def __init__(self, report: Report, heads: Heads, kept: Iterator[bytes]) -> None:
        self._report = report
        self._heads = heads
        self._kept = kept
        self._outside = tree.Frontier()
        self._differs: int | None = None
        self._good = 0
        self.grown = tree.Frontier()

    def take(self, index: int, leaf_hash: bytes, body: bytes) -> list[tree.Node] | None:
        """Take the next entry; return the subtrees it completes, None when it is not the one that has to come."""
        if index != self.grown.size:
            code = "entry_missing" if index > self.grown.size else "entry_out_of_order"
            self._report.add(code, self.grown.size)
            return None
        leaf = tree.leaf_hash(body)
        if leaf != leaf_hash:
            self._report.add("body_changed", index)
        self._beside(index, leaf)
        made = self.grown.push(leaf)
        self._compare()
        return made

    def _beside(self, index: int, leaf: bytes) -> None:
        """Remember where the leaves first differ from those kept outside."""
        kept = next(self._kept, None) if self._outside.size == index else None
        if kept is None:
            return
        self._outside.push(kept)
        if kept != leaf and self._differs is None:
            self._differs = index

    def _compare(self) -> None:
        """Compare with the checkpoints of this size."""
        claimed = self._heads.by_size.get(self.grown.size)
        if claimed is None:
            return
        if self._differs is not None and self._vouched(claimed):
            self._report.add("leaf_differs", self._differs, self._differs + 1)
            self._differs = None
        if claimed == {self.grown.root()}:
            self._good = self.grown.size if self._report.ok else self._good
        elif len(claimed) > 1:
            self._report.add("checkpoints_contradict", *self._narrowed())
        elif not any(f.code == "root_differs" for f in self._report.findings):
            self._report.add("root_differs", *self._narrowed())

    def _vouched(self, claimed: set[bytes]) -> bool:
        """Whether a signed checkpoint of the size of the hashes from outside has their root."""
        return self._outside.size > 0 and self._outside.root() in claimed

    def _narrowed(self) -> tuple[int, int]:
        """Where the first bad leaf is: exactly when a finding named it; else after the last good root."""
        exact = [f.index for f in self._report.findings if f.code in EXACT and f.index is not None]
        return (min(exact), min(exact) + 1) if exact else (self._good, self.grown.size)

    def end(self) -> None:
        """Look at what is beyond: a checkpoint that says that leaves are gone, leaves that no checkpoint covers."""
        size, largest = self.grown.size, self._heads.largest
        self._report.entries = self._report.size = size
        if largest > size and self._report.ok:
            self._truncated(size)
        if largest < size and self._heads.by_size:
            self._report.add("tail_not_signed", largest, size)

    def _truncated(self, size: int) -> None:
        """Which leaf is gone is sure when the end itself is proved: one from the middle may be missing."""
        index = self._differs
        if self._reaches_further():
            first = size if index is None else index
            self._report.add("truncated", first, first + 1)
        else:
            self._report.add("truncated", self._good, size + 1)

    def _reaches_further(self) -> bool:
        """Whether the hashes from outside lead on to a checkpoint that vouches for them."""
        if self._outside.size != self.grown.size:
            return False
        for kept in self._kept:
            self._outside.push(kept)
            if self._vouched(self._heads.by_size.get(self._outside.size, set())):
                return True
        return False
