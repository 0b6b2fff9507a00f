"""The stored log of one fleet: entries, tiles and checkpoints in the control database, written in one transaction a batch."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fleet_dagster.core.windows import Span
from fleet_dagster.ledger.merkle import Frontier, leaf_hash
from fleet_dagster.ledger.note import Note, Signature, parse_signatures
from fleet_dagster.ledger.tiles import Tiles
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import (
    ledger_checkpoints,
    ledger_cosignatures,
    ledger_entries,
    ledger_tiles,
    ledgers,
)

PAGE = 10_000
"""Entries that are read at once."""
CHECKPOINTS_PAGE = 1_000
"""Checkpoints that are read at once: each has some kilobytes of signatures."""


@dataclass(frozen=True, slots=True)
class Head:
    """Name and size of a log as it is stored."""

    origin: str
    size: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """An entry about to be appended, and by what it is found again."""

    entry: bytes
    kind: str
    window_start: int | None = None
    revision: int | None = None
    row_digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """An entry as it is stored."""

    number: int
    leaf: Leaf


@dataclass(frozen=True, slots=True)
class KnownRow:
    """What is stored beside the entry of a row, by which it is found."""

    number: int
    window_start: int
    revision: int
    row_digest: bytes


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint as it was signed, and the lines of those who vouched for it since."""

    size: int
    content: str
    """The note, as it is stored: it may have been tampered with, and is to be parsed."""
    created_at: int
    lines: Mapping[str, str]
    """Signature lines by witness."""

    def note(self) -> Note:
        """Return the note with all signatures.

        Raises
        ------
        LedgerError
            What is stored is no note.
        """
        what = f"checkpoint of size {self.size}"
        added = [s for line in self.lines.values() for s in parse_signatures(line, what=what)]
        return Note.parse(self.content, what=what).signed_also(*added)


@dataclass(frozen=True, slots=True)
class Batch:
    """Leaves to append to a log of a certain size, with the new tiles and the checkpoint that they lead to."""

    head: Head
    leaves: Sequence[Leaf]
    tiles: Sequence[tuple[int, int, bytes]]
    root: bytes

    @property
    def size(self) -> int:
        """Size of the log with them."""
        return self.head.size + len(self.leaves)


