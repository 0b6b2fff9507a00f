"""Which windows stand in the lake, from which inputs, and up to where they are settled."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from fleet_dagster.core.windows import DAY, Span, gaps, union
from fleet_dagster.model.tables import SITE_TELEMETRY
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import commit_log, coverage, watermarks

PATIENCE = 7 * DAY
"""Age from which a gap no longer holds up the settled watermark: the schedule does not reach back further."""
SCATTERED = 64
"""Records of coverage in one span from which on it pays to make them one."""
# Asked again and again: made once, for making a query takes longer than answering it.
_COVERED = (
    sa.select(coverage)
    .where(
        coverage.c.table_name == sa.bindparam("of_table"),
        coverage.c.fleet == sa.bindparam("of_fleet"),
        coverage.c.window_start < sa.bindparam("until"),
        coverage.c.window_end > sa.bindparam("since"),
    )
    .order_by(coverage.c.window_start)
)
_LANDED = sa.select(commit_log.c.seq, commit_log.c.window_start, commit_log.c.window_end).where(
    commit_log.c.fleet == sa.bindparam("of_fleet"),
    commit_log.c.table_name == SITE_TELEMETRY.name,
    commit_log.c.kind == "append",
    commit_log.c.seq > sa.bindparam("after"),
    commit_log.c.window_start < sa.bindparam("until"),
    commit_log.c.window_end > sa.bindparam("since"),
)
_LANDED_IN_TIME = _LANDED.where(commit_log.c.landing < sa.bindparam("received_before"))


@dataclass(frozen=True, slots=True)
class Covered:
    """Windows that stand in the lake, computed from telemetry up to `landing` and from settings `inputs`."""

    span: Span
    landing: int
    inputs: str


@dataclass(frozen=True, slots=True)
class Reads:
    """Which telemetry a window reads: from `since` before its start to `until` before its end, in microseconds."""

    since: int = 0
    until: int = 0
    received_before: int | None = None
    nothing: bool = False


class Coverage:
    """Reads and writes the records of coverage and the settled watermarks in the control database."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def covered(self, table: str, fleet: str, span: Span) -> list[Covered]:
        """Return the windows of a span that stand in the lake, in order of time, cut to the span."""
        with self.control.reading() as tx:
            return self._covered(tx, table, fleet, span)

    def newest_end(self, table: str, fleet: str) -> int | None:
        """Return the end of the newest window that stands, in microseconds; None before the first."""
        query = sa.select(sa.func.max(coverage.c.window_end)).where(
            coverage.c.table_name == table, coverage.c.fleet == fleet
        )
        with self.control.reading() as tx:
            found = tx.execute(query).scalar()
        return None if found is None else int(found)

    def extent(self, table: str, fleet: str) -> Span | None:
        """Return the span from the first to the last window that stands; None before the first."""
        edges = sa.func.min(coverage.c.window_start), sa.func.max(coverage.c.window_end)
        query = sa.select(*edges).where(coverage.c.table_name == table, coverage.c.fleet == fleet)
        with self.control.reading() as tx:
            start, end = tx.execute(query).one()
        return None if start is None else Span(int(start), int(end))

    def cover(self, tx: sa.Connection, table: str, fleet: str, pieces: Iterable[Covered]) -> None:
        """Record from which inputs windows were computed last; neighbours from the same inputs become one row."""
        self.control.serialize(tx, "commit_log")
        for piece in pieces:
            self._cover_one(tx, table, fleet, piece)

    def uncover(self, tx: sa.Connection, table: str, fleet: str, span: Span) -> None:
        """Record that windows no longer stand."""
        self.control.serialize(tx, "commit_log")
        self._trim(tx, table, fleet, span)

    def stale(
        self, table: str, fleet: str, pieces: Sequence[Covered], *, reads: Reads
    ) -> list[Span]:
        """Return the parts of the pieces that must be computed: missing, from other inputs, or touched by newer telemetry.

        `pieces` say which inputs are right today; their `landing` is not looked at.
        """
        if not pieces:
            return []
        hull = Span(pieces[0].span.start, pieces[-1].span.end)
        known = self.covered(table, fleet, hull)
        landed = self._landed(fleet, hull, reads, after=min((c.landing for c in known), default=0))
        found: list[Span] = []
        for piece in pieces:
            fresh = [
                part
                for c in known
                if c.inputs == piece.inputs and c.span.overlaps(piece.span)
                for part in _untouched(c.span.clip(piece.span), c.landing, landed)
            ]
            found += gaps(piece.span, fresh)
        return union(found)

    def confirm(self, table: str, fleet: str, spans: Sequence[Span], landing: int) -> None:
        """Record that windows proven current are so as of a newer landing, so that their records can become one.

        Whoever proved it read `landing` before looking; what was written since keeps its own, newer, landing.
        """
        for span in spans:
            with self.control.transaction() as tx:
                self.control.serialize(tx, "commit_log")
                known = self._covered(tx, table, fleet, span)
                if len(known) > SCATTERED:
                    raised = [Covered(c.span, max(c.landing, landing), c.inputs) for c in known]
                    self.cover(tx, table, fleet, _joined(raised))

    def settle(self, fleet: str, tables: Sequence[str], through: int) -> None:
        """Move the settled watermark of each table over the windows that stand in the lake, up to `through`."""
        for table in tables:
            with self.control.reading() as tx:
                current, target = self._settled(tx, fleet, table, through)
            if target != current:
                with self.control.transaction() as tx:
                    self._settle_one(tx, fleet, table, through)

    def settled_through(self, fleet: str, table: str) -> int | None:
        """Return the end of the last settled window; None before the first, in microseconds."""
        query = sa.select(watermarks.c.settled_through).where(
            watermarks.c.fleet == fleet, watermarks.c.table_name == table
        )
        with self.control.reading() as tx:
            found = tx.execute(query).scalar()
        return None if found is None else int(found)

    @staticmethod
    def _covered(tx: sa.Connection, table: str, fleet: str, span: Span) -> list[Covered]:
        asked = {"of_table": table, "of_fleet": fleet, "since": span.start, "until": span.end}
        return [
            Covered(Span(r.window_start, r.window_end).clip(span), r.landing, r.inputs)
            for r in tx.execute(_COVERED, asked)
        ]

    def _landed(
        self, fleet: str, span: Span, reads: Reads, *, after: int
    ) -> list[tuple[int, Span]]:
        """Return the landings after a number that windows of the span may read: number, and the time they reach."""
        if reads.nothing:
            return []
        asked = {
            "of_fleet": fleet,
            "after": after,
            "since": span.start - reads.since,
            "until": span.end - reads.until,
        }
        query = _LANDED
        if reads.received_before is not None:
            query, asked["received_before"] = _LANDED_IN_TIME, reads.received_before
        with self.control.reading() as tx:
            return [
                (r.seq, Span(r.window_start + reads.until, r.window_end + reads.since))
                for r in tx.execute(query, asked)
            ]

    def _cover_one(self, tx: sa.Connection, table: str, fleet: str, piece: Covered) -> None:
        self._trim(tx, table, fleet, piece.span)
        here = (coverage.c.table_name == table, coverage.c.fleet == fleet)
        same = (coverage.c.landing == piece.landing, coverage.c.inputs == piece.inputs)
        start, end = piece.span.start, piece.span.end
        before = tx.execute(
            sa.select(coverage.c.window_start).where(*here, *same, coverage.c.window_end == start)
        ).scalar()
        after = tx.execute(
            sa.select(coverage.c.window_end).where(*here, *same, coverage.c.window_start == end)
        ).scalar()
        if before is not None:
            tx.execute(sa.delete(coverage).where(*here, coverage.c.window_start == before))
        if after is not None:
            tx.execute(sa.delete(coverage).where(*here, coverage.c.window_start == end))
        row = {
            "table_name": table,
            "fleet": fleet,
            "window_start": start if before is None else before,
            "window_end": end if after is None else after,
            "landing": piece.landing,
            "inputs": piece.inputs,
        }
        tx.execute(sa.insert(coverage), [row])

    @staticmethod
    def _trim(tx: sa.Connection, table: str, fleet: str, span: Span) -> None:
        """Cut a span out of the recorded coverage."""
        here = (coverage.c.table_name == table, coverage.c.fleet == fleet)
        touching = (coverage.c.window_start < span.end, coverage.c.window_end > span.start)
        rows = tx.execute(sa.select(coverage).where(*here, *touching)).mappings().all()
        if not rows:
            return
        tx.execute(sa.delete(coverage).where(*here, *touching))
        rest = [
            {**row, "window_start": part.start, "window_end": part.end}
            for row in rows
            for part in gaps(Span(row["window_start"], row["window_end"]), [span])
        ]
        if rest:
            tx.execute(sa.insert(coverage), rest)

    @staticmethod
    def _settled(
        tx: sa.Connection, fleet: str, table: str, through: int
    ) -> tuple[int | None, int | None]:
        """Return where the watermark is and where it may go."""
        mark = sa.select(watermarks.c.settled_through).where(
            watermarks.c.fleet == fleet, watermarks.c.table_name == table
        )
        current = tx.execute(mark).scalar()
        here = (coverage.c.table_name == table, coverage.c.fleet == fleet)
        ahead = here if current is None else (*here, coverage.c.window_end > current)
        query = sa.select(coverage.c.window_start, coverage.c.window_end).where(*ahead)
        spans = union([Span(*row) for row in tx.execute(query)])
        if current is None and not spans:
            return None, None
        start = spans[0].start if current is None else int(current)
        return current, max(start, min(_reached(spans, start, through), through))

    def _settle_one(self, tx: sa.Connection, fleet: str, table: str, through: int) -> None:
        self.control.serialize(tx, "commit_log")
        current, target = self._settled(tx, fleet, table, through)
        row = {"fleet": fleet, "table_name": table, "settled_through": target}
        if current is None:
            tx.execute(sa.insert(watermarks), [row])
        else:
            here = (watermarks.c.fleet == fleet, watermarks.c.table_name == table)
            tx.execute(sa.update(watermarks).where(*here).values(settled_through=target))


def _reached(spans: Sequence[Span], start: int, through: int) -> int:
    """Return how far windows stand without a gap, old gaps aside: nobody fills those unasked."""
    reached = start
    for span in spans:
        if span.start > max(reached, through - PATIENCE):
            break
        reached = max(reached, span.end)
    return reached


def _untouched(span: Span, landing: int, landed: Sequence[tuple[int, Span]]) -> list[Span]:
    """Return the parts of a span, computed as of a landing, that no later landing reaches."""
    return gaps(span, [reach for seq, reach in landed if seq > landing and reach.overlaps(span)])


def _joined(pieces: Sequence[Covered]) -> list[Covered]:
    """Join neighbours computed from the same inputs; `pieces` are in order of time."""
    joined: list[Covered] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if last and (last.span.end, last.landing, last.inputs) == (
            piece.span.start,
            piece.landing,
            piece.inputs,
        ):
            joined[-1] = Covered(Span(last.span.start, piece.span.end), piece.landing, piece.inputs)
        else:
            joined.append(piece)
    return joined
