"""Fleet health added up from the simulated snapshots by the book, in float64 and without any of the product's kernels."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.simulated_day import STEP_S, TODAY, SimulatedDay
from fleet_dagster.core.windows import SECOND
from fleet_dagster.frames.columns import microseconds
from fleet_dagster.model.config import FleetConfig, Kpi
from fleet_dagster.model.tables import READING_NAMES

Grid = NDArray[np.float64]
_CARRIED = 1
"""Windows for which a silent site's last values stand: it is stale when its last snapshot is two windows old."""


def largest_difference(day: SimulatedDay, fleet_kpi: pd.DataFrame) -> float:
    """Return how far the fleet's health lies from the naive one, in the window where it is furthest."""
    return float(np.abs(naive_health(day) - fleet_kpi["fleet_health"].to_numpy()).max())


def naive_health(day: SimulatedDay) -> Grid:
    """Return the fleet's health in each window: a weighted mean of the sites whose last snapshot is fresh."""
    interval = STEP_S * SECOND
    span = TODAY.widen(before=_CARRIED * interval)
    rows = day.read(span)
    health = np.full(((span.end - span.start) // interval, day.n_sites), np.nan)
    names = {m.site_id: i for i, m in enumerate(day.config.region_mappings)}
    site = np.array([names[name] for name in rows["site_id"].astype(str)])
    window = (microseconds(rows["timestamp"]) - span.start) // interval
    health[window, site] = _health(day.config, rows)
    carried = np.where(np.isnan(health[1:]), health[:-1], health[1:])
    weight = np.array([m.weight for m in day.config.region_mappings])
    there = ~np.isnan(carried)
    return np.asarray((np.nan_to_num(carried) * weight).sum(axis=1) / (there * weight).sum(axis=1))


def _health(config: FleetConfig, rows: pd.DataFrame) -> Grid:
    """Return the health that each snapshot would give its site."""
    own = config.health_weights
    top, bottom = np.zeros(len(rows)), 0.0
    for kpi, weight, name in zip(config.kpis, own.weights, READING_NAMES, strict=True):
        good = _goodness(rows[name].to_numpy(np.float64), kpi)
        top, bottom = top + weight * good, bottom + weight
    uptime = rows["uptime_pct"].to_numpy(np.float64) / 100
    faults = np.exp(-rows["fault_count"].to_numpy(np.float64) / 5)
    share = 1 - own.uptime_weight - own.fault_weight
    return np.asarray(share * top / bottom + own.uptime_weight * uptime + own.fault_weight * faults)


def _goodness(reading: Grid, kpi: Kpi) -> Grid:
    """Return how good a reading is in [0, 1]: linear over the range, or a trapezoid around a target."""
    knots, goods = [kpi.lo, kpi.hi], [0.0, 1.0]
    if kpi.direction == "lower":
        goods = [1.0, 0.0]
    if kpi.target_lo is not None and kpi.target_hi is not None:
        knots, goods = [kpi.lo, kpi.target_lo, kpi.target_hi, kpi.hi], [0.0, 1.0, 1.0, 0.0]
    return np.asarray(np.interp(reading, knots, goods))
