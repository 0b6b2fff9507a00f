"""The one door for writes: compares with what stands, replaces exactly the windows that changed, and logs it.

A write is an intent in the control database, at most two Delta commits that name the intent, and one closing transaction
(log, coverage, intent removed). Whoever finds an open intent of a dead writer finishes it if its main commit is there, and
undoes it if not: nothing is lost and nothing counted twice, wherever a process was killed.
"""

import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pyarrow as pa

from fleet_dagster.core.windows import DAY, Span, floor_to, gaps, union
from fleet_dagster.model.errors import StorageError
from fleet_dagster.model.tables import Table, superseded
from fleet_dagster.storage import changes
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.coverage import Covered
from fleet_dagster.storage.digest import digest_of
from fleet_dagster.storage.history import EXPIRE, Entry, History
from fleet_dagster.storage.intents import Batch, Intent, Intents
from fleet_dagster.storage.lake import Lake, whole_day
from fleet_dagster.storage.leases import Leases

Checkpoint = Callable[[str], None]
STEPS = ("intended", "superseded", "written")
"""Between which steps of a write the checkpoint is called."""


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What a write did, in windows and rows."""

    table: str
    n_rows: int = 0
    appended: tuple[Span, ...] = ()
    restated: tuple[Span, ...] = ()
    rows_written: int = 0

    @property
    def wrote_nothing(self) -> bool:
        """Whether everything already stood as it was computed."""
        return not self.appended and not self.restated


@dataclass(frozen=True, slots=True)
class Write:
    """All the rows of a span of one table, and from what they were computed."""

    table: Table
    fleet: str
    span: Span
    rows: pa.Table
    """With the table's schema, ordered by window."""
    covered: Sequence[Covered]
    interval: int
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class _Difference:
    """What a write must do: windows that are new, windows that change, and the rows that stand in the latter."""

    appended: list[Span]
    changed: list[Span]
    old: pa.Table


@dataclass(frozen=True, slots=True)
class Expiry:
    """A UTC day of a table whose retention has passed, and the rows it had: those that stood, and those they had replaced."""

    table: Table
    day: Span
    n_rows: int
    n_replaced: int


