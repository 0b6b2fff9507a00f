"""Rows of `fleet_kpi` with a chosen health, for tests of what is followed and what expires."""

from collections.abc import Mapping

import pyarrow as pa

from fleet_dagster.core.windows import DAY, SECOND, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.streams import STREAMS, Stream
from fleet_dagster.model.tables import FLEET_KPI, Column
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster.storage.coverage import Covered
from fleet_dagster.storage.door import Write, WriteReport
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at

HOURS = 3600 * SECOND
CONFIG = at.plant(interval_s=3600)
STREAM: Stream = STREAMS["fleet_kpi_stream"]
_FIRST = {"bool": False, "string": "full"}
"""Values of the columns that nobody looks at."""
Healths = Mapping[int, float]
"""Health of each window, by its number."""


def window(number: int) -> int:
    """Return the start of a window, counted from the first of the fleet's first day [us]."""
    return at.FIRST + number * HOURS


def span(first: int, end: int) -> Span:
    """Return a run of windows."""
    return Span(window(first), window(end))


def day(number: int) -> Span:
    """Return a UTC day, counted from the fleet's first."""
    return at.days(number, number + 1)


def rows(healths: Healths, *, interval: int = HOURS) -> pa.Table:
    """Return rows of `fleet_kpi`, one a window."""
    numbers = sorted(healths)
    starts = [at.FIRST + n * interval for n in numbers]
    own = {
        "fleet": [CONFIG.name] * len(numbers),
        "day": pa.array([s // DAY for s in starts], pa.int32()).cast(pa.date32()),
        "window_start": _stamps(starts),
        "window_end": _stamps([s + interval for s in starts]),
        "fleet_health": [healths[n] for n in numbers],
    }
    columns = [
        own.get(
            c.name, pa.array([_plain(c)] * len(numbers), schema_of(FLEET_KPI).field(c.name).type)
        )
        for c in FLEET_KPI.columns
    ]
    return pa.table(columns, schema=schema_of(FLEET_KPI))


def write(
    store: Store,
    healths: Healths,
    within: Span,
    *,
    config: FleetConfig = CONFIG,
    inputs: str = "v1",
    interval: int = HOURS,
) -> WriteReport:
    """Make the windows of a span stand as given."""
    with store.door.hold([FLEET_KPI], config.name, within) as holder:
        wanted = Write(
            FLEET_KPI,
            config.name,
            within,
            rows(healths, interval=interval),
            covered=[Covered(within, 1, inputs)],
            interval=interval,
        )
        return store.door.write(wanted, holder=holder)


def expire(store: Store, number: int, config: FleetConfig = CONFIG) -> None:
    """Remove a day."""
    with store.door.hold([FLEET_KPI], config.name, day(number)) as holder:
        store.door.expire(FLEET_KPI, config.name, day(number), holder=holder)


def healths_of(table: pa.Table) -> dict[int, float]:
    """Return the health of each window of some rows, by its number."""
    starts = table.column("window_start").cast(pa.int64()).to_pylist()
    values = table.column("fleet_health").to_pylist()
    return {(s - at.FIRST) // HOURS: v for s, v in zip(starts, values, strict=True)}


def _plain(column: Column) -> object:
    return None if column.nullable else _FIRST.get(column.type, 0)


def _stamps(instants: list[int]) -> pa.Array:
    return pa.array(instants, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
