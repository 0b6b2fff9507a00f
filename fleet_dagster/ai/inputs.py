"""What models are fed, computed from site rows and anomaly scores: features on grids of sites x windows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.frames.assignment import region_grid
from fleet_dagster.frames.columns import Coded, Scatter
from fleet_dagster.frames.site_grids import SiteGrids, site_grids
from fleet_dagster.frames.surroundings import dependences
from fleet_dagster.model.features import Feature, parse_feature
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.tables import ALL_DOMAINS

Grid = NDArray[np.float64]
"""One value for each site and window, shape (n_sites, n_windows); NaN where there is none."""


@dataclass(frozen=True)
class SlotInputs:
    """Everything that the router and the models look at, over a span and `reach` windows before it."""

    fleet: Fleet
    span: Span
    reach: int
    sites: SiteGrids
    regions: Coded
    """Region of each site in each window of the block, shape (n_windows, n_sites)."""
    scores: Mapping[str, Grid]
    """`score` and `baseline_sigma` over all KPIs."""
    _terms: dict[tuple[str, str], Grid] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        fleet: Fleet,
        site_kpi: pd.DataFrame,
        anomaly_score: pd.DataFrame,
        assignment: pd.DataFrame,
        span: Span,
        *,
        reach: int,
    ) -> "SlotInputs":
        """Put the rows of a span, and of `reach` windows before it, on grids."""
        block = span.widen(before=reach * fleet.interval)
        overall = anomaly_score[
            (anomaly_score["domain"] == ALL_DOMAINS).to_numpy(np.bool_)
            & (anomaly_score["state"] != "not_scored").to_numpy(np.bool_)
        ]
        scatter = Scatter.of(
            overall,
            fleet.site_numbers,
            start=block.start,
            interval=fleet.interval,
            n_windows=(block.end - block.start) // fleet.interval,
        )
        return cls(
            fleet=fleet,
            span=span,
            reach=reach,
            sites=site_grids(fleet, site_kpi, block),
            regions=region_grid(fleet, assignment, block),
            scores={n: scatter.grid(overall[n], np.nan) for n in ("score", "baseline_sigma")},
        )

    @property
    def block(self) -> Span:
        """The span and what lies before it."""
        return self.sites.span

    @property
    def n_windows(self) -> int:
        """Windows of the span itself."""
        return (self.span.end - self.span.start) // self.fleet.interval

    def own(self, grid: Grid) -> Grid:
        """Return the windows of the span itself."""
        return grid[:, self.reach :]

    def matrix(
        self, features: Sequence[str], site: NDArray[np.int64], window: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return the inputs of some site-windows, shape (n_rows, n_features); windows count from the start of the span."""
        out = np.empty((site.size, len(features)), dtype=np.float32)
        for k, text in enumerate(features):
            out[:, k] = self._values(parse_feature(text), site, window + self.reach)
        return out

    def _values(
        self, feature: Feature, site: NDArray[np.int64], window: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        term = self._term(feature)
        if not feature.summary:
            return np.asarray(term[site, window - feature.lag])
        # each value is summed from its own windows in their order, so that its bits do not depend on the span
        runs = sliding_window_view(term, feature.length, axis=1)
        return _SUMMARIES[feature.summary](runs[site, window - feature.length + 1])

    def _term(self, feature: Feature) -> Grid:
        key = (feature.scope, feature.source)
        if key not in self._terms:
            own = self._source(feature.source)
            around = {
                "site": lambda: own,
                "region": lambda: self._of_region(own),
                "upstream": lambda: self._of_upstream(own),
            }
            self._terms[key] = around[feature.scope]()
        return self._terms[key]

    def _source(self, name: str) -> Grid:
        if name in self.fleet.config.kpi_names:
            return self.sites.kpis[self.fleet.config.kpi_names.index(name)]
        status = np.where(self._is_there, self.sites.status, np.nan)
        angle = 2 * np.pi * (self._starts % DAY) / DAY
        sources: dict[str, Callable[[], Grid]] = {
            "site.status": lambda: status,
            "site.uptime_pct": lambda: self.sites.uptime,
            "site.fault_count": lambda: self.sites.faults,
            "site.health": lambda: self.sites.health.score,
            "site.anomaly_score": lambda: self.scores["score"],
            "site.baseline_sigma": lambda: self.scores["baseline_sigma"],
            "time.hour_sin": lambda: np.broadcast_to(np.sin(angle), status.shape),
            "time.hour_cos": lambda: np.broadcast_to(np.cos(angle), status.shape),
        }
        return sources[name]()

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.asarray(self.block.starts(self.fleet.interval), dtype=np.int64)

    @cached_property
    def _is_there(self) -> NDArray[np.bool_]:
        """Which sites the fleet has in each window, shape (n_sites, n_windows)."""
        return np.ascontiguousarray(self.regions.codes.T >= 0)

    def _of_region(self, own: Grid) -> Grid:
        """Return the mean over the region's sites."""
        codes, values = self.regions.codes, own.T
        n_windows = len(codes)
        n_regions = len(self.regions.vocabulary)
        counts = (codes >= 0) & ~np.isnan(values)
        cell = codes + np.arange(n_windows)[:, None] * n_regions
        size = n_windows * n_regions
        total = np.bincount(cell[counts], weights=values[counts], minlength=size)
        number = np.bincount(cell[counts], minlength=size)
        mean = np.divide(total, number, out=np.full(size, np.nan), where=number > 0)
        return np.asarray(np.where(codes >= 0, mean[np.maximum(cell, 0)], np.nan).T)

    def _of_upstream(self, own: Grid) -> Grid:
        """Return the mean over the sites that a site depends on."""
        out = np.full(own.shape, np.nan)
        for run, edges in dependences(self.fleet, self.block):
            part = self.sites.window_slice(run, self.fleet.interval)
            upstream: dict[int, list[int]] = {}
            for up, site in edges:
                upstream.setdefault(site, []).append(up)
            for site, ups in upstream.items():
                out[site, part] = _mean(own[sorted(ups), part].T)
        return out


def _mean(runs: Grid) -> NDArray[np.float64]:
    """Return the mean along the last axis, of what is there."""
    counts = np.sum(~np.isnan(runs), axis=-1)
    total = np.nansum(runs, axis=-1)
    return np.asarray(np.divide(total, counts, out=np.full(counts.shape, np.nan), where=counts > 0))


def _std(runs: Grid) -> NDArray[np.float64]:
    return np.sqrt(_mean((runs - _mean(runs)[..., None]) ** 2))


def _slope(runs: Grid) -> NDArray[np.float64]:
    """Return the least-squares slope per window, of what is there; NaN below two values."""
    time = np.where(np.isnan(runs), np.nan, np.arange(runs.shape[-1], dtype=np.float64))
    off = time - _mean(time)[..., None]
    spread = np.nansum(off**2, axis=-1)
    shared = np.nansum(off * (runs - _mean(runs)[..., None]), axis=-1)
    return np.asarray(
        np.divide(shared, spread, out=np.full(spread.shape, np.nan), where=spread > 0)
    )


def _extreme(reduce: Callable[..., NDArray[np.float64]], empty: float) -> Callable[[Grid], Grid]:
    def extreme(runs: Grid) -> Grid:
        found = reduce(np.where(np.isnan(runs), empty, runs), axis=-1)
        return np.asarray(np.where(np.isinf(found), np.nan, found))

    return extreme


_SUMMARIES: dict[str, Callable[[Grid], NDArray[np.float64]]] = {
    "mean": _mean,
    "std": _std,
    "slope": _slope,
    "min": _extreme(np.min, np.inf),
    "max": _extreme(np.max, -np.inf),
}
