"""The Merkle tree against the published RFC 6962 vectors, and against every mutation of a proof.

The leaves, roots and proofs are those of the certificate-transparency reference tests (also used by
transparency-dev/merkle): facts copied by hand, not computed by the code under test.
"""

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.audit import tree

LEAVES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")] + [
    bytes.fromhex("606162636465666768696a6b6c6d6e6f")
]

ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

INCLUSION = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}

CONSISTENCY: dict[tuple[int, int], list[str]] = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def grown(leaves: list[bytes]) -> tuple[tree.Frontier, dict[tree.Coordinate, bytes]]:
    frontier, nodes = tree.Frontier(), {}
    for index, body in enumerate(leaves):
        nodes[0, index] = tree.leaf_hash(body)
        for level, at, value in frontier.push(nodes[0, index]):
            nodes[level, at] = value
    return frontier, nodes


def root_by_definition(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 2.1, written out recursively: the independent oracle."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = root_by_definition(leaves[:split]), root_by_definition(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


@pytest.mark.f(27)
@pytest.mark.parametrize("size", range(9))
def test_the_root_of_each_published_tree_is_the_published_root(size: int) -> None:
    assert grown(LEAVES[:size])[0].root().hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_published_inclusion_paths_are_made_and_accepted(index: int, size: int) -> None:
    path = [bytes.fromhex(text) for text in INCLUSION[index, size]]
    _, nodes = grown(LEAVES[:size])
    assert tree.hashes_of(tree.inclusion_ranges(index, size), nodes.__getitem__) == path
    leaf, root = tree.leaf_hash(LEAVES[index]), bytes.fromhex(ROOTS[size])
    assert tree.verify_inclusion(leaf, index, size, path, root)


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_published_consistency_proofs_are_made_and_accepted(old: int, new: int) -> None:
    path = [bytes.fromhex(text) for text in CONSISTENCY[old, new]]
    _, nodes = grown(LEAVES[:new])
    assert tree.hashes_of(tree.consistency_ranges(old, new), nodes.__getitem__) == path
    roots = bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new])
    assert tree.verify_consistency((old, new), *roots, path)


def test_the_empty_tree_is_a_prefix_of_every_tree_and_of_nothing_else() -> None:
    empty, eight = bytes.fromhex(ROOTS[0]), bytes.fromhex(ROOTS[8])
    assert tree.verify_consistency((0, 0), empty, empty, [])
    assert tree.verify_consistency((0, 8), empty, eight, [])
    assert not tree.verify_consistency((0, 8), eight, eight, [])
    assert not tree.verify_consistency((0, 0), empty, eight, [])


@given(st.integers(1, 70), st.data())
@settings(max_examples=60, deadline=None)
def test_every_leaf_of_every_tree_is_proved(size: int, data: st.DataObject) -> None:
    leaves = [str(n).encode() for n in range(size)]
    frontier, nodes = grown(leaves)
    assert frontier.root() == root_by_definition(leaves)
    index = data.draw(st.integers(0, size - 1))
    path = tree.hashes_of(tree.inclusion_ranges(index, size), nodes.__getitem__)
    assert tree.verify_inclusion(nodes[0, index], index, size, path, frontier.root())


@given(st.integers(1, 70), st.data())
@settings(max_examples=60, deadline=None)
def test_every_prefix_is_proved_consistent(new: int, data: st.DataObject) -> None:
    leaves = [str(n).encode() for n in range(new)]
    old = data.draw(st.integers(1, new))
    _, nodes = grown(leaves)
    path = tree.hashes_of(tree.consistency_ranges(old, new), nodes.__getitem__)
    roots = root_by_definition(leaves[:old]), root_by_definition(leaves)
    assert tree.verify_consistency((old, new), *roots, path)


