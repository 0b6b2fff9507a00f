"""Merkle trees straight from RFC 6962, section 2.1: slow, recursive, and without anything of the package."""

import hashlib
from collections.abc import Callable, Sequence


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def split(n: int) -> int:
    """Return the largest power of two below `n`."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def mth(entries: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash of entries (section 2.1)."""
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return leaf(entries[0])
    k = split(len(entries))
    return node(mth(entries[:k]), mth(entries[k:]))


def path(m: int, entries: Sequence[bytes]) -> list[bytes]:
    """Return the audit path of entry `m` (section 2.1.1)."""
    if len(entries) == 1:
        return []
    k = split(len(entries))
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def proof(m: int, entries: Sequence[bytes]) -> list[bytes]:
    """Return the consistency proof of the first `m` entries (section 2.1.2); nothing proves an empty tree."""
    return subproof(m, entries, is_whole=True) if m else []


def subproof(m: int, entries: Sequence[bytes], *, is_whole: bool) -> list[bytes]:
    n = len(entries)
    if m == n:
        return [] if is_whole else [mth(entries)]
    k = split(n)
    if m <= k:
        return [*subproof(m, entries[:k], is_whole=is_whole), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], is_whole=False), mth(entries[:k])]


def root_by_path(m: int, n: int, leaf_hash: bytes, hashes: Sequence[bytes]) -> bytes | None:
    """Return the root that an audit path leads to; None if it has not as many hashes as the definition asks for."""
    if n == 1 or not hashes:
        return leaf_hash if n == 1 and not hashes else None
    k, (*rest, last) = split(n), hashes
    below = (
        root_by_path(m, k, leaf_hash, rest)
        if m < k
        else root_by_path(m - k, n - k, leaf_hash, rest)
    )
    if below is None:
        return None
    return node(below, last) if m < k else node(last, below)


def roots_by_proof(
    m: int, n: int, old_root: bytes, hashes: Sequence[bytes], *, is_whole: bool = True
) -> tuple[bytes, bytes] | None:
    """Return both roots that a consistency proof leads to; None as above."""
    if m == n:
        if is_whole:
            return None if hashes else (old_root, old_root)
        return (hashes[0], hashes[0]) if len(hashes) == 1 else None
    if not hashes:
        return None
    k, (*rest, last) = split(n), hashes
    if m <= k:
        below = roots_by_proof(m, k, old_root, rest, is_whole=is_whole)
        return None if below is None else (below[0], node(below[1], last))
    below = roots_by_proof(m - k, n - k, old_root, rest, is_whole=False)
    return None if below is None else (node(last, below[0]), node(last, below[1]))


def node_of(entries: Sequence[bytes]) -> Callable[[int, int], bytes]:
    """Return what returns the hash of a complete subtree, by level and index."""
    return lambda level, index: mth(entries[index << level : (index + 1) << level])


def tile(level: int, number: int, entries: Sequence[bytes]) -> bytes:
    """Return a tile of a log (c2sp.org/tlog-tiles, section "Merkle Tree"): as many hashes as there are."""
    width = 256**level
    starts = range(number * 256 * width, (number + 1) * 256 * width, width)
    return b"".join(mth(entries[at : at + width]) for at in starts if at + width <= len(entries))
