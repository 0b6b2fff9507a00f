"""The commit log and what follows from it: coverage, revisions, the settled watermark."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from fleet_dagster.core.windows import Span, gaps, union
from fleet_dagster.model.tables import SITE_TELEMETRY
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import (
    commit_log,
    coverage,
    intents,
    lake_versions,
    watermarks,
)

SCATTERED = 64
"""Records of coverage in one span from which on it pays to make them one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the commit log: a contiguous range of windows was appended, restated or expired."""

    table: str
    fleet: str
    span: Span
    n_rows: int
    kind: str
    digest: str
    landing: int
    inputs: str
    run_id: str
    intent_id: str
    seq: int = 0
    recorded_at: int = 0


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


class History:
    """Reads and writes the commit log in the control database."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def record(self, tx: sa.Connection, entries: Sequence[Entry]) -> None:
        """Append entries, numbered in the order in which they are committed."""
        if not entries:
            return
        numbers = self.control.next_numbers(tx, "commit_log", len(entries))
        now = now_us()
        rows = [
            {
                "seq": seq,
                "table_name": e.table,
                "fleet": e.fleet,
                "window_start": e.span.start,
                "window_end": e.span.end,
                "n_rows": e.n_rows,
                "kind": e.kind,
                "digest": e.digest,
                "landing": e.landing,
                "inputs": e.inputs,
                "run_id": e.run_id,
                "intent_id": e.intent_id,
                "recorded_at": now,
            }
            for seq, e in zip(numbers, entries, strict=True)
        ]
        tx.execute(sa.insert(commit_log), rows)

    def entries(
        self, table: str, fleet: str, span: Span | None = None, *, after: int = 0
    ) -> list[Entry]:
        """Return a table's entries in the order of commit: all, or those that touch a span, after a number."""
        query = sa.select(commit_log).where(
            commit_log.c.table_name == table, commit_log.c.fleet == fleet, commit_log.c.seq > after
        )
        if span is not None:
            query = query.where(
                commit_log.c.window_start < span.end, commit_log.c.window_end > span.start
            )
        with self.control.reading() as tx:
            return [
                Entry(
                    r.table_name,
                    r.fleet,
                    Span(r.window_start, r.window_end),
                    r.n_rows,
                    r.kind,
                    r.digest,
                    r.landing,
                    r.inputs,
                    r.run_id,
                    r.intent_id,
                    r.seq,
                    r.recorded_at,
                )
                for r in tx.execute(query.order_by(commit_log.c.seq))
            ]

    def landing_version(self, fleet: str) -> int:
        """Return the number of the fleet's newest landing; what was read until now is at least that new."""
        query = sa.select(sa.func.max(commit_log.c.seq)).where(
            commit_log.c.fleet == fleet,
            commit_log.c.table_name == SITE_TELEMETRY.name,
            commit_log.c.kind == "append",
        )
        with self.control.reading() as tx:
            return int(tx.execute(query).scalar() or 0)

    def last_number(self) -> int:
        """Return the number of the newest entry of all; 0 before the first."""
        with self.control.reading() as tx:
            return int(tx.execute(sa.select(sa.func.max(commit_log.c.seq))).scalar() or 0)

    def is_logged(self, table: str) -> bool:
        """Tell whether rows of a table were ever written."""
        query = sa.select(commit_log.c.seq).where(
            commit_log.c.table_name == table, commit_log.c.n_rows > 0
        )
        with self.control.reading() as tx:
            return tx.execute(query.limit(1)).first() is not None

    def lake_version(self, table: str) -> int:
        """Return the lake version that holds a table's last logged write; 0 before the first."""
        query = sa.select(lake_versions.c.version).where(lake_versions.c.table_name == table)
        with self.control.reading() as tx:
            return int(tx.execute(query).scalar() or 0)

    def note_lake_version(self, tx: sa.Connection, table: str, version: int) -> None:
        """Remember the lake version that holds a table's last logged write."""
        here = lake_versions.c.table_name == table
        newer = sa.case((lake_versions.c.version < version, version), else_=lake_versions.c.version)
        self.control.serialize(tx, "commit_log")
        if not tx.execute(sa.update(lake_versions).where(here).values(version=newer)).rowcount:
            tx.execute(sa.insert(lake_versions), [{"table_name": table, "version": version}])

    def knows_writes(self) -> bool:
        """Tell whether anything was ever written, or is about to be."""
        with self.control.reading() as tx:
            if tx.execute(sa.select(intents.c.intent_id).limit(1)).first() is not None:
                return True
        return self.last_number() > 0

    def newest_landed(self, fleet: str) -> int | None:
        """Return the end of the newest landed telemetry; None before the first, in microseconds."""
        query = sa.select(sa.func.max(commit_log.c.window_end)).where(
            commit_log.c.fleet == fleet,
            commit_log.c.table_name == SITE_TELEMETRY.name,
            commit_log.c.kind == "append",
        )
        with self.control.reading() as tx:
            found = tx.execute(query).scalar()
        return None if found is None else int(found)

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

    def cover(self, tx: sa.Connection, table: str, fleet: str, pieces: Iterable[Covered]) -> None:
        """Record from which inputs windows were computed last; neighbours from the same inputs become one row."""
        self.control.serialize(tx, "commit_log")
        for piece in pieces:
            self._cover_one(tx, table, fleet, piece)

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

    def newest_digest(self, table: str, fleet: str, span: Span) -> str:
        """Return the digest of the newest entry that touches a span; empty where there is none."""
        query = (
            sa.select(commit_log.c.digest)
            .where(
                commit_log.c.table_name == table,
                commit_log.c.fleet == fleet,
                commit_log.c.window_start < span.end,
                commit_log.c.window_end > span.start,
            )
            .order_by(commit_log.c.seq.desc())
            .limit(1)
        )
        with self.control.reading() as tx:
            return str(tx.execute(query).scalar() or "")

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
        query = sa.select(coverage).where(
            coverage.c.table_name == table,
            coverage.c.fleet == fleet,
            coverage.c.window_start < span.end,
            coverage.c.window_end > span.start,
        )
        return [
            Covered(Span(r.window_start, r.window_end).clip(span), r.landing, r.inputs)
            for r in tx.execute(query.order_by(coverage.c.window_start))
        ]

    def _landed(
        self, fleet: str, span: Span, reads: Reads, *, after: int
    ) -> list[tuple[int, Span]]:
        """Return the landings after a number that windows of the span may read: number, and the time they reach."""
        if reads.nothing:
            return []
        log = commit_log.c
        query = sa.select(log.seq, log.window_start, log.window_end).where(
            log.fleet == fleet,
            log.table_name == SITE_TELEMETRY.name,
            log.kind == "append",
            log.seq > after,
            log.window_start < span.end - reads.until,
            log.window_end > span.start - reads.since,
        )
        if reads.received_before is not None:
            query = query.where(log.landing < reads.received_before)
        with self.control.reading() as tx:
            return [
                (r.seq, Span(r.window_start + reads.until, r.window_end + reads.since))
                for r in tx.execute(query)
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
        reached = next((s.end for s in spans if s.start <= start < s.end), start)
        return current, max(start, min(reached, through))

    def _settle_one(self, tx: sa.Connection, fleet: str, table: str, through: int) -> None:
        self.control.serialize(tx, "commit_log")
        current, target = self._settled(tx, fleet, table, through)
        row = {"fleet": fleet, "table_name": table, "settled_through": target}
        if current is None:
            tx.execute(sa.insert(watermarks), [row])
        else:
            here = (watermarks.c.fleet == fleet, watermarks.c.table_name == table)
            tx.execute(sa.update(watermarks).where(*here).values(settled_through=target))


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
