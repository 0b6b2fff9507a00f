"""`performance_comparator`: each site's rank within region and fleet, and whether it is the odd one out."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core.ranking import (
    DEFAULT_MAD,
    competition_ranks,
    exceeds,
    modified_z_scores,
    persistent,
)
from fleet_dagster.core.sampling import training_day_in_force
from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.assignment import AssignedRun, assigned_runs
from fleet_dagster.frames.site_grids import SiteGrids, site_grids
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import (
    PERSISTENCE_MINIMUM,
    PERSISTENCE_WINDOWS,
    persistence_lookback,
)
from fleet_dagster.model.tables import SITE_RANKING

SCOPES = ("none", "region", "fleet", "both")
Mads = dict[tuple[str, str], float]
"""Long-run MAD by scope and scope id."""
_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True, slots=True)
class _Placed:
    """Ranks and modified Z-scores of one run, each of shape (n_windows, n_sites)."""

    rank_in_region: NDArray[np.int64]
    rank_in_fleet: NDArray[np.int64]
    z_region: NDArray[np.float64]
    z_fleet: NDArray[np.float64]
    region: NDArray[np.int64]
    sigma: NDArray[np.float64]


def performance_comparator(
    fleet: Fleet,
    site_kpi: pd.DataFrame,
    assignment: pd.DataFrame,
    baseline: pd.DataFrame,
    span: Span,
) -> pd.DataFrame:
    """Rank the fresh sites of `span`; only published site-windows get a row.

    `site_kpi` and `assignment` reach back by `persistence_lookback`; `baseline` holds the rows of every training day in
    force from there on (none before the first training day: the long-run MAD is then 0.05).
    """
    block = span.widen(before=persistence_lookback(fleet))
    grids = site_grids(fleet, site_kpi, block)
    runs = [
        piece
        for run in assigned_runs(fleet, assignment, block)
        for piece in _by_day_and_settings(fleet, run)
    ]
    if not runs:
        return frames.empty_frame(SITE_RANKING)
    scores = np.ascontiguousarray(grids.health.score.T)
    placed = _join(
        [
            _place(
                run,
                scores[grids.window_slice(run.span, fleet.interval)],
                sigma=sigma,
                mads=_long_run_mads(fleet, run, baseline),
                fleet_name=fleet.name,
            )
            for run, sigma in runs
        ]
    )
    return _rows(fleet, grids, placed, scores=scores, span=span, regions=runs[-1][0].regions)


def _by_day_and_settings(fleet: Fleet, run: AssignedRun) -> list[tuple[AssignedRun, float]]:
    """Cut a run where the baseline in force or the outlier threshold may change."""
    return [
        (
            AssignedRun(day, run.regions, run.region, run.weight, run.is_mapped),
            settings.version.settings.outlier_sigma,
        )
        for settings in fleet.settings_runs(run.span.start, run.span.end)
        for day in Span(settings.start, settings.end).steps(DAY)
    ]


def _place(
    run: AssignedRun,
    scores: NDArray[np.float64],
    *,
    sigma: float,
    mads: Mads,
    fleet_name: str,
) -> _Placed:
    rank_in_region, z_region = _unplaced(scores.shape)
    for r, region_id in enumerate(run.regions):
        mad = mads.get(("region", region_id), DEFAULT_MAD)
        _place_group(scores, run.region == r, mad, rank_in_region, z_region)
    rank_in_fleet, z_fleet = _unplaced(scores.shape)
    mad = mads.get(("fleet", fleet_name), DEFAULT_MAD)
    _place_group(scores, run.is_active, mad, rank_in_fleet, z_fleet)
    return _Placed(
        rank_in_region=rank_in_region,
        rank_in_fleet=rank_in_fleet,
        z_region=z_region,
        z_fleet=z_fleet,
        region=np.broadcast_to(run.region, scores.shape),
        sigma=np.full(scores.shape[0], sigma),
    )


def _unplaced(shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    return np.zeros(shape, dtype=np.int64), np.full(shape, np.nan)


def _place_group(
    scores: NDArray[np.float64],
    is_member: NDArray[np.bool_],
    mad: float,
    rank: NDArray[np.int64],
    z: NDArray[np.float64],
) -> None:
    """Place the members among themselves; sites outside the group, registered later perhaps, leave no trace."""
    members = np.flatnonzero(is_member)
    if members.size:
        group = np.ascontiguousarray(scores[:, members])
        rank[:, members] = competition_ranks(group)
        z[:, members] = modified_z_scores(group, mad)


def _long_run_mads(fleet: Fleet, run: AssignedRun, baseline: pd.DataFrame) -> Mads:
    day = training_day_in_force(fleet.start, run.span.start)
    if day is None or baseline.empty:
        return {}
    rows = baseline[
        (frames.microseconds(baseline["window_start"]) == day) & baseline["mad"].notna().to_numpy()
    ]
    return {
        (str(s), str(i)): float(m)
        for s, i, m in zip(rows["scope"], rows["scope_id"], rows["mad"], strict=True)
    }


def _join(pieces: list[_Placed]) -> _Placed:
    return _Placed(
        *(np.concatenate([getattr(p, name) for p in pieces]) for name in _Placed.__slots__)
    )


def _rows(
    fleet: Fleet,
    grids: SiteGrids,
    placed: _Placed,
    *,
    scores: NDArray[np.float64],
    span: Span,
    regions: tuple[str, ...],
) -> pd.DataFrame:
    odd_region, odd_fleet = (
        exceeds(z, placed.sigma[:, None]) for z in (placed.z_region, placed.z_fleet)
    )
    lasting = persistent(
        odd_region | odd_fleet, at_least=PERSISTENCE_MINIMUM, of=PERSISTENCE_WINDOWS
    )
    first = grids.window_slice(span, fleet.interval).start
    keep = np.ascontiguousarray(grids.published.T[first:]) & (placed.rank_in_fleet[first:] > 0)
    window, site = np.nonzero(keep)
    n_fresh = np.sum(placed.rank_in_fleet[first:] > 0, axis=1)
    starts = span.start + window * fleet.interval

    def flat(grid: NDArray[_Value]) -> NDArray[_Value]:
        return grid[first:][keep]

    rank = flat(placed.rank_in_fleet)
    columns = {
        "window_start": frames.stamps(starts),
        "window_end": frames.stamps(starts + fleet.interval),
        "site_id": frames.names(site, [s.site_id for s in fleet.sites]),
        "region_id": frames.names(flat(placed.region), regions),
        "composite_score": flat(scores),
        "rank_in_region": flat(placed.rank_in_region).astype(np.int32),
        "rank_in_fleet": rank.astype(np.int32),
        "percentile": 100.0 * (1.0 - (rank - 1) / n_fresh[window]),
        "modified_z_region": flat(placed.z_region),
        "modified_z_fleet": flat(placed.z_fleet),
        "is_outlier": flat(odd_region | odd_fleet),
        "is_persistent_outlier": flat(lasting),
        "outlier_scope": frames.names(
            flat(odd_region).astype(np.int64) + 2 * flat(odd_fleet), SCOPES
        ),
    }
    return frames.frame_of(SITE_RANKING, columns)
