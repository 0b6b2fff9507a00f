"""Simulated telemetry as it lands: deterministic, made hour by hour outside every clock."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.ingest.simulator import Scenario, demo_config, plain, site_ids
from fleet_dagster.ingest.simulator.rows import Rows
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import READING_NAMES, SITE_TELEMETRY
from fleet_dagster.model.yaml_file import validate_config
from fleet_dagster.storage.arrow import schema_of

START_DATE = dt.date(2026, 1, 1)
START = int(dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp()) * 1_000_000
NAME = "bench"


@dataclass(frozen=True, slots=True)
class Workload:
    """A simulated fleet whose snapshots come at one rate, some of them twice."""

    n_sites: int
    n_regions: int
    step_s: int
    duplicates_share: float = 0.0

    @property
    def scenario(self) -> Scenario:
        """What is simulated: noise, flicker and duplicates, without planted faults."""
        return Scenario(
            seed=1,
            kind="mixed",
            n_sites=self.n_sites,
            n_regions=self.n_regions,
            step_s=self.step_s,
            duplicates_share=self.duplicates_share,
        )

    @property
    def config(self) -> FleetConfig:
        """The fleet, in the smallest profile that it fits."""
        content = demo_config(
            NAME, "mixed", n_sites=self.n_sites, n_regions=self.n_regions, start_date=START_DATE
        )
        return validate_config(content, source="benchmark")


def landed_in_arrival_order(work: Workload, span: Span) -> pa.Table:
    """Return the landed snapshots of a span by time of receipt; a batch is what arrived in a minute."""
    rows = plain(work.config, work.scenario, span.start, span.end)
    order = np.argsort(rows["received_us"], kind="stable")
    arrived = {name: column[order] for name, column in rows.items()}
    return _landed(work, arrived, batch=arrived["received_us"] // MINUTE)


def landed_hours(work: Workload, span: Span) -> Iterator[pa.Table]:
    """Yield the landed snapshots of each hour, in order of time; a batch is a day."""
    for hour in span.steps(HOUR):
        rows = plain(work.config, work.scenario, hour.start, hour.end)
        yield _landed(work, rows, batch=rows["timestamp_us"] // DAY)


def landed_repeatedly(work: Workload, days: Sequence[Span]) -> Iterator[pa.Table]:
    """Yield the landed snapshots of the first day once for each day, moved there: history at the cost of one day."""
    once = list(landed_hours(work, days[0]))
    first = pa.concat_tables(once).combine_chunks()
    for day in days:
        yield _moved(first, day.start - days[0].start)


def _moved(rows: pa.Table, by: int) -> pa.Table:
    columns = {
        "day": pc.add(rows.column("day").cast(pa.int32()), pa.scalar(by // DAY, pa.int32())).cast(
            pa.date32()
        ),
        **{
            name: pc.add(rows.column(name), pa.scalar(by, pa.duration("us")))
            for name in ("timestamp", "received_at")
        },
    }
    for name, column in columns.items():
        i = rows.schema.get_field_index(name)
        rows = rows.set_column(i, rows.schema.field(i), column)
    return rows


def _landed(work: Workload, rows: Rows, *, batch: NDArray[np.int64]) -> pa.Table:
    return landed(site_ids(work.config, work.scenario), rows, batch=batch)


def landed(site_names: Sequence[str], rows: Rows, *, batch: NDArray[np.int64]) -> pa.Table:
    """Return judged snapshots as `landed_table` does: all of them are usable."""
    n = batch.size
    instant = pa.timestamp("us", tz="UTC")
    sites = pa.array(site_names, pa.string())
    numbers, codes = np.unique(batch, return_inverse=True)
    columns = {
        "fleet": pa.repeat(NAME, n),
        "day": pa.array((rows["timestamp_us"] // DAY).astype(np.int32)).cast(pa.date32()),
        "site_id": sites.take(pa.array(rows["site_no"])),
        "timestamp": pa.array(rows["timestamp_us"]).cast(instant),
        **{
            name: pa.array(np.ascontiguousarray(rows["readings"][:, k]), from_pandas=True)
            for k, name in enumerate(READING_NAMES)
        },
        "status": pa.array(rows["status"].astype(np.int8)),
        "uptime_pct": pa.array(rows["uptime_pct"].astype(np.float32)),
        "fault_count": pa.array(rows["fault_count"].astype(np.int32)),
        "quality": pa.array(np.zeros(n, dtype=np.int8)),
        "sequence": pa.array(rows["sequence"]),
        "received_at": pa.array(rows["received_us"]).cast(instant),
        "batch_id": pa.array([f"batch-{i:08d}" for i in numbers]).take(pa.array(codes)),
        "row_no": pa.array(np.arange(n)),
        "historical": pa.repeat(False, n),
        **{name: pa.nulls(n, pa.string()) for name in ("problem", "detail", "raw")},
    }
    schema = schema_of(SITE_TELEMETRY)
    return pa.table([columns[name] for name in schema.names], schema=schema)
