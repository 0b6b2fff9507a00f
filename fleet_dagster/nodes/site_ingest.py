"""`site_ingest`: landed snapshots to one row per site and window, with every snapshot accounted for."""

from concurrent.futures import Executor
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core import publication
from fleet_dagster.core.dedup import duplicates
from fleet_dagster.core.reduction import NEVER, Reduced, reduce_block
from fleet_dagster.core.snapshots import Grid, Snapshots
from fleet_dagster.core.windows import Span, floor_to
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.assignment import region_grid
from fleet_dagster.frames.snapshots import usable_snapshots
from fleet_dagster.frames.window_inputs import is_read, modes_of, per_window, site_baselines
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import ingest_lookback
from fleet_dagster.model.tables import (
    DISPOSITIONS,
    INGEST_STATS,
    KPI_NAMES,
    ONLINE,
    QUARANTINE,
    SITE_KPI,
)

_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Ingested:
    """What one call yields: the reduced rows, the unusable snapshots, and the books."""

    site_kpi: pd.DataFrame
    quarantine: pd.DataFrame
    ingest_stats: pd.DataFrame


def site_ingest(
    fleet: Fleet,
    telemetry: pd.DataFrame,
    assignment: pd.DataFrame,
    baseline: pd.DataFrame,
    span: Span,
    *,
    threads: Executor | None = None,
) -> Ingested:
    """Reduce the snapshots of `span` to site rows, and decide which of them are published.

    `telemetry` holds landed snapshots from `ingest_lookback` before the span on; those outside the windows asked for only
    fill sites that are fresh but silent, and tell whose status changed. `baseline` holds the rows of every training day in
    force; only large fleets look at it.
    """
    block = span.widen(before=ingest_lookback(fleet, span.start, span.end))
    first = (span.start - block.start) // fleet.interval
    stamp = frames.microseconds(telemetry["timestamp"])
    usable = usable_snapshots(fleet, telemetry, stamp, block)
    grid = Grid(
        len(fleet.sites), block.start, (block.end - block.start) // fleet.interval, fleet.interval
    )
    dropped = duplicates(usable.snapshots)
    is_own = is_read(fleet, block)
    reduced = reduce_block(
        usable.snapshots,
        grid,
        ranges=[(kpi.lo, kpi.hi) for kpi in fleet.config.kpis],
        staleness=per_window(fleet, block, "staleness_threshold_s").astype(np.int64) * 1_000_000,
        dropped=dropped,
        is_read=None if is_own.all() else _needed(is_own, first - 1),
        threads=threads,
    )
    seen = _Seen.of(reduced, is_own, first)
    shed = _shed(usable.snapshots, grid, is_own)
    return Ingested(
        _site_rows(fleet, seen, assignment, span, _dispositions(fleet, seen, baseline, span)),
        _quarantine_rows(fleet, telemetry, stamp, span),
        _books(
            fleet,
            telemetry,
            stamp,
            span,
            is_duplicate=usable.flags(dropped),
            is_shed=usable.flags(shed),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """The windows asked for, cut from their block; KPIs that are not read are absent."""

    reduced: Reduced
    is_read: NDArray[np.bool_]
    is_changed: NDArray[np.bool_]

    @classmethod
    def of(cls, reduced: Reduced, is_read: NDArray[np.bool_], first: int) -> "_Seen":
        """Cut off the lookback; the status of its last window is what the first one asked for is compared with."""
        own = is_read[:, first:]
        cut = {f.name: getattr(reduced, f.name) for f in fields(Reduced)}
        cut = {name: grid[:, first:] for name, grid in cut.items() if name != "kpis"}
        kpis = [kpi[:, first:] for kpi in reduced.kpis]
        if not own.all():
            kpis = [np.where(own, kpi, np.float32(np.nan)) for kpi in kpis]
        changed = publication.is_changed(reduced.status[:, first - 1 :])
        return cls(Reduced(kpis=kpis, **cut), own, changed)


def _needed(is_own: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Tell which cells' KPIs are read, or may be carried into one that is, at most `reach` windows on."""
    window, never = np.arange(is_own.shape[1]), is_own.shape[1] + reach + 1
    following = np.where(is_own, window, never)[:, ::-1]
    following = np.minimum.accumulate(following, axis=1)[:, ::-1]
    return np.asarray(following - window <= reach)


def _shed(snapshots: Snapshots, grid: Grid, is_own: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the positions of the snapshots whose KPIs are not read."""
    if is_own.all():
        return np.empty(0, dtype=np.int64)
    cells = grid.cells(snapshots.site, snapshots.timestamp)
    return np.flatnonzero(~is_own.ravel()[cells])


def _dispositions(
    fleet: Fleet, seen: _Seen, baseline: pd.DataFrame, span: Span
) -> NDArray[np.int8]:
    modes = modes_of(fleet, span)
    turns = publication.turns_of(fleet.name, [site.site_id for site in fleet.sites])
    sight = publication.Sight(
        is_stale=seen.reduced.is_stale,
        is_online=seen.reduced.status == ONLINE,
        is_changed=seen.is_changed,
        is_deviating=_deviating(fleet, seen, baseline, span, modes),
        is_panel=seen.is_read,
    )
    windows = span.starts(fleet.interval) // fleet.interval
    return publication.dispositions(sight, modes, turns, windows)


def _deviating(
    fleet: Fleet,
    seen: _Seen,
    baseline: pd.DataFrame,
    span: Span,
    modes: NDArray[np.int8],
) -> NDArray[np.bool_]:
    found = np.full(seen.is_changed.shape, baseline.empty)
    if baseline.empty or not (modes == publication.DEVIATION_ONLY).any():
        return found
    for run in site_baselines(fleet, baseline, span):
        first, last = ((t - span.start) // fleet.interval for t in (run.span.start, run.span.end))
        own = [kpi[:, first:last] for kpi in seen.reduced.kpis]
        found[:, first:last] = (
            publication.is_beyond(own, run.centre, run.scale, run.deviation_sigma)
            | ~np.any([~np.isnan(c) for c in run.centre], axis=0)[:, None]
        )
    return found


def _site_rows(
    fleet: Fleet,
    seen: _Seen,
    assignment: pd.DataFrame,
    span: Span,
    dispositions: NDArray[np.int8],
) -> pd.DataFrame:
    n_windows = (span.end - span.start) // fleet.interval
    region = region_grid(fleet, assignment, span)
    keep = (region.codes >= 0).ravel()

    def flat(grid: NDArray[_Value]) -> NDArray[_Value]:
        values = np.ascontiguousarray(grid.T).ravel()
        return values if keep.all() else values[keep]

    reduced = seen.reduced
    starts = np.repeat(span.starts(fleet.interval), len(fleet.sites))[keep]
    site = np.tile(np.arange(len(fleet.sites)), n_windows)[keep]
    kpis = [flat(kpi) for kpi in reduced.kpis]
    absent = np.full(starts.size, np.nan, dtype=np.float32)
    good, disposition = flat(reduced.good_pct), flat(dispositions)
    min_good = np.repeat(per_window(fleet, span, "min_good_pct"), len(fleet.sites))[keep]
    last_seen = flat(reduced.last_seen)
    columns = {
        "window_start": frames.stamps(starts),
        "window_end": frames.stamps(starts + fleet.interval),
        "site_id": frames.names(site, [s.site_id for s in fleet.sites]),
        "region_id": frames.names(region.codes.ravel()[keep], region.vocabulary),
        **{name: kpis[k] if k < len(kpis) else absent for k, name in enumerate(KPI_NAMES)},
        "kpi_count": np.sum([~np.isnan(kpi) for kpi in kpis], axis=0, dtype=np.int8),
        "status": flat(reduced.status),
        "uptime_pct": flat(reduced.uptime_pct),
        "fault_count": flat(reduced.fault_count),
        "n_snapshots": flat(reduced.n_snapshots).astype(np.int32),
        "n_duplicates": flat(reduced.n_duplicates).astype(np.int32),
        "good_pct": good,
        "is_low_quality": good < min_good,
        "last_seen": frames.stamps(last_seen).mask(last_seen == NEVER),
        "disposition": frames.names(disposition.astype(np.int64), DISPOSITIONS),
        "published": publication.PUBLISHED[disposition],
    }
    return frames.frame_of(SITE_KPI, columns)


def _windows_of(fleet: Fleet, stamp: NDArray[np.int64]) -> dict[str, pd.Series]:
    starts = stamp - stamp % fleet.interval
    return {
        "window_start": frames.stamps(starts),
        "window_end": frames.stamps(starts + fleet.interval),
    }


def _quarantine_rows(
    fleet: Fleet, telemetry: pd.DataFrame, stamp: NDArray[np.int64], span: Span
) -> pd.DataFrame:
    wanted = (stamp >= span.start) & (stamp < span.end) & telemetry["problem"].notna().to_numpy()
    if not wanted.any():
        return frames.empty_frame(QUARANTINE)
    rows = telemetry[wanted].reset_index(drop=True)
    ordered = rows.assign(**_windows_of(fleet, stamp[wanted])).sort_values(
        ["window_start", "batch_id", "row_no"], ignore_index=True
    )
    return frames.frame_of(
        QUARANTINE,
        {name: ordered[name] for name in QUARANTINE.column_names if name not in ("fleet", "day")},
    )


def _occupied(cells: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the cells that occur, ascending, and the place of each entry among them."""
    if size > 4 * cells.size:
        return np.unique(cells, return_inverse=True)
    some = np.flatnonzero(np.bincount(cells, minlength=size))
    places = np.empty(size, dtype=np.int64)
    places[some] = np.arange(some.size)
    return some, places[cells]


def _books(
    fleet: Fleet,
    telemetry: pd.DataFrame,
    stamp: NDArray[np.int64],
    span: Span,
    *,
    is_duplicate: NDArray[np.bool_],
    is_shed: NDArray[np.bool_],
) -> pd.DataFrame:
    """Book every landed snapshot of the span under its batch and window."""
    wanted = (stamp >= span.start) & (stamp < span.end)
    batches = frames.vocabulary(telemetry["batch_id"])
    rank = frames.codes_of(telemetry["batch_id"], {name: i for i, name in enumerate(batches)})
    cell = (stamp - floor_to(span.start, fleet.interval)) // fleet.interval * len(batches) + rank
    some, place = _occupied(cell[wanted], (span.end - span.start) // fleet.interval * len(batches))

    def count(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(place[chosen[wanted]], minlength=some.size)

    landed = np.bincount(place, minlength=some.size)
    starts = span.start + some // max(len(batches), 1) * fleet.interval
    quarantined = count(telemetry["problem"].notna().to_numpy())
    duplicated, shed = count(is_duplicate), count(is_shed & ~is_duplicate)
    columns = {
        "window_start": frames.stamps(starts),
        "window_end": frames.stamps(starts + fleet.interval),
        "batch_id": frames.names(some % max(len(batches), 1), batches),
        "landed": landed,
        "used": landed - quarantined - duplicated - shed,
        "duplicates": duplicated,
        "quarantined": quarantined,
        "sampled_out": shed,
    }
    return frames.frame_of(INGEST_STATS, columns)