class Door:
    """Writes derived rows. `checkpoint` is called between the steps of a write, for tests that kill it there."""

    def __init__(
        self,
        control: Control,
        lake: Lake,
        history: History,
        *,
        checkpoint: Checkpoint = lambda _step: None,
    ) -> None:
        self.control, self.lake, self.history = control, lake, history
        self.leases = Leases(control)
        self.intents = Intents(control, lake, history, self.leases)
        self.checkpoint = checkpoint

    @contextmanager
    def hold(self, tables: Sequence[Table], fleet: str, span: Span) -> Iterator[str]:
        """Keep other writers out of a span of some tables; yields the holder to write as.

        Inputs that are read while this is held are no older than those of any write before: a write can then not bring
        back what newer inputs have replaced.
        """
        with self.leases.hold([key for t in tables for key in lease_keys(t, fleet, span)]) as held:
            for table in tables:
                self.recover(table.name, fleet)
                self.refuse_lost_commits(table)
            yield held

    def write(self, write: Write, *, holder: str) -> WriteReport:
        """Make the stored rows of a span equal to those given; equal content writes nothing but the proof that it is current."""
        table, fleet = write.table, write.fleet
        if write.span.is_empty:
            return WriteReport(table.name)
        difference = self._difference(write)
        appended, changed = difference.appended, difference.changed
        if not appended and not changed:
            with self.control.transaction() as tx:
                self.leases.confirm(tx, holder)
                self.history.coverage.cover(tx, table.name, fleet, write.covered)
            return WriteReport(table.name, n_rows=write.rows.num_rows)
        entries = self._entries(write, appended, changed)
        self._carry_out(write, difference, entries, holder)
        written = sum(e.n_rows for e in entries)
        return WriteReport(
            table.name, write.rows.num_rows, tuple(appended), tuple(changed), written
        )

    def land(
        self, table: Table, rows: pa.Table, entries: Sequence[Entry], batch: Batch, *, holder: str
    ) -> None:
        """Append telemetry and book its landing batch; nothing is compared, since an append never touches what stands."""
        intent_id = uuid.uuid4().hex
        intent = Intent(
            intent_id,
            table.name,
            str(batch["fleet"]),
            holder,
            self.lake.version(table),
            tuple(replace(e, intent_id=intent_id) for e in entries),
            (),
            supersedes=False,
            commits=rows.num_rows > 0,
            batch=batch,
        )
        self.intents.open(intent)
        self.checkpoint("intended")
        if rows.num_rows:
            self.lake.append(table, rows, intent_id)
        self.checkpoint("written")
        self.intents.close(intent)

    def expire(self, table: Table, fleet: str, day: Span, *, holder: str) -> Expiry:
        """Remove the rows of a UTC day, those that were replaced too, and log it; consumers that had not read them are named.

        What was replaced goes first: a day that a crash leaves half removed still stands, and is removed by the next run.
        """
        n_rows = self.lake.count(table, fleet, [day])
        n_replaced = self.lake.count(superseded(table), fleet, [day])
        intent_id = uuid.uuid4().hex
        entry = Entry(table.name, fleet, day, n_rows, EXPIRE, "", 0, "", "", intent_id)
        intent = Intent(
            intent_id,
            table.name,
            fleet,
            holder,
            self.lake.version(table),
            (entry,),
            (),
            supersedes=False,
            commits=n_rows > 0,
        )
        self.intents.open(intent)
        self.checkpoint("intended")
        if n_replaced:
            self.lake.delete(superseded(table), whole_day(fleet, day.start), intent_id)
        self.checkpoint("superseded")
        if n_rows:
            self.lake.delete(table, whole_day(fleet, day.start), intent_id)
        self.checkpoint("written")
        self.intents.close(intent)
        return Expiry(table, day, n_rows, n_replaced)

    def recover(self, table: str | None = None, fleet: str | None = None) -> int:
        """Finish or undo the open intents whose writers are gone; returns how many."""
        return self.intents.recover(table, fleet)

    def refuse_lost_commits(self, table: Table) -> None:
        """Refuse to write to a table that has gone back in time: its windows would be taken for those that were logged."""
        logged, found = self.history.lake_version(table.name), self.lake.version(table)
        if found < logged:
            raise StorageError(
                f"lake table {table.name!r} at {self.lake.uri(table)} ends with version {found}, but version {logged} was "
                "logged: the end of its Delta log is missing. Restore the table's folder from a copy as new as the "
                "control database; nothing was written"
            )

    def _difference(self, write: Write) -> _Difference:
        """Compare the rows with those that stand."""
        table, fleet = write.table, write.fleet
        known = [c.span for c in self.history.coverage.covered(table.name, fleet, write.span)]
        stands = union([*known, *self._unknown(write, gaps(write.span, known))])
        changed, replaced = [], [changes.plain(table, self.lake.empty(table))]
        for part in stands:
            old = changes.plain(table, self.lake.read(table, fleet, part))
            new = changes.within(write.rows, part)
            found = changes.changed_windows(table, old, new, write.interval)
            replaced.append(changes.within_all(old, found))
            changed += found
        return _Difference(gaps(write.span, stands), union(changed), pa.concat_tables(replaced))

    def _unknown(self, write: Write, uncovered: Sequence[Span]) -> list[Span]:
        """Return the spans in which rows stand that the control database does not know, as after it was restored from a copy."""
        days = set(self.lake.days(write.table, write.fleet)) if uncovered else set()
        return [
            span
            for span in uncovered
            if any(floor_to(day.start, DAY) in days for day in span.days())
            and self.lake.read(write.table, write.fleet, span, columns=["window_start"]).num_rows
        ]

    def _entries(
        self, write: Write, appended: Sequence[Span], changed: Sequence[Span]
    ) -> list[Entry]:
        """Return the log entries: one for each contiguous range, UTC day, and version of the inputs."""
        return [
            _entry(write, kind, part, self.history.imprints.own())
            for kind, spans in (("append", appended), ("restate", changed))
            for span in spans
            for day in span.days()
            for part in _cut(day, [c.span for c in write.covered])
        ]

    def _carry_out(
        self, write: Write, difference: _Difference, entries: Sequence[Entry], holder: str
    ) -> None:
        table, intent_id = write.table, uuid.uuid4().hex
        version = self.lake.version(table)
        replaces = bool(difference.changed)
        spans = union([*difference.appended, *difference.changed])
        if replaces:
            spans = changes.few_ranges(spans)
        fresh = changes.within_all(write.rows, spans)
        intent = Intent(
            intent_id,
            table.name,
            write.fleet,
            holder,
            version,
            tuple(replace(e, intent_id=intent_id) for e in entries),
            tuple(write.covered),
            supersedes=difference.old.num_rows > 0,
            commits=replaces or fresh.num_rows > 0,
        )
        self.intents.open(intent)
        self.checkpoint("intended")
        if intent.supersedes:
            old = changes.superseded_rows(table, difference.old, intent_id=intent_id, at=now_us())
            self.lake.append(superseded(table), old, intent_id)
            self.checkpoint("superseded")
        if replaces:
            self.lake.replace(table, write.fleet, spans, fresh, intent_id)
        elif fresh.num_rows:
            self.lake.append(table, fresh, intent_id)
        self.checkpoint("written")
        self.intents.close(intent)


def _cut(span: Span, pieces: Sequence[Span]) -> list[Span]:
    """Return a span cut where its inputs change, so that an entry's inputs are those of each of its windows."""
    edges = {edge for piece in pieces for edge in (piece.start, piece.end)}
    inner = sorted(edge for edge in edges if span.start < edge < span.end)
    return [Span(*both) for both in itertools.pairwise([span.start, *inner, span.end])]


def lease_keys(table: Table, fleet: str, span: Span) -> list[str]:
    """Name the leases that a write to a span needs: one a day."""
    return [f"{table.name}/{fleet}/{floor_to(day.start, DAY) // DAY}" for day in span.days()]


def _entry(write: Write, kind: str, span: Span, imprint: str) -> Entry:
    own = changes.within(write.rows, span)
    inputs = [c for c in write.covered if c.span.overlaps(span)]
    return Entry(
        table=write.table.name,
        fleet=write.fleet,
        span=span,
        n_rows=own.num_rows,
        kind=kind,
        digest=digest_of(own.select([c.name for c in write.table.columns if c.compared])),
        landing=min((c.landing for c in inputs), default=0),
        inputs=inputs[-1].inputs if inputs else "",
        run_id=write.run_id,
        intent_id="",
        imprint=imprint,
    )
