"""Deliveries: what a consumer is handed of a stream, piece by piece, in the order of commit."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleet_dagster.core.windows import SECOND, Span, gaps, union
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.streams import Stream
from fleet_dagster.model.tables import superseded
from fleet_dagster.storage import changes
from fleet_dagster.storage.history import EXPIRE, Entry
from fleet_dagster.storage.store import Store

PIECE_ROWS = 100_000
"""Rows handed over at once, about: entries that hold more come in several pieces."""
PAGE = 1_000
"""Entries looked up at once."""
Kind = Literal["append", "restate", "expire", "missed"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some windows of one entry."""

    entry: Entry
    kind: Kind
    """`missed` instead of append or restate where the rows have expired since."""
    span: Span
    ends_entry: bool

    @property
    def has_rows(self) -> bool:
        """Whether rows come with it."""
        return self.kind in ("append", "restate")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A piece of a stream, with its rows in order of the table's key; without any where they were removed."""

    stream: Stream
    piece: Piece
    rows: pa.Table

    @property
    def seq(self) -> int:
        """Number of the entry in the commit log."""
        return self.piece.entry.seq

    @property
    def kind(self) -> Kind:
        """What happened to the windows."""
        return self.piece.kind

    @property
    def span(self) -> Span:
        """Windows that it is about."""
        return self.piece.span


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one fleet's stream, with the rows as they stand, or as each entry wrote them."""

    store: Store
    config: FleetConfig
    stream: Stream
    as_committed: bool = False

    def after(self, position: int, *, part_seq: int = 0, part_until: int = 0) -> Iterator[Delivery]:
        """Yield what was committed after a position; of entry `part_seq`, the windows from `part_until` on."""
        history, table, fleet = self.store.history, self.stream.table.name, self.config.name
        expired: list[Entry] = []
        looked_until = position
        while entries := history.entries(table, fleet, after=position, limit=PAGE):
            newest = history.last_number()
            expired += history.entries(table, fleet, after=looked_until, kind=EXPIRE)
            looked_until = max([newest, *(e.seq for e in expired[-1:])])
            pieces = [
                piece
                for e in entries
                for piece in self._pieces(e, expired, part_until if e.seq == part_seq else 0)
            ]
            for group in _read_together(pieces):
                yield from self._delivered(group)
            position = entries[-1].seq

    def _pieces(self, entry: Entry, expired: Sequence[Entry], since: int) -> list[Piece]:
        if entry.kind == EXPIRE:
            return [Piece(entry, "expire", entry.span, ends_entry=True)]
        whole = Span(max(since, entry.span.start), entry.span.end)
        later = [e.span for e in expired if e.seq > entry.seq and e.span.overlaps(whole)]
        gone = union([span.clip(whole) for span in later])
        kind: Kind = "restate" if entry.kind == "restate" else "append"
        stands = gaps(whole, gone)
        found: list[tuple[Kind, Span]] = [("missed", span) for span in gone]
        found += [(kind, part) for span in stands for part in self._cut(span, entry)]
        return [
            Piece(entry, what, span, ends_entry=n == len(found))
            for n, (what, span) in enumerate(sorted(found, key=itemgetter(1)), start=1)
        ]

    def _cut(self, span: Span, entry: Entry) -> Iterator[Span]:
        """Cut a span into pieces of whole windows with about as many rows as are handed over at once."""
        n_pieces = -(-entry.n_rows // PIECE_ROWS)
        if n_pieces <= 1:
            return iter((span,))
        window = self.config.interval_s * SECOND
        n_windows = (entry.span.end - entry.span.start) // window
        return span.steps(max(1, n_windows // n_pieces) * window)

    def _delivered(self, group: Sequence[Piece]) -> Iterator[Delivery]:
        nothing = self.store.lake.empty(self.stream.table)
        if not group[0].has_rows:
            yield from (Delivery(self.stream, piece, nothing) for piece in group)
            return
        rows = self._rows(Span(group[0].span.start, group[-1].span.end), group[0].entry)
        starts = rows.column("window_start").cast(pa.int64()).to_numpy()
        edges = np.searchsorted(starts, [p.span.start for p in group] + [group[-1].span.end])
        for piece, (first, end) in zip(group, itertools.pairwise(edges.tolist()), strict=True):
            if first == end and piece.entry.n_rows and self._is_gone(piece.entry):
                gone = Piece(piece.entry, "missed", piece.span, piece.ends_entry)
                yield Delivery(self.stream, gone, nothing)
            else:
                yield Delivery(self.stream, piece, rows.slice(first, end - first))

    def _is_gone(self, entry: Entry) -> bool:
        """Tell whether an entry's rows are being removed, or were since the log was read."""
        table, fleet = self.stream.table.name, self.config.name
        going = self.store.door.intents.expiring(table, fleet)
        gone = self.store.history.entries(table, fleet, entry.span, after=entry.seq, kind=EXPIRE)
        return any(s.overlaps(entry.span) for s in going) or bool(gone)

    def _rows(self, span: Span, entry: Entry) -> pa.Table:
        table = self.stream.table
        rows = changes.plain(table, self.store.lake.read(table, self.config.name, span))
        if self.as_committed:
            rows = self._before_restatements(rows, span, entry)
        return changes.by_key(table, rows)

    def _before_restatements(self, rows: pa.Table, span: Span, entry: Entry) -> pa.Table:
        """Put the rows that later entries replaced back in place of those that stand."""
        table, fleet = self.stream.table, self.config.name
        # In this order: a restatement that is logged meanwhile is in both, one that is not in either came after the rows.
        going = self.store.door.intents.restating(table.name, fleet, span)
        later = self.store.history.entries(table.name, fleet, span, after=entry.seq, kind="restate")
        if not later and not going:
            return rows
        replaced = superseded(table)
        earlier = changes.plain(replaced, self.store.lake.read(replaced, fleet, span))
        parts, left = [], [span]
        for restated in [*later, *going]:
            is_own = pc.equal(earlier.column("intent_id"), restated.intent_id)
            own = earlier.filter(is_own).select(rows.column_names)
            if restated in going and not own.num_rows:  # nothing is replaced yet
                continue
            parts += [changes.within(own, s.clip(restated.span)) for s in left]
            left = [rest for s in left for rest in gaps(s, [restated.span])]
        return pa.concat_tables([*parts, *(changes.within(rows, s) for s in left)])


def _read_together(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Group neighbours in time that may be read at once: the windows of a live fleet come one by one."""
    group: list[Piece] = []
    n_rows = 0
    for piece in pieces:
        goes_on = (
            group
            and piece.kind == group[-1].kind == "append"
            and piece.span.start == group[-1].span.end
            and n_rows + piece.entry.n_rows <= PIECE_ROWS
        )
        if group and not goes_on:
            yield group
            group, n_rows = [], 0
        group.append(piece)
        n_rows += piece.entry.n_rows
    if group:
        yield group
