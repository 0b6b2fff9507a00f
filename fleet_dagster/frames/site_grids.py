"""Site rows on a grid of sites x windows, with each site's health: what every rollup and ranking starts from."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core.health import HealthParts, combine_parts, goodness_of_kpi, weighted_goodness
from fleet_dagster.core.windows import Span
from fleet_dagster.frames.columns import Scatter
from fleet_dagster.frames.window_inputs import is_read
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.tables import KPI_NAMES, OFFLINE

COLUMNS = (
    "window_start",
    "site_id",
    *KPI_NAMES,
    "uptime_pct",
    "fault_count",
    "last_seen",
    "status",
    "published",
)
"""Columns of `site_kpi` that are looked at."""


@dataclass(frozen=True, slots=True)
class SiteGrids:
    """Arrays of shape (n_sites, n_windows) over the site axis; stale and missing sites have NaN health, uptime and faults.

    In a storm, so has the health of sites that are not read.
    """

    span: Span
    health: HealthParts
    uptime: NDArray[np.float64]
    faults: NDArray[np.float64]
    is_fresh: NDArray[np.bool_]
    status: NDArray[np.int8]
    published: NDArray[np.bool_]
    kpis: list[NDArray[np.float64]]

    def window_slice(self, span: Span, interval: int) -> slice:
        """Return the columns of a span within this grid."""
        return slice(
            (span.start - self.span.start) // interval, (span.end - self.span.start) // interval
        )


def site_grids(fleet: Fleet, site_kpi: pd.DataFrame, span: Span) -> SiteGrids:
    """Put the site rows of `span` on a grid and score each site's health, weights as of each window."""
    n_windows = (span.end - span.start) // fleet.interval
    scatter = Scatter.of(
        site_kpi, fleet.site_numbers, start=span.start, interval=fleet.interval, n_windows=n_windows
    )
    kpis = [scatter.grid(site_kpi[KPI_NAMES[k]], np.nan) for k in range(len(fleet.config.kpis))]
    uptime, faults = (
        scatter.grid(site_kpi[name], np.nan) for name in ("uptime_pct", "fault_count")
    )
    is_fresh = scatter.grid(site_kpi["last_seen"].notna(), False, np.bool_)
    uptime, faults = (np.where(is_fresh, known, np.nan) for known in (uptime, faults))
    read = is_read(fleet, span)
    seen = (uptime, faults) if read.all() else (np.where(read, k, np.nan) for k in (uptime, faults))
    return SiteGrids(
        span=span,
        health=_health(fleet, span, kpis, *seen),
        uptime=uptime,
        faults=faults,
        is_fresh=is_fresh,
        status=scatter.grid(site_kpi["status"], OFFLINE, np.int8),
        published=scatter.grid(site_kpi["published"], False, np.bool_),
        kpis=kpis,
    )


def _health(
    fleet: Fleet,
    span: Span,
    kpis: list[NDArray[np.float64]],
    uptime: NDArray[np.float64],
    faults: NDArray[np.float64],
) -> HealthParts:
    pieces = [] if uptime.shape[1] else [HealthParts(uptime, uptime, faults)]
    for run in fleet.settings_runs(span.start, span.end):
        part = slice(
            (run.start - span.start) // fleet.interval, (run.end - span.start) // fleet.interval
        )
        weights = run.version.settings.health_weights
        columns = (
            goodness_of_kpi(u[:, part], kpi) for u, kpi in zip(kpis, fleet.config.kpis, strict=True)
        )
        pieces.append(
            combine_parts(
                weighted_goodness(columns, weights, uptime[:, part].shape),
                weights,
                uptime[:, part],
                faults[:, part],
            )
        )
    return HealthParts(
        *(
            np.concatenate([getattr(p, name) for p in pieces], axis=1)
            for name in ("kpi", "uptime", "fault")
        )
    )
