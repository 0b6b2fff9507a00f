"""Cursors: how far each consumer of a stream has come, and what expired before it had read it."""

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from fleet_dagster.core.windows import Span
from fleet_dagster.model.errors import StreamError
from fleet_dagster.model.tables import Table
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import commit_log, cursors, missed


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far one consumer has come; instants in microseconds."""

    fleet: str
    stream: str
    consumer: str
    position: int
    """Number of the last entry that was wholly consumed; 0 before the first."""
    part_seq: int
    """Number of the entry that was consumed in part; 0 if none."""
    part_until: int
    """Of that entry, the windows that start before this instant were consumed."""
    created_at: int
    moved_at: int


@dataclass(frozen=True, slots=True)
class Missed:
    """A day of a stream that expired before a consumer had read all of it."""

    fleet: str
    stream: str
    consumer: str
    span: Span
    n_entries: int
    """Entries of the day that it had not read."""
    recorded_at: int


class Cursors:
    """Reads and moves cursors in the control database. A consumer is registered from its first read on."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def register(self, fleet: str, stream: str, consumer: str, *, position: int = 0) -> Cursor:
        """Return a consumer's cursor, made at a position if it is new."""
        found = self.find(fleet, stream, consumer)
        if found is None:
            now = now_us()
            found = Cursor(fleet, stream, consumer, position, 0, 0, now, now)
            row = {name: getattr(found, name) for name in (c.name for c in cursors.c)}
            with self.control.transaction() as tx:
                tx.execute(sa.insert(cursors), [row])
        return found

    def find(self, fleet: str, stream: str, consumer: str) -> Cursor | None:
        """Return a consumer's cursor; None where it is not registered."""
        return next((c for c in self.of(fleet, stream) if c.consumer == consumer), None)

    def of(self, fleet: str, stream: str | None = None) -> list[Cursor]:
        """Return the cursors of a fleet's streams, or of one of them."""
        query = sa.select(cursors).where(cursors.c.fleet == fleet)
        if stream is not None:
            query = query.where(cursors.c.stream == stream)
        with self.control.reading() as tx:
            rows = tx.execute(query.order_by(cursors.c.stream, cursors.c.consumer))
            return [Cursor(**row) for row in rows.mappings()]

    def move(
        self,
        cursor: Cursor,
        position: int,
        *,
        part_seq: int = 0,
        part_until: int = 0,
        confirm: Callable[[sa.Connection], None] = lambda _tx: None,
    ) -> Cursor:
        """Move a cursor, forward or back; returns it as it is then. `confirm` may stop its transaction."""
        values = {
            "position": position,
            "part_seq": part_seq,
            "part_until": part_until,
            "moved_at": now_us(),
        }
        with self.control.transaction() as tx:
            confirm(tx)
            moved = tx.execute(sa.update(cursors).where(*_is(cursor)).values(**values))
            if not moved.rowcount:  # within, so that what `confirm` wrote is not left behind
                raise StreamError(
                    cursor.stream,
                    f"consumer {cursor.consumer!r} was removed while it was reading",
                    "Start it again: it begins anew",
                )
        return Cursor(
            cursor.fleet, cursor.stream, cursor.consumer, **values, created_at=cursor.created_at
        )

    def forget(self, cursor: Cursor) -> None:
        """Remove a consumer that will not come back, with the record of what it missed."""
        same = [getattr(missed.c, n) == getattr(cursor, n) for n in ("fleet", "stream", "consumer")]
        with self.control.transaction() as tx:
            tx.execute(sa.delete(cursors).where(*_is(cursor)))
            tx.execute(sa.delete(missed).where(*same))

    def lagging(self, table: Table, fleet: str, day: Span) -> list[Missed]:
        """Return which consumers of a table's stream have not read all entries of a day."""
        with self.control.reading() as tx:
            return self._lagging(tx, table, fleet, day)

    def record_missed(self, tx: sa.Connection, table: Table, fleet: str, day: Span) -> None:
        """Record the same of a day that expires."""
        of_day = (
            missed.c.fleet == fleet,
            missed.c.stream == table.stream,
            missed.c.window_start == day.start,
        )
        tx.execute(sa.delete(missed).where(*of_day))
        rows = [
            {
                "fleet": fleet,
                "stream": one.stream,
                "consumer": one.consumer,
                "window_start": day.start,
                "window_end": day.end,
                "n_entries": one.n_entries,
                "recorded_at": one.recorded_at,
            }
            for one in self._lagging(tx, table, fleet, day)
        ]
        if rows:
            tx.execute(sa.insert(missed), rows)

    @staticmethod
    def _lagging(tx: sa.Connection, table: Table, fleet: str, day: Span) -> list[Missed]:
        if table.stream is None:
            return []
        log = commit_log.c
        n_left = (
            sa.select(sa.func.count())
            .where(
                log.fleet == fleet,
                log.table_name == table.name,
                log.window_start >= day.start,
                log.window_start < day.end,
                log.kind.in_(("append", "restate")),
                log.seq > cursors.c.position,
            )
            .correlate(cursors)
            .scalar_subquery()
        )
        query = sa.select(cursors.c.consumer, n_left.label("n_left")).where(
            cursors.c.fleet == fleet, cursors.c.stream == table.stream
        )
        return [
            Missed(fleet, table.stream, row.consumer, day, int(row.n_left), now_us())
            for row in tx.execute(query.order_by(cursors.c.consumer))
            if row.n_left
        ]

    def missed(self, fleet: str, stream: str | None = None) -> list[Missed]:
        """Return what consumers of a fleet's streams, or of one of them, have missed."""
        query = sa.select(missed).where(missed.c.fleet == fleet)
        if stream is not None:
            query = query.where(missed.c.stream == stream)
        with self.control.reading() as tx:
            return [
                Missed(
                    r.fleet,
                    r.stream,
                    r.consumer,
                    Span(r.window_start, r.window_end),
                    r.n_entries,
                    r.recorded_at,
                )
                for r in tx.execute(
                    query.order_by(missed.c.stream, missed.c.consumer, missed.c.window_start)
                )
            ]


def _is(cursor: Cursor) -> list[sa.ColumnElement[bool]]:
    return [getattr(cursors.c, n) == getattr(cursor, n) for n in ("fleet", "stream", "consumer")]
