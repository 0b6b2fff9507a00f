"""The stored entries of a ledger, read once from the first to the last: their tree, and what they say."""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice

from fleet_dagster.core.windows import iso
from fleet_dagster.ledger.entries import (
    KEY_ROTATION,
    KINDS,
    KPI,
    RETENTION,
    kpi_frame,
    read_entry,
)
from fleet_dagster.ledger.findings import Finding
from fleet_dagster.ledger.log import PAGE, Log, StoredLeaf
from fleet_dagster.ledger.merkle import HASH_BYTES, Frontier, leaf_hashes
from fleet_dagster.ledger.tiles import WIDTH

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
    rotations: list[StoredLeaf] = field(default_factory=list)
    removals: list[StoredLeaf] = field(default_factory=list)
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
        if content.get("index") != stored.number:
            return f"it says that it is entry {content.get('index')!r}: entries were moved, put in or taken out"
        if content.get("fleet") != self.log.fleet:
            return f"it says that it is of fleet {content.get('fleet')!r}"
        if content.get("kind") != leaf.kind or leaf.kind not in KINDS or leaf.kind == KPI:
            return f"it says that it is a {content.get('kind')!r} entry, and does not fit the {leaf.kind!r} that is stored beside it"
        if leaf.kind == KEY_ROTATION:
            self.rotations.append(stored)
        if leaf.kind == RETENTION:
            self.removals.append(stored)
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
        fits = (
            body.startswith(head)
            and before == named
            and row.endswith(f'"window_start":"{iso(leaf.window_start)}"}}'.encode())
            and hashlib.sha256(row).digest() == leaf.row_digest
        )
        if fits:
            self.newest[leaf.window_start] = (stored.number, leaf.row_digest)
            self.n_rows += 1
        return fits
