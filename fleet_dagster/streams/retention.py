"""Retention: whole days of telemetry and tables go when their time is over, each logged, with who had not read it.

Records of alerts and of what consumers missed go a year after they were over.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fleet_dagster.core.windows import DAY, Span, iso_day
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import SITE_TELEMETRY, Table, derived_tables, superseded
from fleet_dagster.storage.cursors import Missed
from fleet_dagster.storage.door import Expiry
from fleet_dagster.storage.maintenance import expire_telemetry
from fleet_dagster.storage.merging import merge_log
from fleet_dagster.storage.records import KEPT_DAYS, forget_records, old_records
from fleet_dagster.storage.store import Store

Progress = Callable[[str], None]
"""Called after each day with what went."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What retention removed of one table, or would remove."""

    table: str
    kept_days: int
    days: tuple[str, ...]
    """UTC days, as ISO dates."""
    n_rows: int | None
    """Rows that stood, or records; None of telemetry, whose days expire before their rows go."""
    n_replaced: int = 0
    """Rows that restatements had replaced."""
    n_merged: int = 0
    """Entries of the commit log that became part of others."""
    missed: tuple[Missed, ...] = ()
    """Consumers that had not read what was removed."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Retention of one fleet at an instant `now` [us]. Each day is one write: a run that was cut off is taken up again."""

    store: Store
    config: FleetConfig
    now: int
    progress: Progress = lambda _what: None

    def run(self, *, dry_run: bool = False) -> list[Removed]:
        """Remove what is due, old records too, and merge the log of settled days; or only say what would go."""
        kept = self.config.telemetry_retention_days
        days = expire_telemetry(
            self.store, self.config.name, now=self.now, retention_days=kept, dry_run=dry_run
        )
        telemetry = Removed(SITE_TELEMETRY.name, kept, tuple(days), None)
        look = self._planned if dry_run else self._carried_out
        tables = [look(table) for table in derived_tables()]
        return [telemetry, *tables, *self._records(dry_run=dry_run)]

    def _due(self, table: Table, within: Span | None = None) -> list[Span]:
        cutoff = self.now - self.config.retention.days_of(table) * DAY
        find, fleet = self.store.history.days_over, self.config.name
        starts = find(table.name, fleet, cutoff, within=within)
        return [Span(start, start + DAY) for start in starts]

    def _planned(self, table: Table) -> Removed:
        days, fleet, count = self._due(table), self.config.name, self.store.lake.count
        missed = [m for day in days for m in self.store.cursors.lagging(table, fleet, day)]
        gone = [
            Expiry(table, d, count(table, fleet, [d]), count(superseded(table), fleet, [d]))
            for d in days
        ]
        return self._removed(table, gone, missed)

    def _carried_out(self, table: Table) -> Removed:
        gone, fleet = [], self.config.name
        for day in self._due(table):
            with self.store.door.hold([table], fleet, day) as holder:
                if not self._due(table, day):  # it was written, or removed, since we looked
                    continue
                gone.append(self.store.door.expire(table, fleet, day, holder=holder))
            self.progress(f"{table.name} of {iso_day(day.start)}: {gone[-1].n_rows:,} rows")
        days = {g.day for g in gone}
        known = self.store.cursors.missed(fleet, table.stream) if table.stream and days else []
        missed = sorted((m for m in known if m.span in days), key=lambda m: m.span)
        return self._removed(table, gone, missed, merge_log(self.store.history, table, fleet))

    def _records(self, *, dry_run: bool) -> list[Removed]:
        """Remove records of the control database one by one, not by days."""
        look = old_records if dry_run else forget_records
        found = look(self.store.control, self.config.name, self.now - KEPT_DAYS * DAY)
        return [Removed(name, KEPT_DAYS, (), n) for name, n in found.items()]

    def _removed(
        self, table: Table, gone: list[Expiry], missed: list[Missed], n_merged: int = 0
    ) -> Removed:
        return Removed(
            table.name,
            self.config.retention.days_of(table),
            tuple(iso_day(g.day.start) for g in gone),
            sum(g.n_rows for g in gone),
            sum(g.n_replaced for g in gone),
            n_merged,
            tuple(missed),
        )
