"""`fleet_aggregator`: weighted means site -> region -> fleet, exact in any order and split."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core.rollup import counts_by_group, lowest
from fleet_dagster.core.windows import Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.assignment import AssignedRun, assigned_runs
from fleet_dagster.frames.group_means import GroupMeans, Means, group_means
from fleet_dagster.frames.site_grids import SiteGrids, site_grids
from fleet_dagster.frames.window_inputs import modes_of
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.tables import (
    FLEET_KPI,
    INGESTION_MODES,
    N_KPIS,
    REGION_KPI,
    STATUS_NAMES,
)

Columns = dict[str, Any]  # Any: arrays, categoricals and series alike


@dataclass(frozen=True, slots=True)
class Rollup:
    """What one call yields."""

    fleet_kpi: pd.DataFrame
    region_kpi: pd.DataFrame


def fleet_aggregator(
    fleet: Fleet,
    site_kpi: pd.DataFrame,
    assignment: pd.DataFrame,
    anomaly_score: pd.DataFrame,
    span: Span,
) -> Rollup:
    """Roll the site rows of `span` up to regions and to the fleet: exactly, and in storms from the panel's KPIs.

    `anomaly_score` says which sites are anomalous; of it only the windows, sites, states and flags are looked at.
    """
    grids = site_grids(fleet, site_kpi, span)
    anomalies = _Anomalies.of(fleet, anomaly_score, span)
    fleets, regions = [], []
    for run in assigned_runs(fleet, assignment, span):
        for part, means in group_means(fleet, grids, run):
            fleets.append(_fleet_rows(fleet, grids, anomalies, part, means))
            regions.append(_region_rows(fleet, grids, anomalies, part, means))
    return Rollup(frames.concat(FLEET_KPI, fleets), frames.concat(REGION_KPI, regions))


@dataclass(frozen=True, slots=True)
class _Anomalies:
    """Which sites are scored in a window, and anomalous in any domain; shape (n_sites, n_windows)."""

    is_scored: NDArray[np.bool_]
    is_anomalous: NDArray[np.bool_]

    @classmethod
    def of(cls, fleet: Fleet, anomaly_score: pd.DataFrame, span: Span) -> "_Anomalies":
        n_windows = (span.end - span.start) // fleet.interval
        flags = []
        for wanted in (
            (anomaly_score["state"] != "not_scored").to_numpy(np.bool_),
            anomaly_score["is_anomalous"].to_numpy(np.bool_),
        ):
            rows = anomaly_score.loc[wanted, ["window_start", "site_id"]]
            scatter = frames.Scatter.of(
                rows,
                fleet.site_numbers,
                start=span.start,
                interval=fleet.interval,
                n_windows=n_windows,
            )
            flags.append(
                scatter.grid(pd.Series(np.ones(len(rows), dtype=np.bool_)), False, np.bool_)
            )
        return cls(*flags)

    def counts(self, groups: NDArray[np.int64], n_groups: int, windows: slice) -> pd.Series:
        """Count the anomalous sites of each group, windows first; null where no site of it is scored."""
        n_scored, n_anomalous = (
            counts_by_group(flags[:, windows], groups, n_groups).T.ravel()
            for flags in (self.is_scored, self.is_anomalous)
        )
        return pd.Series(n_anomalous.astype(np.int32)).astype("Int32").mask(n_scored == 0)


def _fleet_rows(
    fleet: Fleet, grids: SiteGrids, anomalies: _Anomalies, run: AssignedRun, means: GroupMeans
) -> pd.DataFrame:
    part = grids.window_slice(run.span, fleet.interval)
    everyone = np.where(run.is_active, 0, -1)
    scores = np.where(run.is_active[:, None], grids.health.score[:, part], np.nan)
    n = scores.shape[1]
    own = means.of_fleet
    columns: Columns = {
        **_windows(fleet, run.span, 1),
        "total_sites": np.full(n, run.is_active.sum(), dtype=np.int32),
        **_status_counts(grids.status[:, part], everyone, 1),
        "unmapped_count": np.full(n, (run.is_active & ~run.is_mapped).sum(), dtype=np.int32),
        **_mean_columns(own, "fleet_health"),
        "health_min": _extreme(np.fmin, scores),
        "health_max": _extreme(np.fmax, scores),
        "health_stderr": own.stderr.ravel(),
        "anomaly_count": anomalies.counts(everyone, 1, part),
        "ingestion_mode": frames.names(modes_of(fleet, run.span).astype(np.int64), INGESTION_MODES),
        "coverage": _coverage(own.weight.ravel(), np.repeat(own.registered, n)),
        "sampled_fraction": np.repeat(own.sampled_fraction, n),
    }
    return frames.frame_of(FLEET_KPI, columns)


def _region_rows(
    fleet: Fleet, grids: SiteGrids, anomalies: _Anomalies, run: AssignedRun, means: GroupMeans
) -> pd.DataFrame:
    part = grids.window_slice(run.span, fleet.interval)
    n_regions, n = len(run.regions), (run.span.end - run.span.start) // fleet.interval
    n_sites = np.bincount(run.region[run.is_active], minlength=n_regions)
    health_min, worst = lowest(grids.health.score[:, part], run.region, n_regions)
    own = means.of_regions
    columns: Columns = {
        **_windows(fleet, run.span, n_regions),
        "region_id": frames.names(np.tile(np.arange(n_regions), n), run.regions),
        "n_sites": np.tile(n_sites, n).astype(np.int32),
        **_status_counts(grids.status[:, part], run.region, n_regions),
        "weight": own.weight.T.ravel(),
        "registered_weight": np.tile(own.registered, n),
        **_mean_columns(own, ""),
        "health_min": health_min.T.ravel(),
        "worst_site_id": frames.names(worst.T.ravel(), [s.site_id for s in fleet.sites]),
        "anomaly_count": anomalies.counts(run.region, n_regions, part),
        "sampled_fraction": np.tile(own.sampled_fraction, n),
        "health_stderr": own.stderr.T.ravel(),
    }
    rows = frames.frame_of(REGION_KPI, columns)
    return rows[rows["n_sites"] > 0].reset_index(drop=True)


def _windows(fleet: Fleet, span: Span, n_groups: int) -> Columns:
    starts = np.repeat(span.starts(fleet.interval), n_groups)
    return {
        "window_start": frames.stamps(starts),
        "window_end": frames.stamps(starts + fleet.interval),
    }


def _status_counts(status: NDArray[np.int8], groups: NDArray[np.int64], n_groups: int) -> Columns:
    return {
        f"sites_{name}": counts_by_group(status == code, groups, n_groups)
        .T.ravel()
        .astype(np.int32)
        for code, name in enumerate(STATUS_NAMES)
    }


def _mean_columns(means: Means, health_name: str) -> Columns:
    """Return the parts, their sum where it is asked for, and the KPI means, windows first."""
    kpi, uptime, fault = (part.T.ravel() for part in means.parts)
    absent = np.full(kpi.size, np.nan)
    kpis = [mean.T.ravel() for mean in means.kpis]
    health = {health_name: np.clip(kpi + uptime + fault, 0.0, 1.0)} if health_name else {}
    return {
        **health,
        "kpi_part": kpi,
        "uptime_part": uptime,
        "fault_part": fault,
        **{
            f"mean_kpi_{k:02d}": (kpis[k] if k < len(kpis) else absent).astype(np.float32)
            for k in range(N_KPIS)
        },
    }


def _extreme(choose: np.ufunc, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(choose.reduce(scores, axis=0, initial=np.nan), dtype=np.float64)


def _coverage(weight: NDArray[np.float64], registered: NDArray[np.float64]) -> NDArray[np.float64]:
    share = np.divide(weight, registered, out=np.zeros(weight.shape), where=registered > 0)
    return np.clip(share, 0.0, 1.0)
