"""The demo fleet's telemetry: what its simulated sites have sent is landed when it arrives."""

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from fleet_dagster.cli.simulated import Demo, Progress, land_rows, scenario_of
from fleet_dagster.core.windows import HOUR, MINUTE, SECOND, Span, floor_to
from fleet_dagster.ingest.simulator import simulate
from fleet_dagster.ingest.zones import utc_text
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.storage.control.schema import landing_batches
from fleet_dagster.storage.store import Store

STEP_S = 5
"""Feeds end at multiples of this: a snapshot is landed so long after its receipt, at most."""
_REACH = 26 * HOUR
"""How late a simulated snapshot may be and still be fed; later ones never arrive."""
_AHEAD = 10 * MINUTE
"""How far ahead is simulated at once: what is late reaches back a day, which costs the same for a second as for minutes."""


@dataclass(slots=True)
class Feeder:
    """Feeds one demo fleet in steps; however they are chosen, the same snapshots land, each once."""

    store: Store
    config: FleetConfig
    demo: Demo
    _fed: int | None = None
    _ready: Span = field(default_factory=lambda: Span(0, 0))
    _sent: pa.Table | None = None

    def feed(self, until: int, *, progress: Progress = lambda _done, _total: None) -> int:
        """Land what the simulated sites have sent since the last feed, late snapshots when they arrive; returns the rows."""
        if self._fed is None:
            self._fed = fed_until(self.store, self.config, self.demo)
        due = Span(self._fed, max(self._fed, floor_to(until, STEP_S * SECOND)))
        n_rows = 0
        for part in due.days():
            ident = f"demo-{self.demo.seed}-{part.end:020d}"
            batch = ident, f"{self.config.name}:{ident}"
            sent = self._received(part)
            if sent.num_rows:
                n_rows += land_rows(self.store, self.config, sent, batch=batch, until=part.end)
            self._fed = part.end
            progress(part.end - due.start, due.end - due.start)
        return n_rows

    def _received(self, span: Span) -> pa.Table:
        """Return the snapshots received within a span, whenever they were taken."""
        is_ready = self._ready.start <= span.start and span.end <= self._ready.end
        if self._sent is None or not is_ready:
            self._ready = Span(span.start, span.end + _AHEAD)
            self._sent = self._arrivals(self._ready)
        return _within(self._sent, span)

    def _arrivals(self, received: Span) -> pa.Table:
        scenario = scenario_of(self.config, seed=self.demo.seed, kind=self.demo.kind)
        start = max(Fleet.of(self.config).start, received.start - _REACH)
        return simulate(self.config, scenario, start, max(start, received.end)).telemetry


def fed_until(store: Store, config: FleetConfig, demo: Demo) -> int:
    """Return the instant up to which the demo fleet was fed: the start of its history before the first feed [us]."""
    prefix = f"demo-{demo.seed}-"
    query = sa.select(sa.func.max(landing_batches.c.batch_id)).where(
        landing_batches.c.fleet == config.name, landing_batches.c.batch_id.startswith(prefix)
    )
    with store.control.reading() as tx:
        newest = tx.execute(query).scalar()
    if newest is not None:
        return int(str(newest).removeprefix(prefix))
    return Fleet.of(config).start


def _within(rows: pa.Table, received: Span) -> pa.Table:
    stamps = pc.utf8_slice_codeunits(rows.column("received_at"), 0, 19)
    low, high = (utc_text(us)[:19] for us in (received.start, received.end))
    return rows.filter(pc.and_(pc.greater_equal(stamps, low), pc.less(stamps, high)))
