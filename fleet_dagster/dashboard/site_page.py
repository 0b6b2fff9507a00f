"""Everything of one site: how it stands, each KPI in its own unit with what is usual, health and anomaly over time."""

import dataclasses
import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from starlette.datastructures import QueryParams

from fleet_dagster.core.sampling import training_day_in_force
from fleet_dagster.core.windows import DAY, SECOND, Span, floor_to
from fleet_dagster.dashboard.access import Refused
from fleet_dagster.dashboard.courses import Grid, Series
from fleet_dagster.dashboard.history import LONGEST, site_series, span_of
from fleet_dagster.frames.columns import microseconds
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import BASELINE, CENTRE_NAMES, KPI_NAMES, SCALE_NAMES, SITE_KPI
from fleet_dagster.nodes.dashboard_sink import patience_s
from fleet_dagster.storage.site_status import site_status
from fleet_dagster.storage.status import newest_whole_end
from fleet_dagster.storage.store import Store

Json = dict[str, Any]  # Any: JSON


def site_page(store: Store, config: FleetConfig, site: str, query: QueryParams) -> Json:
    """Return what is shown of a site over a range.

    Raises
    ------
    Refused
        The fleet has no such site in its newest window, or the range cannot be read.
    """
    grid = Grid(span_of(store, config, query, longest=LONGEST["site"]), config.interval_s * SECOND)
    end = newest_whole_end(store, config.name, patience_s=patience_s(config))
    window = Span(max(0, (end or 0) - grid.interval), end or 0)
    status = site_status(store, config.name, site, window)
    if status is None:
        raise Refused(404, f"site {site[:128]!r} is not in the newest window. Search for another")
    health, anomaly, *_ = (grid.shown(s) for s in site_series(store, config, grid, site))
    times = grid.times()
    return {
        "site": _plain(status),
        "thinned": grid.together > 1,
        "kpis": [{"t": times, **grid.shown(s)} for s in kpi_series(store, config, grid, site)],
        "health": {"t": times, **health},
        "anomaly": {"t": times, **anomaly},
    }


def kpi_series(store: Store, config: FleetConfig, grid: Grid, site: str) -> list[Series]:
    """Return a site's KPIs in their own units, each with the band that is usual of it where a baseline stands."""
    names = KPI_NAMES[: len(config.kpis)]
    rows = store.frame(
        SITE_KPI,
        config.name,
        grid.span,
        columns=["window_start", *names],
        where=pc.field("site_id") == site,
    )
    starts = microseconds(rows["window_start"])
    usual = _Usual(store, config, grid, site)
    found = []
    for k, (kpi, name) in enumerate(zip(config.kpis, names, strict=True)):
        shares = grid.placed(starts, rows[name].to_numpy(np.float64, na_value=np.nan))
        low, high = usual.band(k)
        scale = kpi.hi - kpi.lo
        has_band = not np.isnan(low).all()
        found.append(
            Series(
                kpi.name,
                kpi.name.replace("_", " "),
                kpi.unit,
                kpi.lo + scale * shares,
                kpi.lo + scale * low if has_band else None,
                kpi.lo + scale * high if has_band else None,
            )
        )
    return found


class _Usual:
    """What is usual of a site in each window of a grid, by the baseline in force that day."""

    def __init__(self, store: Store, config: FleetConfig, grid: Grid, site: str) -> None:
        self.grid = grid
        fleet = store.registry.fleet(config)
        self.rows: list[tuple[Span, pd.Series[Any], float]] = []  # Any: cells
        own = (pc.field("scope") == "site") & (pc.field("scope_id") == site)
        for day in grid.span.days():
            training = training_day_in_force(fleet.start, day.start)
            if training is None:
                continue
            rows = store.frame(BASELINE, config.name, Span(training, training + DAY), where=own)
            trained = rows[rows["state"] == "trained"]
            if len(trained):
                sigma = fleet.settings_at(day.start).deviation_sigma
                whole = Span(floor_to(day.start, DAY), floor_to(day.start, DAY) + DAY)
                self.rows.append((whole, trained.iloc[0], sigma))

    def band(self, k: int) -> tuple[Any, Any]:  # Any: arrays of shares
        """Return the edges of what is usual of the k-th KPI, as shares of its range."""
        starts = self.grid.starts
        low, high = np.full(starts.size, np.nan), np.full(starts.size, np.nan)
        for day, row, sigma in self.rows:
            here = (starts >= day.start) & (starts < day.end)
            centre, scale = row[CENTRE_NAMES[k]], row[SCALE_NAMES[k]]
            if not (pd.isna(centre) or pd.isna(scale)):
                low[here], high[here] = centre - sigma * scale, centre + sigma * scale
        return low, high


def _plain(value: Any) -> Any:  # Any: JSON
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dt.datetime):
        return f"{value.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return dict(value) if isinstance(value, dict) else value
