"""Durable landing of judged snapshots: one Delta commit and one log entry a day for each batch, at most once."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from fleet_dagster.core.windows import DAY, HOUR, Span
from fleet_dagster.model.tables import SITE_TELEMETRY
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import landing_batches
from fleet_dagster.storage.door import Door
from fleet_dagster.storage.history import Entry


@dataclass(frozen=True, slots=True)
class Batch:
    """One landed batch."""

    batch_id: str
    source: str
    n_rows: int
    n_unusable: int
    is_new: bool


class Landing:
    """Appends snapshots to `site_telemetry`."""

    def __init__(self, control: Control, door: Door) -> None:
        self.control, self.door = control, door

    def find(self, idempotency_key: str) -> Batch | None:
        """Return the batch that was landed under a key, if any."""
        with self.control.reading() as tx:
            row = tx.execute(
                sa.select(landing_batches).where(
                    landing_batches.c.idempotency_key == idempotency_key
                )
            ).first()
        return (
            None
            if row is None
            else Batch(row.batch_id, row.source, row.n_rows, row.n_unusable, is_new=False)
        )

    def append(
        self,
        fleet: str,
        rows: pa.Table,
        *,
        batch_id: str,
        idempotency_key: str,
        source: str,
        historical: bool,
    ) -> Batch:
        """Land judged snapshots; a key that was landed before lands nothing."""
        known = self.find(idempotency_key)
        if known is not None:
            return known
        n_unusable = rows.num_rows - rows.column("problem").null_count
        batch: dict[str, str | int | bool] = {
            "batch_id": batch_id,
            "fleet": fleet,
            "idempotency_key": idempotency_key,
            "source": source[:512],
            "n_rows": rows.num_rows,
            "n_unusable": n_unusable,
            "historical": historical,
            "landed_at": now_us(),
        }
        if rows.num_rows:
            self.door.land(
                SITE_TELEMETRY,
                _laid_out(rows),
                _entries(fleet, rows, batch_id, historical=historical),
                batch,
            )
        return Batch(batch_id, source, rows.num_rows, n_unusable, is_new=True)


def _laid_out(rows: pa.Table) -> pa.Table:
    """Order rows by hour, site and time: an hour is then a few row groups, and a site's snapshots are neighbours."""
    stamp = rows.column("timestamp").cast(pa.int64()).to_numpy()
    site = rows.column("site_id").combine_chunks()
    codes = (
        site.dictionary_encode().indices.to_numpy()
        if not pa.types.is_dictionary(site.type)
        else site.indices.to_numpy()
    )
    key = stamp // HOUR
    if (np.diff(key) < 0).any() or not _ordered(codes, stamp, key):
        rows = rows.take(pa.array(np.lexsort((stamp, codes, key))))
    return rows


def _ordered(codes: np.ndarray, stamp: np.ndarray, key: np.ndarray) -> bool:
    same_hour = np.diff(key) == 0
    later_site, same_site = np.diff(codes) > 0, np.diff(codes) == 0
    return bool((~same_hour | later_site | (same_site & (np.diff(stamp) >= 0))).all())


def _entries(fleet: str, rows: pa.Table, batch_id: str, *, historical: bool) -> list[Entry]:
    """Return one log entry for each UTC day that the batch touches.

    Its `landing` is the earliest receipt (0 for history): a baseline asks by it whether the batch may concern it.
    """
    received = 0 if historical else int(pc.min(rows.column("received_at").cast(pa.int64())).as_py())
    stamp = rows.column("timestamp").cast(pa.int64()).to_numpy()
    days = stamp // DAY
    found = []
    for day in np.unique(days):
        own = stamp[days == day]
        span = Span(int(own.min()), int(own.max()) + 1)
        found.append(
            Entry(
                SITE_TELEMETRY.name,
                fleet,
                span,
                int(own.size),
                "append",
                batch_id[:64],
                received,
                "",
                "",
                "",
            )
        )
    return found
