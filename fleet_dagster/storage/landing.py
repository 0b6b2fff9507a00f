"""Durable landing of judged snapshots: one Delta commit for each batch and one log entry for each stretch of time, at most once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from numpy.typing import NDArray

from fleet_dagster.core.windows import DAY, HOUR, Span
from fleet_dagster.model.errors import SourceError
from fleet_dagster.model.tables import SITE_TELEMETRY
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.control.schema import landing_batches
from fleet_dagster.storage.door import Door
from fleet_dagster.storage.history import Entry

if TYPE_CHECKING:
    from fleet_dagster.storage.intents import Batch as Booking

MAX_KEY, MAX_BATCH_ID = 128, 64


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

    def find(self, fleet: str, idempotency_key: str) -> Batch | None:
        """Return the batch that a fleet landed under a key, if any."""
        return self._booked(fleet, landing_batches.c.idempotency_key == idempotency_key)

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
        """Land judged snapshots; a key that the fleet landed before lands nothing.

        Raises
        ------
        SourceError
            The batch id was landed under another key, or one of the two is empty or too long.
        """
        _refuse_bad_names(source, batch_id, idempotency_key)
        booking: Booking = {
            "batch_id": batch_id,
            "fleet": fleet,
            "idempotency_key": idempotency_key,
            "source": source[:512],
            "n_rows": rows.num_rows,
            "n_unusable": rows.num_rows - rows.column("problem").null_count,
            "historical": historical,
            "landed_at": now_us(),
        }
        keys = [f"landing/{fleet}/key/{idempotency_key}", f"landing/{fleet}/batch/{batch_id}"]
        with self.door.leases.hold(keys) as holder:
            self.door.recover(SITE_TELEMETRY.name, fleet)
            self.door.refuse_lost_commits(SITE_TELEMETRY)
            known = self.find(fleet, idempotency_key)
            if known is not None:
                return known
            if self._booked(fleet, landing_batches.c.batch_id == batch_id) is not None:
                problem = f"batch {batch_id!r} was landed under another idempotency key"
                raise SourceError(source, problem, "Give each batch an id of its own")
            entries = _entries(fleet, rows, batch_id, historical=historical)
            self.door.land(SITE_TELEMETRY, _laid_out(rows), entries, booking, holder=holder)
        n_unusable = rows.num_rows - rows.column("problem").null_count
        return Batch(batch_id, source, rows.num_rows, n_unusable, is_new=True)

    def _booked(self, fleet: str, which: sa.ColumnElement[bool]) -> Batch | None:
        query = sa.select(landing_batches).where(landing_batches.c.fleet == fleet, which)
        with self.control.reading() as tx:
            row = tx.execute(query).first()
        if row is None:
            return None
        return Batch(row.batch_id, row.source, row.n_rows, row.n_unusable, is_new=False)


def _refuse_bad_names(source: str, batch_id: str, idempotency_key: str) -> None:
    for what, text, longest in (
        ("batch id", batch_id, MAX_BATCH_ID),
        ("idempotency key", idempotency_key, MAX_KEY),
    ):
        if not 0 < len(text) <= longest or "'" in text:
            problem = f"{what} {text[:40]!r} has {len(text)} characters, allowed are 1 to {longest}, no quote"
            raise SourceError(source, problem, "Use a digest of the content, for instance")


def _laid_out(rows: pa.Table) -> pa.Table:
    """Order rows by hour, site and time: an hour is then a few row groups, and a site's snapshots are neighbours."""
    stamp = _stamps(rows)
    site = rows.column("site_id").combine_chunks()
    encoded = site if pa.types.is_dictionary(site.type) else site.dictionary_encode()
    codes = encoded.indices.to_numpy()
    key = stamp // HOUR
    if (np.diff(key) < 0).any() or not _is_ordered(codes, stamp, key):
        rows = rows.take(pa.array(np.lexsort((stamp, codes, key))))
    return rows


def _is_ordered(codes: NDArray[np.int32], stamp: NDArray[np.int64], key: NDArray[np.int64]) -> bool:
    same_hour = np.diff(key) == 0
    later_site, same_site = np.diff(codes) > 0, np.diff(codes) == 0
    return bool((~same_hour | later_site | (same_site & (np.diff(stamp) >= 0))).all())


def _entries(fleet: str, rows: pa.Table, batch_id: str, *, historical: bool) -> list[Entry]:
    """Return one log entry for each stretch of time that the batch touches.

    Its `landing` is the earliest receipt (0 for history): a baseline asks by it whether the batch may concern it.
    """
    if not rows.num_rows:
        return []
    earliest = pc.min(rows.column("received_at").cast(pa.int64())).as_py()
    return [
        Entry(
            table=SITE_TELEMETRY.name,
            fleet=fleet,
            span=Span(int(own[0]), int(own[-1]) + 1),
            n_rows=int(own.size),
            kind="append",
            digest=batch_id,
            landing=0 if historical else int(earliest),
            inputs="",
            run_id="",
            intent_id="",
        )
        for own in _stretches(_stamps(rows))
    ]


def _stretches(stamps: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the stamps in order of time, cut at UTC midnights and where a whole hour is empty.

    What lies between two stretches is not touched: late snapshots of 00:05 and 23:50 leave the rest of the day current.
    """
    ordered = np.sort(stamps)
    is_cut = (np.diff(ordered // HOUR) > 1) | (np.diff(ordered // DAY) > 0)
    return np.split(ordered, np.flatnonzero(is_cut) + 1)


def _stamps(rows: pa.Table) -> NDArray[np.int64]:
    return np.asarray(rows.column("timestamp").cast(pa.int64()).to_numpy(), dtype=np.int64)