class Log:
    """Reads and writes one fleet's log."""

    def __init__(self, control: Control, fleet: str) -> None:
        self.control, self.fleet = control, fleet

    def head(self) -> Head | None:
        """Return name and size; None where there is no log yet."""
        query = sa.select(ledgers.c.origin, ledgers.c.size).where(ledgers.c.fleet == self.fleet)
        with self.control.reading() as tx:
            row = tx.execute(query).first()
        return None if row is None else Head(str(row.origin), int(row.size))

    def begin(self, origin: str) -> Head:
        """Return the head of the log, which is made if there is none.

        Raises
        ------
        LedgerError
            The log has another name: it is signed with that, and cannot be renamed. Or another fleet's log has this one.
        """
        found = self.head()
        if found is None:
            self._refuse_taken(origin)
            row = {"fleet": self.fleet, "origin": origin, "size": 0}
            try:
                with self.control.transaction() as tx:
                    tx.execute(sa.insert(ledgers), [row])
            except sa.exc.IntegrityError:  # another process has just begun it
                return self.begin(origin)
            return Head(origin, 0)
        if found.origin != origin:
            raise LedgerError(
                f"ledger of fleet {self.fleet!r}",
                f"it is called {found.origin!r}, but the configuration calls it {origin!r}",
                f"Set ledger.origin to {found.origin!r}: whoever trusts the log knows it by that name",
            )
        return found

    def _refuse_taken(self, origin: str) -> None:
        query = sa.select(ledgers.c.fleet).where(ledgers.c.origin == origin)
        with self.control.reading() as tx:
            other = tx.execute(query.limit(1)).scalar()
        if other is not None:
            raise LedgerError(
                f"ledger of fleet {self.fleet!r}",
                f"it would be called {origin!r}, as that of fleet {other!r} is: two pasts under one name look like a forgery",
                "Set another ledger.origin",
            )

    def tiles(self) -> Tiles:
        """Return the stored tiles. They are what they were when each was read first."""
        return Tiles(self._read_tile)

    def prepare(self, head: Head, leaves: Sequence[Leaf]) -> Batch:
        """Compute what appending leaves to the log at a size makes of its tree."""
        tiles = self.tiles()
        frontier = Frontier.at(head.size, tiles.node)
        hashes = [leaf_hash(leaf.entry) for leaf in leaves]
        grown = list(tiles.grown(head.size, hashes))
        frontier.extend(hashes)
        return Batch(head, leaves, grown, frontier.root())

    def append(self, tx: sa.Connection, batch: Batch, note: Note | None) -> None:
        """Write a batch and its checkpoint as part of a transaction.

        Raises
        ------
        LedgerError
            The log has grown since the batch was prepared: another process appended to it.
        """
        same = (ledgers.c.fleet == self.fleet, ledgers.c.size == batch.head.size)
        grown = tx.execute(sa.update(ledgers).where(*same).values(size=batch.size))
        if not grown.rowcount:
            raise LedgerError(
                f"ledger {batch.head.origin!r}",
                f"it no longer has {batch.head.size} entries: another process appended to it",
                "Nothing was written; run the same again",
            )
        rows = [
            {
                "fleet": self.fleet,
                "number": number,
                "kind": leaf.kind,
                "window_start": leaf.window_start,
                "revision": leaf.revision,
                "row_digest": leaf.row_digest,
                "entry": leaf.entry,
            }
            for number, leaf in enumerate(batch.leaves, start=batch.head.size)
        ]
        if rows:
            tx.execute(sa.insert(ledger_entries), rows)
        self._put_tiles(tx, batch.tiles)
        if note is not None:
            self._put_checkpoint(tx, batch.size, note)

    def entries(self, start: int = 0, end: int | None = None) -> Iterator[StoredLeaf]:
        """Yield stored entries in order of number; those that are missing are left out."""
        at, table = start, ledger_entries
        while end is None or at < end:
            query = sa.select(table).where(table.c.fleet == self.fleet, table.c.number >= at)
            if end is not None:
                query = query.where(table.c.number < end)
            with self.control.reading() as tx:
                rows = tx.execute(query.order_by(table.c.number).limit(PAGE)).all()
            if not rows:
                return
            yield from (_stored(row) for row in rows)
            at = int(rows[-1].number) + 1

    def of_windows(self, span: Span) -> list[StoredLeaf]:
        """Return the entries of rows of a span's windows, in order of number."""
        c = ledger_entries.c
        query = sa.select(ledger_entries).where(
            c.fleet == self.fleet, c.window_start >= span.start, c.window_start < span.end
        )
        with self.control.reading() as tx:
            return [_stored(row) for row in tx.execute(query.order_by(c.number))]

    def known_rows(self, span: Span) -> list[KnownRow]:
        """Return which rows of a span's windows are recorded, in order of number."""
        c = ledger_entries.c
        query = (
            sa.select(c.number, c.window_start, c.revision, c.row_digest)
            .where(c.fleet == self.fleet)
            .where(c.window_start >= span.start, c.window_start < span.end)
        )
        with self.control.reading() as tx:
            return [
                KnownRow(int(r.number), int(r.window_start), int(r.revision), _bytes(r.row_digest))
                for r in tx.execute(query.order_by(c.number))
            ]

    def of_kind(self, kind: str) -> list[StoredLeaf]:
        """Return the entries of a rare kind, in order of number.

        They have no window, by which the index of windows finds them. Asked for in order, a database would rather read all.
        """
        c = ledger_entries.c
        query = sa.select(ledger_entries).where(
            c.fleet == self.fleet, c.window_start.is_(None), c.kind == kind
        )
        with self.control.reading() as tx:
            found = [_stored(row) for row in tx.execute(query)]
        return sorted(found, key=lambda stored: stored.number)

    def sizes(self) -> list[int]:
        """Return the sizes at which there are checkpoints, from the smallest to the largest."""
        c = ledger_checkpoints.c
        query = sa.select(c.size).where(c.fleet == self.fleet).order_by(c.size)
        with self.control.reading() as tx:
            return [int(size) for size in tx.execute(query).scalars()]

    def checkpoints(
        self, *, since: int = 0, until: int | None = None
    ) -> Iterator[StoredCheckpoint]:
        """Yield the checkpoints of a size and more, from the smallest to the largest; those up to a size, if one is given."""
        c, at = ledger_checkpoints.c, since
        while True:
            query = sa.select(ledger_checkpoints).where(c.fleet == self.fleet, c.size >= at)
            if until is not None:
                query = query.where(c.size <= until)
            with self.control.reading() as tx:
                rows = tx.execute(query.order_by(c.size).limit(CHECKPOINTS_PAGE)).all()
                lines = self._lines(tx, rows[0].size, rows[-1].size) if rows else {}
            if not rows:
                return
            for r in rows:
                yield StoredCheckpoint(
                    int(r.size), str(r.note), int(r.created_at), lines.get(int(r.size), {})
                )
            at = int(rows[-1].size) + 1

    def newest_checkpoint(self) -> StoredCheckpoint | None:
        """Return the largest checkpoint; None where nothing was ever signed."""
        c = ledger_checkpoints.c
        query = sa.select(sa.func.max(c.size)).where(c.fleet == self.fleet)
        with self.control.reading() as tx:
            size = tx.execute(query).scalar()
        return None if size is None else next(self.checkpoints(since=int(size)), None)

    def newest_vouched(self, witnesses: Collection[str], n_needed: int) -> StoredCheckpoint | None:
        """Return the largest checkpoint that so many of these witnesses have signed; None where there is none."""
        w = ledger_cosignatures.c
        query = (
            sa.select(w.size)
            .where(w.fleet == self.fleet, w.witness.in_(witnesses))
            .group_by(w.size)
            .having(sa.func.count() >= n_needed)
            .order_by(w.size.desc())
            .limit(1)
        )
        with self.control.reading() as tx:
            size = tx.execute(query).scalar()
        return None if size is None else next(self.checkpoints(since=int(size)), None)

    def vouched_by(self) -> dict[str, int]:
        """Return the size of the largest checkpoint that each witness has signed."""
        w = ledger_cosignatures.c
        query = sa.select(w.witness, sa.func.max(w.size).label("size"))
        with self.control.reading() as tx:
            rows = tx.execute(query.where(w.fleet == self.fleet).group_by(w.witness))
            return {str(r.witness): int(r.size) for r in rows}

    def cosigned_sizes(self, *, since: int = 0, n_needed: int = 1) -> list[int]:
        """Return the sizes, from the largest down to `since`, at which so many witnesses vouched for a checkpoint."""
        w = ledger_cosignatures.c
        query = sa.select(w.size).where(w.fleet == self.fleet, w.size >= since).group_by(w.size)
        query = query.having(sa.func.count() >= n_needed)
        with self.control.reading() as tx:
            return [int(size) for size in tx.execute(query.order_by(w.size.desc())).scalars()]

    def beyond(self) -> list[tuple[str, int]]:
        """Return what is stored behind the log's size, or before its first entry: what it is, and the least number or size.

        One query, so that nothing that another process appends meanwhile is taken for it.
        """
        stored = sa.select(ledgers.c.size).where(ledgers.c.fleet == self.fleet)
        size = sa.func.coalesce(stored.scalar_subquery(), 0)
        e, c, w = ledger_entries.c, ledger_checkpoints.c, ledger_cosignatures.c
        parts = [
            sa.select(sa.literal(what).label("what"), sa.func.min(number).label("least")).where(
                fleet == self.fleet, sa.or_(number > last, number < 0)
            )
            for what, fleet, number, last in (
                ("entry", e.fleet, e.number, size - 1),
                ("checkpoint", c.fleet, c.size, size),
                ("cosignature", w.fleet, w.size, size),
            )
        ]
        with self.control.reading() as tx:
            rows = tx.execute(sa.union_all(*parts)).all()
        return [(str(r.what), int(r.least)) for r in rows if r.least is not None]

    def stored_tiles(self) -> dict[tuple[int, int], bytes]:
        """Return all stored tiles, by level and number."""
        c = ledger_tiles.c
        query = sa.select(c.level, c.number, c.hashes).where(c.fleet == self.fleet)
        with self.control.reading() as tx:
            return {(int(r.level), int(r.number)): _bytes(r.hashes) for r in tx.execute(query)}

    def attach(self, size: int, witness: str, signature: Signature) -> None:
        """Keep a witness's cosignature of the checkpoint of a size, in place of one that it gave before."""
        t, row = ledger_cosignatures, {"line": signature.line, "received_at": now_us()}
        same = (t.c.fleet == self.fleet, t.c.size == size, t.c.witness == witness)
        with suppress(sa.exc.IntegrityError), self.control.transaction() as tx:
            if not tx.execute(sa.update(t).where(*same).values(**row)).rowcount:
                key = {"fleet": self.fleet, "size": size, "witness": witness}
                tx.execute(
                    sa.insert(t), [key | row]
                )  # fails where another process has just kept one

    def _lines(self, tx: sa.Connection, first: int, last: int) -> dict[int, dict[str, str]]:
        """Return the lines of witnesses of the checkpoints of some sizes."""
        w, found = ledger_cosignatures.c, defaultdict[int, dict[str, str]](dict)
        query = (
            sa.select(w.size, w.witness, w.line)
            .where(w.fleet == self.fleet, w.size >= first, w.size <= last)
            .order_by(w.size, w.witness)
        )
        for row in tx.execute(query):
            found[int(row.size)][str(row.witness)] = str(row.line)
        return found

    def _read_tile(self, level: int, number: int) -> bytes:
        c = ledger_tiles.c
        query = sa.select(c.hashes).where(
            c.fleet == self.fleet, c.level == level, c.number == number
        )
        with self.control.reading() as tx:
            return _bytes(tx.execute(query).scalar() or b"")

    def _put_tiles(self, tx: sa.Connection, tiles: Sequence[tuple[int, int, bytes]]) -> None:
        t = ledger_tiles
        new: list[dict[str, Any]] = []  # Any: a row's values
        for level, number, hashes in tiles:
            same = (t.c.fleet == self.fleet, t.c.level == level, t.c.number == number)
            if not tx.execute(sa.update(t).where(*same).values(hashes=hashes)).rowcount:
                key = {"fleet": self.fleet, "level": level, "number": number}
                new.append(key | {"hashes": hashes})
        if new:
            tx.execute(sa.insert(t), new)

    def _put_checkpoint(self, tx: sa.Connection, size: int, note: Note) -> None:
        t, values = ledger_checkpoints, {"note": note.content, "created_at": now_us()}
        same = (t.c.fleet == self.fleet, t.c.size == size)
        if not tx.execute(sa.update(t).where(*same).values(**values)).rowcount:
            tx.execute(sa.insert(t), [{"fleet": self.fleet, "size": size} | values])


def _stored(row: Any) -> StoredLeaf:  # Any: a row of the database
    digest = None if row.row_digest is None else _bytes(row.row_digest)
    leaf = Leaf(_bytes(row.entry), str(row.kind), row.window_start, row.revision, digest)
    return StoredLeaf(int(row.number), leaf)


def _bytes(value: bytes | str) -> bytes:
    """Return stored bytes, also where SQLite was made to keep them as text: a verification says what is wrong with them."""
    return value.encode() if isinstance(value, str) else bytes(value)
