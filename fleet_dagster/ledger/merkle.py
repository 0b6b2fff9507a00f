"""Merkle trees over SHA-256: roots, inclusion and consistency proofs, and their verification.

Formulas: B. Laurie, A. Langley, E. Kasper, "Certificate Transparency", RFC 6962, section 2.1, 2013 (doi:10.17487/RFC6962);
verification as in B. Laurie, E. Messeri, R. Stradling, RFC 9162, sections 2.1.3.2 and 2.1.4.2, 2021 (doi:10.17487/RFC9162).
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256().digest()
"""Root of a tree without leaves."""
LEAF, NODE = b"\x00", b"\x01"
"""What is put before a leaf's, and a node's, content: neither can be taken for the other."""
NodeOf = Callable[[int, int], bytes]
"""Returns the hash of the `index`-th complete subtree of 2**`level` leaves."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf that holds an entry."""
    return hashlib.sha256(LEAF + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Return the hashes of leaves that hold entries."""
    sha256 = hashlib.sha256
    return [sha256(LEAF + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node above two others."""
    return hashlib.sha256(NODE + left + right).digest()


class Frontier:
    """The right edge of a growing tree: all that is needed to append leaves and to tell the root."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        """Start at `size` leaves, whose complete subtrees have the hashes `peaks`, from the largest to the smallest."""
        self.size = size
        levels = [level for level in range(size.bit_length()) if size >> level & 1]
        self._peaks = dict(zip(reversed(levels), peaks, strict=True))

    @classmethod
    def at(cls, size: int, node_of: NodeOf) -> "Frontier":
        """Return the right edge of a stored tree as it was at a size."""
        return cls(size, (node_of(level, index) for level, index in _subtrees(0, size)))

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Append leaves, by their hashes."""
        sha256, level, nodes = hashlib.sha256, 0, list(leaves)
        self.size += len(nodes)
        while nodes:
            if level in self._peaks:
                nodes.insert(0, self._peaks.pop(level))
            if len(nodes) % 2:
                self._peaks[level] = nodes.pop()
            pairs = zip(nodes[::2], nodes[1::2], strict=True)
            nodes = [sha256(NODE + left + right).digest() for left, right in pairs]
            level += 1

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        peaks = [self._peaks[level] for level in sorted(self._peaks)]
        return _join(peaks) if peaks else EMPTY_ROOT


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaves, given by their hashes."""
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.root()


def inclusion_proof(index: int, size: int, node_of: NodeOf) -> list[bytes]:
    """Return the hashes that lead from leaf `index` to the root of the tree of `size` leaves.

    Raises
    ------
    ValueError
        There is no such leaf.
    """
    if not 0 <= index < size:
        msg = f"leaf {index} is not in a tree of {size} leaves"
        raise ValueError(msg)
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_range_hash(middle, end, node_of))
            end = middle
        else:
            proof.append(_range_hash(start, middle, node_of))
            start = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, node_of: NodeOf) -> list[bytes]:
    """Return the hashes that show that the tree of `new` leaves begins with the tree of `old` leaves.

    Raises
    ------
    ValueError
        The old tree is larger than the new one.
    """
    if not 0 <= old <= new:
        msg = f"a tree of {old} leaves cannot be the beginning of one of {new}"
        raise ValueError(msg)
    if old in (0, new):
        return []
    proof: list[bytes] = []
    start, end, is_whole = 0, new, True
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(_range_hash(middle, end, node_of))
            end = middle
        else:
            proof.append(_range_hash(start, middle, node_of))
            start, is_whole = middle, False
    if not is_whole:
        proof.append(_range_hash(start, end, node_of))
    return proof[::-1]


def verify_inclusion(
    proof: Sequence[bytes], index: int, size: int, leaf: bytes, root: bytes
) -> bool:
    """Tell whether a leaf, by its hash, is at `index` of the tree of `size` leaves with this root."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            at, last = _rise(at, last)
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(
    proof: Sequence[bytes], old: int, new: int, old_root: bytes, new_root: bytes
) -> bool:
    """Tell whether the tree of `new` leaves with this root begins with the tree of `old` leaves with that root."""
    if not 0 <= old <= new:
        return False
    if old == 0:
        return not proof and old_root == EMPTY_ROOT and (new > 0 or new_root == EMPTY_ROOT)
    if old == new:
        return not proof and old_root == new_root
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    older = newer = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            at, last = _rise(at, last)
        else:
            newer = node_hash(newer, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and older == old_root and newer == new_root


def _rise(at: int, last: int) -> tuple[int, int]:
    """Go up until the node is a right child's sibling or the leftmost: what lies between has no sibling of its own."""
    while not at & 1 and at:
        at, last = at >> 1, last >> 1
    return at, last


def _split(n: int) -> int:
    """Return the largest power of two below `n`."""
    return 1 << (n - 1).bit_length() - 1


def _subtrees(start: int, end: int) -> list[tuple[int, int]]:
    """Return the complete subtrees, as level and index, that make up leaves `start` to `end` of a tree that starts there."""
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return found


def _range_hash(start: int, end: int, node_of: NodeOf) -> bytes:
    return _join([node_of(level, index) for level, index in reversed(_subtrees(start, end))])


def _join(peaks: Sequence[bytes]) -> bytes:
    """Return the root over complete subtrees, from the smallest, which is the rightmost, to the largest."""
    found = peaks[0]
    for peak in peaks[1:]:
        found = node_hash(peak, found)
    return found
