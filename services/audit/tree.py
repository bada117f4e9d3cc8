"""The Merkle tree of RFC 9162 section 2.1 (same hashes as RFC 6962): roots, proofs, verification. Pure.

Leaves are byte strings; a hash is 32 bytes of SHA-256. A complete subtree has coordinates
`(level, index)`: it covers leaves `index << level` up to `(index + 1) << level`. Proofs are planned as
leaf ranges first, so that a store can fetch just the complete subtrees that cover them.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Range = tuple[int, int]
"""Leaves from the first number up to, not including, the second; the hash of their own small tree."""
Coordinate = tuple[int, int]
"""(level, index) of a complete subtree."""
Node = tuple[int, int, bytes]
"""(level, index, hash) of a complete subtree."""


def leaf_hash(body: bytes) -> bytes:
    """Return SHA-256(0x00 || body) (RFC 9162 2.1.1)."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right) (RFC 9162 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def _fold(hashes: Sequence[bytes]) -> bytes:
    """Join complete subtrees, largest first, into one root: the right edge is folded from the right."""
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


@dataclass
class Frontier:
    """The complete subtrees of a growing tree, largest first: all that appending needs to remember."""

    size: int = 0
    hashes: list[bytes] = field(default_factory=list)

    def push(self, leaf: bytes) -> list[Node]:
        """Append one leaf hash; return the complete subtrees it finished, from level 1 up."""
        made: list[Node] = []
        level, index, current = 0, self.size, leaf
        while index & 1:
            current = node_hash(self.hashes.pop(), current)
            level, index = level + 1, index >> 1
            made.append((level, index, current))
        self.hashes.append(current)
        self.size += 1
        return made

    def root(self) -> bytes:
        """Return the root of the tree so far; of no leaves, SHA-256 of nothing."""
        return _fold(self.hashes) if self.hashes else EMPTY_ROOT


def cover(leaves: Range) -> list[Coordinate]:
    """Return the complete subtrees of a range's own tree, left to right.

    The range starts at a multiple of the power of two that is not below its length, as every range
    of a proof does.
    """
    start, end = leaves
    found: list[Coordinate] = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return found


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return the ranges whose hashes are the inclusion path of a leaf, from its sibling to the top.

    Raises ValueError when the leaf is not in a tree of that size (RFC 9162 2.1.3.1).
    """
    if not 0 <= index < size:
        raise ValueError("the leaf is not in the tree")
    path: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """Return the ranges whose hashes prove that a tree of `old` leaves is a prefix of one of `new`.

    Raises ValueError unless 0 < old <= new (RFC 9162 2.1.4.1).
    """
    if not 0 < old <= new:
        raise ValueError("a consistency proof needs 0 < old <= new")
    path: list[Range] = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start, whole = middle, False
    if not whole:
        path.append((start, end))
    return path[::-1]


def _split(length: int) -> int:
    """Return the largest power of two below `length`."""
    return 1 << ((length - 1).bit_length() - 1)


def needed(ranges: Iterable[Range]) -> list[Coordinate]:
    """Return every complete subtree that `hashes_of` will look up for these ranges."""
    return [coordinate for leaves in ranges for coordinate in cover(leaves)]


def hashes_of(ranges: Iterable[Range], lookup: Callable[[Coordinate], bytes]) -> list[bytes]:
    """Return the hash of each range, from the hashes of complete subtrees."""
    return [_fold([lookup(coordinate) for coordinate in cover(leaves)]) for leaves in ranges]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Return whether the leaf hash is at `index` of the tree of that size and root (RFC 9162 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes([leaf, root, *path]):
        return False
    node, last, current = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if node & 1 or node == last:
            current = node_hash(sibling, current)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and current == root


def verify_consistency(sizes: Range, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Return whether the tree (sizes[0], old_root) is a prefix of (sizes[1], new_root) (RFC 9162 2.1.4.2).

    The empty tree is a prefix of every tree, with an empty proof and the empty root.
    """
    old, new = sizes
    if not 0 <= old <= new or not _are_hashes([old_root, new_root, *path]):
        return False
    if old == 0:
        return not path and old_root == EMPTY_ROOT and (new > 0 or new_root == EMPTY_ROOT)
    if old == new:
        return not path and old_root == new_root
    return _walk_consistency(sizes, old_root, new_root, list(path))


def _walk_consistency(sizes: Range, old_root: bytes, new_root: bytes, path: list[bytes]) -> bool:
    old, new = sizes
    if old & (old - 1) == 0:
        path = [old_root, *path]
    if not path:
        return False
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    was = now = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            was, now = node_hash(sibling, was), node_hash(sibling, now)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            now = node_hash(now, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and was == old_root and now == new_root


def _are_hashes(values: Iterable[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
