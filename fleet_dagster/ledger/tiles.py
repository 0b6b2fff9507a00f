"""Tiles: the hashes of a tree, up to 256 neighbours of every eighth level together.

Layout: C2SP, "Tiled transparency logs" (c2sp.org/tlog-tiles), v1.0.0.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from fleet_dagster.ledger.merkle import HASH_BYTES, node_hash
from fleet_dagster.model.errors import LedgerError

HEIGHT = 8
WIDTH = 1 << HEIGHT
ReadTile = Callable[[int, int], bytes]
"""Returns the hashes of the `number`-th tile of a level, as many as there are."""


@dataclass(slots=True)
class Tiles:
    """The tiles of a stored tree: reads them once, and computes the nodes between their levels."""

    read: ReadTile
    _known: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of the `index`-th complete subtree of 2**`level` leaves.

        Raises
        ------
        LedgerError
            A tile has lost hashes that it must have.
        """
        tile_level, height = divmod(level, HEIGHT)
        number, first = divmod(index << height, WIDTH)
        tile = self.tile(tile_level, number)
        start, end = first * HASH_BYTES, (first + (1 << height)) * HASH_BYTES
        _refuse_short(tile, end, f"tile {tile_level}/{number}")
        return _top([tile[at : at + HASH_BYTES] for at in range(start, end, HASH_BYTES)])

    def tile(self, level: int, number: int) -> bytes:
        """Return one tile."""
        key = (level, number)
        if key not in self._known:
            self._known[key] = self.read(level, number)
        return self._known[key]

    def grown(self, size: int, leaves: Sequence[bytes]) -> Iterator[tuple[int, int, bytes]]:
        """Yield the tiles that change when leaves, by their hashes, are appended to a tree of `size`: level, number, hashes.

        Raises
        ------
        LedgerError
            A tile has lost hashes that it must have.
        """
        level, new = 0, list(leaves)
        while new:
            number, n_old = divmod(size, WIDTH)
            old = self.tile(level, number)[: n_old * HASH_BYTES] if n_old else b""
            _refuse_short(old, n_old * HASH_BYTES, f"tile {level}/{number}")
            row = old + b"".join(new)
            above = []
            for first in range(0, len(row), WIDTH * HASH_BYTES):
                hashes = row[first : first + WIDTH * HASH_BYTES]
                yield level, number, hashes
                if len(hashes) == WIDTH * HASH_BYTES:
                    above.append(_top(_split(hashes)))
                number += 1
            level, new, size = level + 1, above, size >> HEIGHT


def tile_sizes(size: int) -> Iterator[tuple[int, int, int]]:
    """Yield every tile of a tree of `size` leaves: level, number, and how many hashes it has."""
    level = 0
    while size:
        n_full, rest = divmod(size, WIDTH)
        yield from ((level, number, WIDTH) for number in range(n_full))
        if rest:
            yield level, n_full, rest
        level, size = level + 1, n_full


def _refuse_short(tile: bytes, n_bytes: int, what: str) -> None:
    if len(tile) < n_bytes:
        problem = f"it has {len(tile) // HASH_BYTES} hashes, expected {n_bytes // HASH_BYTES}"
        raise LedgerError(what, problem, "The stored tree is damaged: restore it from a backup")


def tiles_of(leaves: Sequence[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Yield every tile of a tree, given by its leaves' hashes: level, number, hashes."""
    level, row = 0, list(leaves)
    while row:
        above = []
        for number, first in enumerate(range(0, len(row), WIDTH)):
            tile = row[first : first + WIDTH]
            yield level, number, b"".join(tile)
            if len(tile) == WIDTH:
                above.append(_top(tile))
        level, row = level + 1, above


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]


def _top(nodes: list[bytes]) -> bytes:
    """Return the root of a complete subtree."""
    while len(nodes) > 1:
        nodes = [node_hash(a, b) for a, b in zip(nodes[::2], nodes[1::2], strict=True)]
    return nodes[0]
