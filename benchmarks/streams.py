"""S1: two years of `fleet_kpi`, a million windows, listed, consumed from the start, merged, and a day of them removed."""

import io
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.ingest import clock
from benchmarks.report import Figure, Result, seconds
from benchmarks.two_years import (
    INTERVAL_S,
    N_WINDOWS,
    START,
    WHOLE,
    WINDOW,
    config_of_two_years,
    write_windows,
)
from fleet_dagster.core.windows import DAY, HOUR, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.streams import STREAMS
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.storage.maintenance import compact
from fleet_dagster.storage.merging import merge_log
from fleet_dagster.storage.store import Store
from fleet_dagster.streams.following import pass_on
from fleet_dagster.streams.outputs import JsonLines, ParquetFolder
from fleet_dagster.streams.standing import streams_of
from fleet_dagster.streams.subscription import subscribe

STREAM = STREAMS["fleet_kpi_stream"]
N_LIVE = 1_440
"""Windows of the last day, which are written one by one."""
ROUNDS = 5


def s1() -> Result:
    """Measure what a stream of two years costs."""
    with tempfile.TemporaryDirectory() as folder, Store.at(Path(folder) / "home") as store:
        config = config_of_two_years()
        wrote = clock(lambda: _fill(store, config))
        compact(store, vacuum_hours=0)
        n_entries, _ = store.history.size(FLEET_KPI.name, config.name)
        listed = [clock(lambda: streams_of(store, config)) for _ in range(ROUNDS)]
        scans = [
            clock(lambda: store.lake.read(FLEET_KPI, config.name, WHOLE)) for _ in range(ROUNDS)
        ]
        passes = {
            "deliveries alone": [clock(lambda: _consume(store, config, "bare", lambda _b: None))],
            "JSON Lines": [clock(lambda: _consume(store, config, "lines", _lines(store, config)))],
            "Parquet files": [
                clock(lambda: _consume(store, config, "files", _files(store, config, folder)))
            ],
        }
        store.history.coverage.settle(config.name, [FLEET_KPI.name], WHOLE.end)
        merged = clock(lambda: merge_log(store.history, FLEET_KPI, config.name))
        n_merged, _ = store.history.size(FLEET_KPI.name, config.name)
        removals = [clock(partial(_expire, store, config, n)) for n in range(ROUNDS)]
    return Result(
        "streams: two years of fleet_kpi",
        f"{N_WINDOWS:,} windows of {INTERVAL_S} s, a commit a day, the last day's {N_LIVE:,} windows one by one and compacted every hour: {n_entries:,} "
        f"entries of the commit log, written in {wrote:.0f} s and compacted. Consumed from the start to the end by a new consumer "
        "each time, cursors moved as they are by `fleet consume`. No target is set; the yardstick is one read of all rows.",
        (
            Figure(
                "list the fleet's five streams with their consumers",
                seconds(listed),
                "",
                "",
                "",
                None,
            ),
            *(
                Figure(
                    f"consume all from the start: {name}",
                    f"{seconds(times)}, {N_WINDOWS / median(times):,.0f} windows/s",
                    f"one read {seconds(scans)}",
                    f"{median(times) / median(scans):.1f}",
                    "",
                    None,
                )
                for name, times in passes.items()
            ),
            Figure(
                f"merge the log, {n_entries:,} entries to {n_merged:,}",
                f"{merged:.3f} s",
                "",
                "",
                "",
                None,
            ),
            Figure("retention of one day", seconds(removals), "", "", "", None),
        ),
    )


def _fill(store: Store, config: FleetConfig) -> None:
    rng, live = np.random.default_rng(5), WHOLE.end - N_LIVE * WINDOW
    write_windows(store, config, Span(WHOLE.start, live).days(), rng)
    for hour in Span(live, WHOLE.end).steps(HOUR):
        write_windows(store, config, hour.steps(WINDOW), rng)
        store.lake.compact(FLEET_KPI)


def _consume(store: Store, config: FleetConfig, consumer: str, write: Callable[..., None]) -> None:
    with subscribe(store, config, STREAM, consumer) as subscription:
        pass_on(subscription, write)


def _lines(store: Store, config: FleetConfig) -> Callable[..., None]:
    return JsonLines(store, config.name, _Counted()).write


def _files(store: Store, config: FleetConfig, folder: str) -> Callable[..., None]:
    out = Path(folder) / "out"
    out.mkdir()
    return ParquetFolder(store, config.name, out).write


def _expire(store: Store, config: FleetConfig, number: int) -> None:
    day = Span(START + number * DAY, START + (number + 1) * DAY)
    with store.door.hold([FLEET_KPI], config.name, day) as holder:
        store.door.expire(FLEET_KPI, config.name, day, holder=holder)


class _Counted(io.StringIO):
    """Standard output that nobody keeps: a pipe would measure its reader."""

    def write(self, text: str) -> int:
        return len(text)
