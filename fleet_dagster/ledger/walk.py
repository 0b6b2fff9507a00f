"""The stored entries of a ledger, read once from the first to the last: their tree, and what they say."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from fleet_dagster.core.windows import Span, iso
from fleet_dagster.ledger.entries import (
    KEY_ROTATION,
    KINDS,
    KPI,
    MATERIALIZATION,
    RETENTION,
    kpi_frame,
    read_entry,
    removed,
)
from fleet_dagster.ledger.findings import Finding
from fleet_dagster.ledger.log import PAGE, Log, StoredLeaf
from fleet_dagster.ledger.merkle import HASH_BYTES, Frontier, leaf_hashes
from fleet_dagster.ledger.tiles import WIDTH, tiles_of

_SUPERSEDES = b',"supersedes":'


@dataclass(slots=True)
class Walk:
    """What was seen on the way."""

    log: Log
    size: int
    """Entries that there must be."""
    wanted: Collection[int] = ()
    """Sizes at which the root is asked for."""
    roots: dict[int, bytes] = field(default_factory=dict)
    hashes: list[bytes] = field(default_factory=list)
    """Hashes of the leaves."""
    newest: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """Of each window, number and digest of its newest row."""
    revisions: dict[int, int] = field(default_factory=dict)
    """Revision of that row, of the windows where it is not 0."""
    rotations: list[StoredLeaf] = field(default_factory=list)
    removals: list[tuple[int, Span]] = field(default_factory=list)
    """Number of each removal's entry, and what was removed."""
    imprints: dict[str, int] = field(default_factory=dict)
    """Number of the first entry that names an imprint, by its digest."""
    findings: list[Finding] = field(default_factory=list)
    n_rows: int = 0

    def run(self) -> Iterator[int]:
        """Read the entries up to the end, or to one that is missing; yields how many were read so far."""
        frontier, stops = Frontier(), sorted({*self.wanted, self.size})
        if 0 in stops:
            self.roots[0] = frontier.root()
        leaves = self.log.entries(0, self.size)
        while page := list(islice(leaves, PAGE)):
            whole = next(
                (i for i, leaf in enumerate(page) if leaf.number != frontier.size + i), None
            )
            present = page[:whole]
            hashes = leaf_hashes(one.leaf.entry for one in present)
            self._grow(frontier, hashes, stops)
            self.hashes += hashes
            for one in present:
                self._look(one)
            yield frontier.size
            if whole is not None:
                break
        if frontier.size < self.size:
            problem = f"it is missing: {self.size - frontier.size} of {self.size} entries from here on cannot be checked"
            self.findings.append(Finding("missing", problem, frontier.size))

    def first_altered(self, since: int, until: int) -> int | None:
        """Return the first entry that does not have the hash that was stored when it was appended; None where all have."""
        tiles = self.log.tiles()
        for number in range(since, min(until, len(self.hashes))):
            tile = tiles.tile(0, number // WIDTH)
            at = number % WIDTH * HASH_BYTES
            if tile[at : at + HASH_BYTES] != self.hashes[number]:
                return number
        return None

    def bad_tiles(self) -> Iterator[Finding]:
        """Yield the stored tiles that are not those of the tree: nothing is derived from them here, but proofs and new roots are."""
        stored, expected = self.log.stored_tiles(), tiles_of(self.hashes)
        head = self.log.head()
        has_grown = head is not None and head.size != self.size
        for level, number, hashes in expected:
            found = stored.pop((level, number), b"")
            if found != hashes and not (has_grown and found.startswith(hashes)):
                first = number * WIDTH ** (level + 1)
                problem = f"tile {level}/{number} is not the one of the tree, which its entries and checkpoints agree on"
                yield Finding("bad_tile", problem, first, self.window_of(first))
        for level, number in () if has_grown else sorted(stored):
            problem = f"tile {level}/{number} is stored, but the tree has none there"
            yield Finding("bad_tile", problem)

    def window_of(self, number: int) -> int | None:
        """Return the window that an entry is about, as is stored beside it [us]."""
        found = next(self.log.entries(number, number + 1), None)
        return None if found is None else found.leaf.window_start

    def _grow(self, frontier: Frontier, hashes: list[bytes], stops: list[int]) -> None:
        first, start = frontier.size, 0
        for stop in stops:
            if first < stop <= first + len(hashes):
                frontier.extend(hashes[start : stop - first])
                self.roots[stop], start = frontier.root(), stop - first
        frontier.extend(hashes[start:])

    def _look(self, stored: StoredLeaf) -> None:
        problem = self._problem(stored)
        if problem:
            window = stored.leaf.window_start
            self.findings.append(Finding("malformed", problem, stored.number, window))

    def _problem(self, stored: StoredLeaf) -> str:
        """Take in what an entry says; returns what is wrong with it."""
        leaf = stored.leaf
        if leaf.kind == KPI and self._take_row(stored):
            return ""
        try:
            content = read_entry(leaf.entry)
        except ValueError as error:
            return f"it cannot be read: {error}"
        return self._misfit(stored, content) or self._keep(stored, content)

    def _misfit(self, stored: StoredLeaf, content: Mapping[str, Any]) -> str:  # Any: of JSON
        """Return what an entry says that does not fit its place, or what is stored beside it."""
        leaf = stored.leaf
        if content.get("index") != stored.number:
            return f"it says that it is entry {content.get('index')!r}: entries were moved, put in or taken out"
        if content.get("fleet") != self.log.fleet:
            return f"it says that it is of fleet {content.get('fleet')!r}"
        if content.get("kind") != leaf.kind or leaf.kind not in KINDS or leaf.kind == KPI:
            return f"it says that it is a {content.get('kind')!r} entry, and does not fit the {leaf.kind!r} that is stored beside it"
        if (leaf.window_start, leaf.revision, leaf.row_digest) != (None, None, None):
            return (
                "a window, a revision or a row's digest is stored beside it, though it is no row's"
            )
        return ""

    def _keep(self, stored: StoredLeaf, content: Mapping[str, Any]) -> str:  # Any: of JSON
        """Keep what an entry says for later; returns what is wrong with it."""
        leaf = stored.leaf
        if leaf.kind == MATERIALIZATION:
            named = content.get("imprints")
            if not isinstance(named, dict):
                return "it does not say what software computed its rows"
            self.imprints = dict.fromkeys(named, stored.number) | self.imprints
        if leaf.kind == KEY_ROTATION:
            self.rotations.append(stored)
        if leaf.kind == RETENTION:
            removal = removed(content)
            if removal is None:
                return "it records a removal, but not of what"
            self.removals.append((stored.number, removal))
        return ""

    def _take_row(self, stored: StoredLeaf) -> bool:
        """Take in a row, if the entry is just what its number and what is stored beside it make of its row."""
        leaf = stored.leaf
        if leaf.window_start is None or leaf.revision is None or leaf.row_digest is None:
            return False
        body, _, before = leaf.entry.rpartition(_SUPERSEDES)
        head = kpi_frame(self.log.fleet, stored.number, leaf.revision, None)[0].encode()
        row = body[len(head) :]
        known = self.newest.get(leaf.window_start)
        named = b"null}" if known is None else b"%d}" % known[0]
        newest = -1 if known is None else self.revisions.get(leaf.window_start, 0)
        fits = (
            body.startswith(head)
            and before == named
            and row.endswith(f'"window_start":"{iso(leaf.window_start)}"}}'.encode())
            and hashlib.sha256(row).digest() == leaf.row_digest
            and leaf.revision > newest
        )
        if fits:
            self.newest[leaf.window_start] = (stored.number, leaf.row_digest)
            if leaf.revision:
                self.revisions[leaf.window_start] = leaf.revision
            self.n_rows += 1
        return fits
