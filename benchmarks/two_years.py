"""Two years of `fleet_kpi`, a million windows of random health, written through the door."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from fleet_dagster.core.windows import DAY, SECOND, Span
from fleet_dagster.ingest.simulator import demo_config
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import FLEET_KPI, Column
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster.storage.coverage import Covered
from fleet_dagster.storage.door import Write
from fleet_dagster.storage.store import Store

N_DAYS, INTERVAL_S = 730, 60
WINDOW = INTERVAL_S * SECOND
START = 1_704_067_200_000_000
"""2024-01-01T00:00Z."""
WHOLE = Span(START, START + N_DAYS * DAY)
N_WINDOWS = N_DAYS * DAY // WINDOW
_PLAIN = {"string": "full", "bool": False}


def config_of_two_years() -> FleetConfig:
    """Return a fleet whose history begins with them."""
    content = demo_config("bench", "mixed", n_sites=6, n_regions=2, start_date="2024-01-01")
    return FleetConfig.model_validate({**content, "interval_s": INTERVAL_S})


def write_windows(
    store: Store, config: FleetConfig, spans: Iterable[Span], rng: np.random.Generator
) -> None:
    """Write the windows of each span at once."""
    store.registry.ensure(config)
    for span in spans:
        rows = _rows(span, config.name, rng)
        with store.door.hold([FLEET_KPI], config.name, span) as holder:
            covered = [Covered(span, 1, "v1")]
            write = Write(FLEET_KPI, config.name, span, rows, covered=covered, interval=WINDOW)
            store.door.write(write, holder=holder)


def _rows(span: Span, fleet: str, rng: np.random.Generator) -> pa.Table:
    starts = span.starts(WINDOW)
    stamp = schema_of(FLEET_KPI).field("window_start").type
    own = {
        "fleet": pa.array([fleet] * starts.size),
        "day": pa.array((starts // DAY).astype(np.int32)).cast(pa.date32()),
        "window_start": pa.array(starts).cast(stamp),
        "window_end": pa.array(starts + WINDOW).cast(stamp),
    }
    columns = [
        own[c.name] if c.name in own else _values(c, starts.size, rng) for c in FLEET_KPI.columns
    ]
    return pa.table(columns, schema=schema_of(FLEET_KPI))


def _values(column: Column, n: int, rng: np.random.Generator) -> pa.Array:
    kind = schema_of(FLEET_KPI).field(column.name).type
    if column.type.startswith("float"):
        return pa.array(rng.random(n)).cast(kind)
    return pa.array([_PLAIN.get(column.type, 6)] * n, kind)
