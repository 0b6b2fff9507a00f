"""`storm_monitor`: what each window shows of a coming or passing storm, from status, faults and message counts alone."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core.publication import is_changed
from fleet_dagster.core.reduction import reduce_block
from fleet_dagster.core.sampling import training_day_in_force
from fleet_dagster.core.snapshots import Grid
from fleet_dagster.core.storm_detection import Activity
from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.snapshots import usable_snapshots
from fleet_dagster.frames.window_inputs import per_window
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import ingest_lookback


def storm_monitor(
    fleet: Fleet, telemetry: pd.DataFrame, baseline: pd.DataFrame, span: Span
) -> Activity:
    """Count, window by window, the sites that changed status or raised a fault, and the messages.

    A site that falls silent or returns has not changed its status: a broken line is no storm of events.

    `telemetry` reaches back by `ingest_lookback` and needs no readings; `baseline` holds the usual number of messages.
    """
    block = span.widen(before=ingest_lookback(fleet, span.start, span.end))
    grid = Grid(
        len(fleet.sites), block.start, (block.end - block.start) // fleet.interval, fleet.interval
    )
    stamp = frames.microseconds(telemetry["timestamp"])
    usable = usable_snapshots(fleet, telemetry, stamp, block, with_readings=False)
    staleness = per_window(fleet, block, "staleness_threshold_s").astype(np.int64) * 1_000_000
    seen = reduce_block(usable.snapshots, grid, ranges=[], staleness=staleness)
    first = (span.start - block.start) // fleet.interval
    starts = span.starts(fleet.interval)
    registered = np.array([site.active_from for site in fleet.sites], dtype=np.int64)
    is_here = registered[:, None] <= starts
    faults, fresh = seen.fault_count[:, first - 1 :], ~seen.is_stale[:, first - 1 :]
    moved = is_changed(seen.status[:, first - 1 :]) | (faults[:, 1:] > faults[:, :-1])
    moved &= fresh[:, 1:] & fresh[:, :-1]
    messages = (seen.n_snapshots + seen.n_duplicates)[:, first:]
    return Activity(
        starts=starts,
        interval=fleet.interval,
        n_sites=is_here.sum(axis=0),
        n_moved=(moved & is_here).sum(axis=0),
        n_messages=messages.sum(axis=0),
        n_fresh=(~seen.is_stale[:, first:] & is_here).sum(axis=0),
        usual_messages=_usual_messages(fleet, baseline, starts),
    )


def _usual_messages(
    fleet: Fleet, baseline: pd.DataFrame, starts: NDArray[np.int64]
) -> NDArray[np.float64]:
    days = frames.microseconds(baseline["window_start"])
    rates = baseline["message_rate"].to_numpy(np.float64)
    known = dict(zip(days[~np.isnan(rates)].tolist(), rates[~np.isnan(rates)], strict=True))
    usual = {
        day: known.get(training_day_in_force(fleet.start, day), np.nan)
        for day in np.unique(starts // DAY * DAY).tolist()
    }
    return np.array([usual[start // DAY * DAY] for start in starts.tolist()], dtype=np.float64)
