"""The one door for writes: compares with what stands, replaces exactly the windows that changed, and logs it.

A write is an intent in the control database, at most two Delta commits that name the intent, and one closing transaction
(log, coverage, intent removed). Whoever finds an open intent of a dead writer finishes it if its main commit is there, and
undoes it if not: nothing is lost and nothing counted twice, wherever a process was killed.
"""

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from numpy.typing import NDArray

from fleet_dagster.core.windows import DAY, Span, floor_to, gaps, union
from fleet_dagster.model.tables import TABLES, Table, superseded
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import intents, landing_batches
from fleet_dagster.storage.digest import digest_of
from fleet_dagster.storage.history import Covered, Entry, History
from fleet_dagster.storage.lake import Lake
from fleet_dagster.storage.leases import Leases

Checkpoint = Callable[[str], None]


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
class _Intent:
    """A write about to happen, as it is kept in the control database."""

    intent_id: str
    table: str
    fleet: str
    holder: str
    lake_version: int
    entries: tuple[Entry, ...]
    covered: tuple[Covered, ...]
    supersedes: bool
    batch: dict[str, str | int | bool] | None = None


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
        self.checkpoint = checkpoint

    def write(
        self,
        table: Table,
        fleet: str,
        span: Span,
        rows: pa.Table,
        *,
        covered: Sequence[Covered],
        interval: int,
        run_id: str,
    ) -> WriteReport:
        """Make the stored rows of a span equal to `rows`.

        `rows` have the table's schema, are ordered by window, and are all there is for the span; `covered` says from which
        inputs they were computed. Equal content writes nothing but the proof that it is current.
        """
        if span.is_empty:
            return WriteReport(table.name)
        with self.leases.hold(lease_keys(table, fleet, span)) as holder:
            self.recover(table.name, fleet)
            stands = union([c.span for c in self.history.covered(table.name, fleet, span)])
            changed = self._changed(table, fleet, rows, stands, interval)
            appended = gaps(span, stands)
            if not appended and not changed:
                with self.control.transaction() as tx:
                    self.history.cover(tx, table.name, fleet, covered)
                return WriteReport(table.name, n_rows=rows.num_rows)
            entries = [
                self._entry(table, fleet, kind, piece, rows, covered=covered, run_id=run_id)
                for kind, spans in (("append", appended), ("restate", changed))
                for piece in _by_day(spans)
            ]
            intent = _Intent(
                uuid.uuid4().hex,
                table.name,
                fleet,
                holder,
                self.lake.version(table),
                tuple(entries),
                tuple(covered),
                bool(changed),
            )
            self._carry_out(table, intent, rows, appended, changed)
            written = sum(e.n_rows for e in entries)
            return WriteReport(table.name, rows.num_rows, tuple(appended), tuple(changed), written)

    def land(
        self,
        table: Table,
        rows: pa.Table,
        entries: Sequence[Entry],
        batch: dict[str, str | int | bool],
    ) -> None:
        """Append telemetry and book its landing batch; nothing is compared, since an append never touches what stands."""
        fleet, intent_id = entries[0].fleet, uuid.uuid4().hex
        with self.leases.hold([f"landing/{intent_id}"]) as holder:
            logged = tuple(replace(e, intent_id=intent_id) for e in entries)
            intent = _Intent(
                intent_id,
                table.name,
                fleet,
                holder,
                self.lake.version(table),
                logged,
                (),
                supersedes=False,
                batch=batch,
            )
            self._open(intent)
            self.checkpoint("intended")
            self.lake.append(table, rows, intent_id)
            self.checkpoint("written")
            self._close(intent)

    def recover(self, table: str | None = None, fleet: str | None = None) -> int:
        """Finish or undo the open intents whose writers are gone; returns how many."""
        query = sa.select(intents)
        if table is not None:
            query = query.where(intents.c.table_name == table, intents.c.fleet == fleet)
        with self.control.reading() as tx:
            rows = tx.execute(query).all()
        abandoned = [row for row in rows if not self.leases.is_alive(row.holder)]
        return sum(self._recover_one(row.intent_id) for row in abandoned)

    def _recover_one(self, intent_id: str) -> bool:
        """Reconcile one intent, unless somebody else did while we waited for it."""
        with self.leases.hold([f"intent/{intent_id}"]):
            with self.control.reading() as tx:
                row = tx.execute(sa.select(intents).where(intents.c.intent_id == intent_id)).first()
            if row is not None:
                self._reconcile(_load(row.payload))
        return row is not None

    def _changed(
        self, table: Table, fleet: str, rows: pa.Table, stands: Sequence[Span], interval: int
    ) -> list[Span]:
        """Return the windows among those that stand whose rows differ from the new ones."""
        found: list[Span] = []
        for part in stands:
            old = plain(table, self.lake.read(table, fleet, part))
            new = _within(rows, part)
            found += [Span(w, w + interval) for w in _different_windows(table, old, new, interval)]
        return union(found)

    def _entry(
        self,
        table: Table,
        fleet: str,
        kind: str,
        span: Span,
        rows: pa.Table,
        *,
        covered: Sequence[Covered],
        run_id: str,
    ) -> Entry:
        own = _within(rows, span)
        inputs = [c for c in covered if c.span.overlaps(span)]
        return Entry(
            table=table.name,
            fleet=fleet,
            span=span,
            n_rows=own.num_rows,
            kind=kind,
            digest=digest_of(own),
            landing=min((c.landing for c in inputs), default=0),
            inputs=inputs[-1].inputs if inputs else "",
            run_id=run_id,
            intent_id="",
        )

    def _carry_out(
        self,
        table: Table,
        intent: _Intent,
        rows: pa.Table,
        appended: Sequence[Span],
        changed: Sequence[Span],
    ) -> None:
        intent = replace(
            intent, entries=tuple(replace(e, intent_id=intent.intent_id) for e in intent.entries)
        )
        self._open(intent)
        self.checkpoint("intended")
        if changed:
            old = pa.concat_tables(
                [plain(table, self.lake.read(table, intent.fleet, part)) for part in changed]
            )
            if old.num_rows:
                self.lake.append(
                    superseded(table),
                    _superseded_rows(table, old, intent.intent_id),
                    intent.intent_id,
                )
            self.checkpoint("superseded")
        fresh = pa.concat_tables([_within(rows, part) for part in sorted([*appended, *changed])])
        if changed:
            self.lake.replace(
                table, intent.fleet, sorted([*appended, *changed]), fresh, intent.intent_id
            )
        elif fresh.num_rows:
            self.lake.append(table, fresh, intent.intent_id)
        self.checkpoint("written")
        self._close(intent)

    def _open(self, intent: _Intent) -> None:
        payload = json.dumps(asdict(intent))
        with self.control.transaction() as tx:
            tx.execute(
                sa.insert(intents).values(
                    intent_id=intent.intent_id,
                    table_name=intent.table,
                    fleet=intent.fleet,
                    holder=intent.holder,
                    lake_version=intent.lake_version,
                    payload=payload,
                    created_at=now_us(),
                )
            )

    def _close(self, intent: _Intent) -> None:
        with self.control.transaction() as tx:
            self.history.record(tx, intent.entries)
            self.history.cover(tx, intent.table, intent.fleet, intent.covered)
            if intent.batch is not None:
                tx.execute(sa.insert(landing_batches), [intent.batch])
            tx.execute(sa.delete(intents).where(intents.c.intent_id == intent.intent_id))

    def _reconcile(self, intent: _Intent) -> None:
        table = TABLES[intent.table]
        changes_rows = any(e.n_rows for e in intent.entries) or intent.supersedes
        if not changes_rows or self.lake.has_commit(
            table, intent.intent_id, after=intent.lake_version
        ):
            self._close(intent)
            return
        if intent.supersedes:
            self.lake.delete(
                superseded(table),
                f"fleet = '{intent.fleet}' AND intent_id = '{intent.intent_id}'",
                intent.intent_id,
            )
        with self.control.transaction() as tx:
            tx.execute(sa.delete(intents).where(intents.c.intent_id == intent.intent_id))


