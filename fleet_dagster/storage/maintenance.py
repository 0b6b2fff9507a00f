"""Upkeep of the lake: compaction, vacuum, and retention of telemetry by whole days."""

import uuid
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.model.tables import SITE_TELEMETRY, TABLES, Table, derived_tables, superseded
from fleet_dagster.storage.control.schema import commit_log
from fleet_dagster.storage.history import Entry
from fleet_dagster.storage.lake import instant_text
from fleet_dagster.storage.store import Store

EXPIRY = "expiry"
ALWAYS = Span(0, 2**62)
READING_DAYS = 2
"""Days after a day whose windows may read its telemetry: the longest staleness threshold and persistence together."""


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
    return [
        _compact_one(store, t, vacuum_hours)
        for t in (*TABLES.values(), *(superseded(t) for t in derived_tables()))
    ]


def expired_days(store: Store, fleet: str, span: Span) -> list[str]:
    """Return the UTC days of a span whose telemetry has expired."""
    query = sa.select(commit_log.c.window_start).where(
        commit_log.c.fleet == fleet,
        commit_log.c.table_name == SITE_TELEMETRY.name,
        commit_log.c.kind == "expire",
        commit_log.c.window_start < span.end,
        commit_log.c.window_end > span.start,
    )
    with store.control.reading() as tx:
        days = sorted({int(r.window_start) for r in tx.execute(query)})
    return [_date(day) for day in days]


def expire_telemetry(
    store: Store, fleet: str, *, now: int, retention_days: int, dry_run: bool = False
) -> list[str]:
    """Expire the days whose every snapshot was received more than `retention_days` ago; returns them.

    An expired day is never recomputed. Its snapshots are removed once the days whose first windows read them have expired
    too; a day without any snapshots expires with the day before it.
    """
    cutoff = now - retention_days * DAY
    days = store.lake.days(SITE_TELEMETRY, fleet)
    old = {day for day in days if _newest_receipt(store, fleet, day) < cutoff}
    readers = {day + n * DAY for day in old for n in range(1, READING_DAYS + 1)}
    over = old | {day for day in readers if day not in days and day + DAY <= cutoff}
    known = {_day_of(text) for text in expired_days(store, fleet, ALWAYS)}
    fresh = sorted(over - known)
    if not dry_run:
        _log_expiry(store, fleet, fresh)
        expired = over | known
        for day in sorted(old):
            if all(day + n * DAY in expired for n in range(1, READING_DAYS + 1)):
                _remove(store, fleet, day, cutoff)
    return [_date(day) for day in fresh]


def _log_expiry(store: Store, fleet: str, days: list[int]) -> None:
    entries = [
        Entry(SITE_TELEMETRY.name, fleet, Span(d, d + DAY), 0, "expire", EXPIRY, 0, "", "", "")
        for d in days
    ]
    with store.control.transaction() as tx:
        store.history.record(tx, entries)


def _remove(store: Store, fleet: str, day: int, cutoff: int) -> None:
    """Remove a day's snapshots; one that is landing just now was received later and stays."""
    received = f"received_at < {instant_text(cutoff)}"
    predicate = f"fleet = '{fleet}' AND day = '{_date(day)}' AND {received}"
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


def _date(day: int) -> str:
    return str(pa.scalar(day // DAY, pa.int32()).cast(pa.date32()).as_py())


def _day_of(text: str) -> int:
    return int(pa.scalar(text).cast(pa.date32()).cast(pa.int32()).as_py()) * DAY