def _mutated(path: list[bytes], data: st.DataObject) -> list[bytes]:
    """A proof that differs from `path`: a bit flipped, a hash dropped, added, or two swapped."""
    kinds = ["add"] + (["flip", "drop"] if path else [])
    kinds += ["swap"] if len(set(path)) > 1 else []
    kind, made = data.draw(st.sampled_from(kinds)), list(path)
    at = data.draw(st.integers(0, max(len(path) - 1, 0)))
    if kind == "add":
        made.insert(at, data.draw(st.binary(min_size=32, max_size=32)))
    elif kind == "drop":
        del made[at]
    elif kind == "flip":
        value, bit = bytearray(made[at]), data.draw(st.integers(0, 255))
        value[bit // 8] ^= 1 << bit % 8
        made[at] = bytes(value)
    else:
        made.reverse()
        made = made if made != path else [*made[1:], made[0]]
    return made


@pytest.mark.f(27)
@given(st.integers(1, 40), st.data())
@settings(max_examples=150, deadline=None)
def test_every_mutated_inclusion_proof_is_refused(size: int, data: st.DataObject) -> None:
    frontier, nodes = grown([str(n).encode() for n in range(size)])
    index = data.draw(st.integers(0, size - 1))
    path = tree.hashes_of(tree.inclusion_ranges(index, size), nodes.__getitem__)
    leaf, root = nodes[0, index], frontier.root()
    assert not tree.verify_inclusion(leaf, index, size, _mutated(path, data), root)
    other = data.draw(st.integers(-1, size + 1).filter(lambda n: n != index))
    assert not tree.verify_inclusion(leaf, other, size, path, root)
    assert not tree.verify_inclusion(tree.leaf_hash(b"other"), index, size, path, root)
    assert not tree.verify_inclusion(leaf, index, size, path, tree.leaf_hash(b"other"))


@pytest.mark.f(27)
@given(st.integers(2, 40), st.data())
@settings(max_examples=150, deadline=None)
def test_every_mutated_consistency_proof_is_refused(new: int, data: st.DataObject) -> None:
    leaves = [str(n).encode() for n in range(new)]
    frontier, nodes = grown(leaves)
    old = data.draw(st.integers(1, new - 1))
    path = tree.hashes_of(tree.consistency_ranges(old, new), nodes.__getitem__)
    was, now = root_by_definition(leaves[:old]), frontier.root()
    assert not tree.verify_consistency((old, new), was, now, _mutated(path, data))
    assert not tree.verify_consistency((old, new), now, now, path)
    assert not tree.verify_consistency((old, new), was, was, path)
    assert not tree.verify_consistency((new, old), was, now, path)


def test_a_hash_of_the_wrong_length_is_refused() -> None:
    root = bytes.fromhex(ROOTS[1])
    assert tree.verify_inclusion(tree.leaf_hash(b""), 0, 1, [], root)
    assert not tree.verify_inclusion(tree.leaf_hash(b"")[:31], 0, 1, [], root)


@pytest.mark.f(27)
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_million_random_proofs_hold_and_no_mutated_one_does(seed_long: int) -> None:
    """Reliability test 27: trees up to 100,000 leaves; each proof once as it is and once with a bit flipped."""
    chance = random.Random(seed_long)
    leaves = [n.to_bytes(8, "big") for n in range(100_000)]
    _, nodes = grown(leaves)
    accepted = 0
    for _ in range(1000):
        size = chance.randrange(2, len(leaves) + 1)
        root = tree.hashes_of([(0, size)], nodes.__getitem__)[0]
        for _ in range(1000):
            index = chance.randrange(size)
            path = tree.hashes_of(tree.inclusion_ranges(index, size), nodes.__getitem__)
            assert tree.verify_inclusion(nodes[0, index], index, size, path, root)
            at = chance.randrange(len(path))
            flipped = bytearray(path[at])
            flipped[chance.randrange(32)] ^= 1 << chance.randrange(8)
            accepted += tree.verify_inclusion(
                nodes[0, index], index, size, [*path[:at], bytes(flipped), *path[at + 1 :]], root
            )
    assert accepted == 0
