"""Upkeep of the lake: compaction, vacuum, and retention of telemetry by whole days."""

import uuid
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fleet_dagster.core.windows import DAY, Span, iso_day
from fleet_dagster.model.tables import (
    FLEET_KPI,
    SITE_TELEMETRY,
    TABLES,
    Table,
    derived_tables,
    superseded,
    trial,
)
from fleet_dagster.storage.history import Entry
from fleet_dagster.storage.lake import instant_text
from fleet_dagster.storage.store import Store

ALWAYS = Span(0, 2**62)
READING_DAYS = 2
"""Days after a day whose windows may read its telemetry: the longest staleness threshold and persistence together."""


COMMITS_LOOKED_AT = 500
"""Commits of a table that are looked at for its last compaction: those of an hour of several live fleets."""


@dataclass(frozen=True, slots=True)
class Tidied:
    """What compaction and vacuum did to one table."""

    table: str
    files_before: int
    files_after: int
    files_removed: int


def compact(store: Store, *, vacuum_hours: int = 168) -> list[Tidied]:
    """Merge small files, write a checkpoint, and remove files that no version of the last `vacuum_hours` needs.

    Readers and writers go on meanwhile; a writer that loses the race to the compaction repeats its commit, and so does the
    compaction. Writes that a crash left open are mended first, while the log entries that tell how far they got are there.
    """
    store.door.recover()
    tried = [trial(t) for t in derived_tables()]
    missing = {t.name for t in store.lake.missing(tried)}
    there = [t for t in tried if t.name not in missing]
    kept = [superseded(t) for t in derived_tables()]
    return [_compact_one(store, t, vacuum_hours) for t in (*TABLES.values(), *kept, *there)]


def compacted_at(store: Store) -> int | None:
    """Return when the lake was compacted last, by the newest history of the table that grows with every window [us].

    None where that is not among its newest commits.
    """
    return store.lake.compacted_at(FLEET_KPI, COMMITS_LOOKED_AT)


def expired_days(store: Store, fleet: str, span: Span) -> list[str]:
    """Return the UTC days of a span whose telemetry has expired: they are never recomputed."""
    return [
        iso_day(entry.span.start) for entry in _expiries(store, fleet, span) if not entry.n_rows
    ]


def removed_days(store: Store, fleet: str, span: Span) -> list[str]:
    """Return the UTC days of a span whose telemetry has been removed: what reads them cannot be computed."""
    return [iso_day(entry.span.start) for entry in _expiries(store, fleet, span) if entry.n_rows]


def expire_telemetry(
    store: Store, fleet: str, *, now: int, retention_days: int, dry_run: bool = False
) -> list[str]:
    """Expire the days whose every snapshot was received more than `retention_days` ago; returns them.

    An expired day is never recomputed. Its snapshots are removed once the days whose first windows read them have expired
    too; a day without any snapshots expires with the day before it.
    """
    cutoff = now - retention_days * DAY
    days = store.lake.days(SITE_TELEMETRY, fleet)
    old = {day for day in days if day < cutoff and _newest_receipt(store, fleet, day) < cutoff}
    readers = {day + n * DAY for day in old for n in range(1, READING_DAYS + 1)}
    over = old | {day for day in readers if day not in days and day + DAY <= cutoff}
    known = {_day_of(text) for text in expired_days(store, fleet, ALWAYS)}
    fresh = sorted(over - known)
    if not dry_run:
        _log(store, [_expiry(fleet, day) for day in fresh])
        expired = over | known
        for day in sorted(old):
            if all(day + n * DAY in expired for n in range(1, READING_DAYS + 1)):
                _remove(store, fleet, day, cutoff)
    return [iso_day(day) for day in fresh]


def _expiries(store: Store, fleet: str, span: Span) -> list[Entry]:
    found = store.history.entries(SITE_TELEMETRY.name, fleet, span, kind="expire")
    return sorted(found, key=lambda entry: entry.span)


def _expiry(fleet: str, day: int, n_rows: int = 0) -> Entry:
    """Return the entry of a day that has expired, or of which that many snapshots are removed."""
    span = Span(day, day + DAY)
    return Entry(SITE_TELEMETRY.name, fleet, span, n_rows, "expire", "", 0, "", "", "")


def _log(store: Store, entries: list[Entry]) -> None:
    with store.control.transaction() as tx:
        store.history.record(tx, entries)


def _remove(store: Store, fleet: str, day: int, cutoff: int) -> None:
    """Remove a day's snapshots, logged beforehand; one that is landing just now was received later and stays."""
    rows = store.lake.read(
        SITE_TELEMETRY, fleet, Span(day, day + DAY), columns=["row_no"], time_column="timestamp"
    )
    _log(store, [_expiry(fleet, day, rows.num_rows)])
    received = f"received_at < {instant_text(cutoff)}"
    predicate = f"fleet = '{fleet}' AND day = '{iso_day(day)}' AND {received}"
    store.lake.delete(SITE_TELEMETRY, predicate, uuid.uuid4().hex)


def _newest_receipt(store: Store, fleet: str, day: int) -> int:
    rows = store.lake.read(
        SITE_TELEMETRY,
        fleet,
        Span(day, day + DAY),
        columns=["received_at"],
        time_column="timestamp",
    )
    return int(pc.max(rows.column("received_at").cast(pa.int64())).as_py() or 0)


def _compact_one(store: Store, table: Table, vacuum_hours: int) -> Tidied:
    before = len(store.lake.open(table).file_uris())
    store.lake.compact(table)
    removed = store.lake.vacuum(table, vacuum_hours)
    return Tidied(table.name, before, len(store.lake.open(table).file_uris()), removed)


def _day_of(text: str) -> int:
    return int(pa.scalar(text).cast(pa.date32()).cast(pa.int32()).as_py()) * DAY