def lease_keys(table: Table, fleet: str, span: Span) -> list[str]:
    """Name the leases that a write to a span needs: one a day."""
    return [f"{table.name}/{fleet}/{floor_to(day.start, DAY) // DAY}" for day in span.days()]


def plain(table: Table, rows: pa.Table) -> pa.Table:
    """Return rows in the table's own schema, ordered by window, without dictionary encoding."""
    cast = rows.select(list(table.column_names)).cast(schema_of(table))
    return cast.sort_by("window_start") if cast.num_rows else cast


def _within(rows: pa.Table, span: Span) -> pa.Table:
    """Return the rows of a span as a slice; `rows` are ordered by window."""
    starts = _starts(rows)
    low, high = np.searchsorted(starts, [span.start, span.end])
    return rows.slice(int(low), int(high - low))


def _starts(rows: pa.Table) -> NDArray[np.int64]:
    return rows.column("window_start").cast(pa.int64()).to_numpy()


def _different_windows(table: Table, old: pa.Table, new: pa.Table, interval: int) -> list[int]:
    """Return the starts of the windows whose rows differ; both tables are ordered by window."""
    if old.equals(new):
        return []
    starts = np.union1d(_starts(old), _starts(new))
    windows = np.unique(starts - starts % interval)
    bounds = [np.searchsorted(_starts(t), [windows, windows + interval]) for t in (old, new)]
    changed = []
    for i, window in enumerate(windows):
        a, b = (
            t.slice(int(lo[i]), int(hi[i] - lo[i]))
            for t, (lo, hi) in zip((old, new), bounds, strict=True)
        )
        if not a.equals(b) and not _by_key(table, a).equals(_by_key(table, b)):
            changed.append(int(window))
    return changed


def _by_key(table: Table, rows: pa.Table) -> pa.Table:
    keys = [(k, "ascending") for k in table.key if k != "fleet"]
    return rows.take(pc.sort_indices(rows, sort_keys=keys)).combine_chunks()


def _superseded_rows(table: Table, old: pa.Table, intent_id: str) -> pa.Table:
    n = old.num_rows
    stamps = pa.array(np.full(n, now_us()), pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    columns = [*old.columns, pa.array([intent_id] * n, pa.string()), stamps]
    return pa.table(columns, schema=schema_of(superseded(table)))


def _by_day(spans: Sequence[Span]) -> list[Span]:
    return [day for span in spans for day in span.days()]


def _load(payload: str) -> _Intent:
    content = json.loads(payload)
    content["entries"] = tuple(
        Entry(**{**e, "span": Span(**e["span"])}) for e in content["entries"]
    )
    content["covered"] = tuple(
        Covered(**{**c, "span": Span(**c["span"])}) for c in content["covered"]
    )
    return _Intent(**content)
