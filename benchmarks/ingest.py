"""P1: landed snapshots to site rows, beside a scan of the same file and the same reduction in SQL."""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import pyarrow as pa

from benchmarks import yardsticks
from benchmarks.report import Figure, Result, ratios, seconds
from benchmarks.telemetry import NAME, START, Workload, landed_in_arrival_order
from fleet_dagster.core.windows import HOUR, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.tables import BASELINE, SITE_TELEMETRY
from fleet_dagster.nodes.region_mapper import region_mapper
from fleet_dagster.nodes.site_ingest import Ingested, site_ingest
from fleet_dagster.storage.store import Store

WORK = Workload(n_sites=1_000, n_regions=20, step_s=1, duplicates_share=0.02)
SPAN = Span(START, START + HOUR)
PAIRS = 7
MOST_SCANS, LEAST_GAIN = 2.5, 2.5


def p1() -> Result:
    """Measure dedup, normalising and windows of an hour at 1 Hz."""
    with tempfile.TemporaryDirectory() as folder, Store.at(Path(folder)) as store:
        rows = landed_in_arrival_order(WORK, SPAN)
        store.lake.append(SITE_TELEMETRY, rows, "benchmark")
        n_rows = rows.num_rows
        del rows
        scans, queries, ours = _measure(store, sorted(Path(folder).rglob("*.parquet")))
    in_scans, gain = ratios(ours, scans), ratios(queries, ours)
    work = f"{n_rows:,} snapshots x 16 KPIs, Parquet in, site_kpi out"
    return Result(
        "dedup, normalise, window",
        "1 h of 1,000 sites at 1 Hz, 2 % duplicates, in order of arrival, as one commit; read and reduced as the pipeline "
        f"reads and reduces it; {yardsticks.THREADS} threads each; {PAIRS} interleaved pairs after one of each.",
        (
            Figure(
                work,
                seconds(ours),
                f"DuckDB scan {seconds(scans)}",
                f"{median(in_scans):.2f}",
                f"≤ {MOST_SCANS}",
                median(in_scans) <= MOST_SCANS,
            ),
            Figure(
                work,
                seconds(ours),
                f"DuckDB SQL {seconds(queries)}",
                f"1 / {median(gain):.2f}",
                f"≤ 1 / {LEAST_GAIN}",
                median(gain) >= LEAST_GAIN,
            ),
        ),
    )


def _measure(store: Store, files: list[Path]) -> tuple[list[float], list[float], list[float]]:
    pa.set_cpu_count(yardsticks.THREADS)
    pa.set_io_thread_count(yardsticks.THREADS)
    config = WORK.config
    fleet = Fleet.of(config)
    assignment, untrained = region_mapper(fleet, SPAN), frames.empty_frame(BASELINE)
    with yardsticks.connect() as database, ThreadPoolExecutor(yardsticks.THREADS) as threads:

        def ours() -> Ingested:
            read = store.telemetry_reader(NAME)
            return site_ingest(fleet, read(SPAN), assignment, untrained, SPAN, threads=threads)

        expected = yardsticks.reduce_in_sql(database, files, config).num_rows
        found = len(ours().site_kpi)
        if found != expected:
            msg = f"site_ingest gives {found} rows, the same reduction in SQL {expected}. The benchmark compares different work"
            raise RuntimeError(msg)
        yardsticks.scan(database, files)
        rounds = [
            (
                clock(lambda: yardsticks.scan(database, files)),
                clock(ours),
                clock(lambda: yardsticks.reduce_in_sql(database, files, config)),
            )
            for _ in range(PAIRS)
        ]
    scans, own, queries = ([r[i] for r in rounds] for i in range(3))
    return scans, queries, own


def clock(work: Callable[[], object]) -> float:
    """Return how long something takes, in seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
