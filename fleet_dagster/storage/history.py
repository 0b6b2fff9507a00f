"""The commit log: every write, in the order of commit."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from fleet_dagster.core.windows import DAY, Span, floor_to
from fleet_dagster.model.tables import SITE_TELEMETRY
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import BigInt, commit_log, intents, lake_versions
from fleet_dagster.storage.coverage import Coverage
from fleet_dagster.storage.cursors import Cursors
from fleet_dagster.storage.imprints import Imprints

EXPIRE = "expire"
"""Kind of the entries that tell that rows were removed, their retention being over."""
# Asked again and again: made once, for making a query takes longer than answering it.
_NEWEST_LANDING = sa.select(sa.func.max(commit_log.c.seq)).where(
    commit_log.c.fleet == sa.bindparam("of_fleet"),
    commit_log.c.table_name == SITE_TELEMETRY.name,
    commit_log.c.kind == "append",
)
_NEWEST_DIGEST = (
    sa.select(commit_log.c.digest)
    .where(
        commit_log.c.table_name == sa.bindparam("of_table"),
        commit_log.c.fleet == sa.bindparam("of_fleet"),
        commit_log.c.window_start < sa.bindparam("until"),
        commit_log.c.window_end > sa.bindparam("since"),
        commit_log.c.kind != EXPIRE,
    )
    .order_by(commit_log.c.seq.desc())
    .limit(1)
)


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
    imprint: str = ""
    """Digest of what software wrote it, see `storage.imprints`; empty where that is not known."""


class History:
    """Reads and writes the commit log in the control database."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.coverage = Coverage(control)
        self.cursors = Cursors(control)
        self.imprints = Imprints(control)

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
                "imprint": e.imprint,
            }
            for seq, e in zip(numbers, entries, strict=True)
        ]
        tx.execute(sa.insert(commit_log), rows)

    def entries(
        self,
        table: str,
        fleet: str,
        span: Span | None = None,
        *,
        after: int = 0,
        kind: str | None = None,
        since: int | None = None,
        limit: int | None = None,
    ) -> list[Entry]:
        """Return a table's entries in the order of commit: all, or those that touch a span, after a number, of one kind.

        With `since`, those that were recorded from an instant on [us].
        With a `limit`, the first so many of them.
        """
        log = commit_log.c
        query = sa.select(commit_log).where(
            log.table_name == table, log.fleet == fleet, log.seq > after
        )
        if span is not None:
            query = query.where(log.window_start < span.end, log.window_end > span.start)
        if kind is not None:
            query = query.where(log.kind == kind)
        if since is not None:
            query = query.where(log.recorded_at >= since)
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
                    r.imprint or "",
                )
                for r in tx.execute(query.order_by(commit_log.c.seq).limit(limit))
            ]

    def size(self, table: str, fleet: str, *, after: int = 0) -> tuple[int, int]:
        """Return how many entries a table has after a number, and the number of the newest; 0 where there is none."""
        query = sa.select(sa.func.count(), sa.func.max(commit_log.c.seq)).where(
            commit_log.c.table_name == table, commit_log.c.fleet == fleet, commit_log.c.seq > after
        )
        with self.control.reading() as tx:
            n, newest = tx.execute(query).one()
        return int(n), int(newest or 0)

    def first_about(self, table: str, fleet: str, instant: int) -> int | None:
        """Return the number of the first entry about windows that end after an instant [us]; None where there is none."""
        query = sa.select(sa.func.min(commit_log.c.seq)).where(
            commit_log.c.table_name == table,
            commit_log.c.fleet == fleet,
            commit_log.c.window_end > instant,
        )
        with self.control.reading() as tx:
            found = tx.execute(query).scalar()
        return None if found is None else int(found)

    def days_over(
        self, table: str, fleet: str, cutoff: int, *, within: Span | None = None
    ) -> list[int]:
        """Return the starts of the UTC days of a table that ended and were last written before a cutoff, and stand [us].

        All of them, or those within a span.
        """
        log, is_expiry = commit_log.c, commit_log.c.kind == EXPIRE
        day, never = log.window_start // DAY, sa.literal(0, BigInt)
        written = sa.func.max(sa.case((is_expiry, never), else_=log.seq))
        removed = sa.func.max(sa.case((is_expiry, log.seq), else_=never))
        recorded = sa.func.max(sa.case((is_expiry, never), else_=log.recorded_at))
        query = (
            sa.select(day.label("day"))
            .where(log.table_name == table, log.fleet == fleet, log.window_end <= cutoff)
            .group_by(day)
            .having(written > removed, recorded < cutoff)
            .order_by(day)
        )
        if within is not None:
            query = query.where(log.window_start >= within.start, log.window_start < within.end)
        whole = floor_to(cutoff, DAY)
        with self.control.reading() as tx:
            days = [int(row.day) * DAY for row in tx.execute(query)]
        return [d for d in days if d < whole]

    def landing_version(self, fleet: str) -> int:
        """Return the number of the fleet's newest landing; what was read until now is at least that new."""
        with self.control.reading() as tx:
            return int(tx.execute(_NEWEST_LANDING, {"of_fleet": fleet}).scalar() or 0)

    def last_number(self) -> int:
        """Return the number of the newest entry of all; 0 before the first."""
        with self.control.reading() as tx:
            return int(tx.execute(sa.select(sa.func.max(commit_log.c.seq))).scalar() or 0)

    def newest_numbers(self, fleet: str, tables: Sequence[str]) -> dict[str, int]:
        """Return the number of the newest entry of each table of a fleet; 0 where there is none."""
        log = commit_log.c
        newest = [
            sa.select(sa.func.max(log.seq))
            .where(log.fleet == fleet, log.table_name == table)
            .scalar_subquery()
            for table in tables
        ]
        with self.control.reading() as tx:
            row = tx.execute(sa.select(*newest)).one()
        return {table: int(number or 0) for table, number in zip(tables, row, strict=True)}

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

    def newest_digest(self, table: str, fleet: str, span: Span) -> str:
        """Return the digest of the newest entry that touches a span; empty where there is none."""
        asked = {"of_table": table, "of_fleet": fleet, "since": span.start, "until": span.end}
        with self.control.reading() as tx:
            return str(tx.execute(_NEWEST_DIGEST, asked).scalar() or "")
