"""`fleet_aggregator`: weighted means site -> region -> fleet, exact in any order and split."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core.exact import power_of_two_above
from fleet_dagster.core.rollup import GroupSums, counts_by_group, group_sums, lowest
from fleet_dagster.core.windows import Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.assignment import AssignedRun, assigned_runs
from fleet_dagster.frames.site_grids import SiteGrids, site_grids
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.tables import FLEET_KPI, N_KPIS, REGION_KPI, STATUS_NAMES

N_PARTS = 3
Columns = dict[str, Any]  # Any: arrays, categoricals and series alike


@dataclass(frozen=True, slots=True)
class Rollup:
    """What one call yields."""

    fleet_kpi: pd.DataFrame
    region_kpi: pd.DataFrame


def fleet_aggregator(
    fleet: Fleet, site_kpi: pd.DataFrame, assignment: pd.DataFrame, span: Span
) -> Rollup:
    """Roll the site rows of `span` up to regions and to the fleet."""
    grids = site_grids(fleet, site_kpi, span)
    fleets, regions = [], []
    for run in assigned_runs(fleet, assignment, span):
        sums = _sums(fleet, grids, run)
        fleets.append(_fleet_rows(fleet, grids, run, sums))
        regions.append(_region_rows(fleet, grids, run, sums))
    return Rollup(frames.concat(FLEET_KPI, fleets), frames.concat(REGION_KPI, regions))


def _scale(run: AssignedRun) -> float:
    """Return what brings the weights of a run into [0, 1] without losing a bit."""
    return power_of_two_above(float(run.weight.max(initial=0.0)))


def _registered(run: AssignedRun) -> GroupSums:
    """Return the sums over registered sites, fresh or not: their weights are what coverage is a share of."""
    ones = np.ones((run.weight.size, 1))
    return group_sums([ones], run.weight / _scale(run), run.region, len(run.regions))


def _sums(fleet: Fleet, grids: SiteGrids, run: AssignedRun) -> GroupSums:
    part = grids.window_slice(run.span, fleet.interval)
    health = grids.health
    values = [
        health.kpi[:, part],
        health.uptime[:, part],
        health.fault[:, part],
        *(k[:, part] for k in grids.kpis),
    ]
    return group_sums(values, run.weight / _scale(run), run.region, len(run.regions))


def _fleet_rows(fleet: Fleet, grids: SiteGrids, run: AssignedRun, sums: GroupSums) -> pd.DataFrame:
    part = grids.window_slice(run.span, fleet.interval)
    whole = sums.whole()
    everyone = np.where(run.is_active, 0, -1)
    scores = np.where(run.is_active[:, None], grids.health.score[:, part], np.nan)
    registered = float(_registered(run).whole().weights()[0][0, 0])
    n = scores.shape[1]
    columns: Columns = {
        **_windows(fleet, run.span, 1),
        "total_sites": np.full(n, run.is_active.sum(), dtype=np.int32),
        **_status_counts(grids.status[:, part], everyone, 1),
        "unmapped_count": np.full(n, (run.is_active & ~run.is_mapped).sum(), dtype=np.int32),
        **_mean_columns(whole, "fleet_health"),
        "health_min": _extreme(np.fmin, scores),
        "health_max": _extreme(np.fmax, scores),
        "health_stderr": np.zeros(n),
        "anomaly_count": pd.array([pd.NA] * n, dtype="Int32"),
        "ingestion_mode": frames.names(np.zeros(n, dtype=np.int64), ["full"]),
        "coverage": _coverage(whole.weights()[0].ravel(), np.full(n, registered)),
        "sampled_fraction": np.ones(n),
    }
    return frames.frame_of(FLEET_KPI, columns)


def _region_rows(fleet: Fleet, grids: SiteGrids, run: AssignedRun, sums: GroupSums) -> pd.DataFrame:
    part = grids.window_slice(run.span, fleet.interval)
    n_regions, n = len(run.regions), (run.span.end - run.span.start) // fleet.interval
    n_sites = np.bincount(run.region[run.is_active], minlength=n_regions)
    registered, scale = _registered(run).weights()[0].ravel(), _scale(run)
    health_min, worst = lowest(grids.health.score[:, part], run.region, n_regions)
    columns: Columns = {
        **_windows(fleet, run.span, n_regions),
        "region_id": frames.names(np.tile(np.arange(n_regions), n), run.regions),
        "n_sites": np.tile(n_sites, n).astype(np.int32),
        **_status_counts(grids.status[:, part], run.region, n_regions),
        "weight": (sums.weights()[0] * scale).T.ravel(),
        "registered_weight": np.tile(registered * scale, n),
        **_mean_columns(sums, ""),
        "health_min": health_min.T.ravel(),
        "worst_site_id": frames.names(worst.T.ravel(), [s.site_id for s in fleet.sites]),
        "anomaly_count": pd.array([pd.NA] * (n * n_regions), dtype="Int32"),
        "sampled_fraction": np.ones(n * n_regions),
        "health_stderr": np.zeros(n * n_regions),
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


def _mean_columns(sums: GroupSums, health_name: str) -> Columns:
    """Return the parts, their sum where it is asked for, and the KPI means, windows first."""
    means = [m.T.ravel() for m in sums.means()]
    kpi, uptime, fault = (np.nan_to_num(m) for m in means[:N_PARTS])
    absent = np.full(kpi.size, np.nan)
    kpi_means = [*means[N_PARTS:], *[absent] * (N_KPIS - len(means) + N_PARTS)]
    health = {health_name: np.clip(kpi + uptime + fault, 0.0, 1.0)} if health_name else {}
    return {
        **health,
        "kpi_part": kpi,
        "uptime_part": uptime,
        "fault_part": fault,
        **{f"mean_kpi_{k:02d}": mean.astype(np.float32) for k, mean in enumerate(kpi_means)},
    }


def _extreme(choose: np.ufunc, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(choose.reduce(scores, axis=0, initial=np.nan), dtype=np.float64)


def _coverage(weight: NDArray[np.float64], registered: NDArray[np.float64]) -> NDArray[np.float64]:
    share = np.divide(weight, registered, out=np.zeros(weight.shape), where=registered > 0)
    return np.clip(share, 0.0, 1.0)
