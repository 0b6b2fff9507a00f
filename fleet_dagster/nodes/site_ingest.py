"""`site_ingest`: landed snapshots to one row per site and window, with every snapshot accounted for."""

from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core.reduction import NEVER, Grid, Reduced, Snapshots, duplicates, reduce_block
from fleet_dagster.core.windows import Span, floor_to
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.assignment import assigned_runs
from fleet_dagster.model.errors import FrameError
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import carry_lookback
from fleet_dagster.model.tables import INGEST_STATS, KPI_NAMES, QUARANTINE, READING_NAMES, SITE_KPI

DISPOSITIONS = ("full", "stale")
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
    span: Span,
    *,
    threads: Executor | None = None,
) -> Ingested:
    """Reduce the snapshots of `span` to site rows.

    `telemetry` holds landed snapshots from `carry_lookback` before the span on; those outside the windows asked for only
    fill sites that are fresh but silent.
    """
    lookback = carry_lookback(fleet, span.start, span.end)
    block = span.widen(before=lookback)
    stamp = frames.microseconds(telemetry["timestamp"])
    inside = (stamp >= block.start) & (stamp < block.end)
    usable = inside & telemetry["problem"].isna().to_numpy()
    grid = Grid(
        len(fleet.sites), block.start, (block.end - block.start) // fleet.interval, fleet.interval
    )
    snapshots = _snapshots(fleet, telemetry, stamp, usable)
    ranges = [(kpi.lo, kpi.hi) for kpi in fleet.config.kpis]
    staleness = _per_window(fleet, block, "staleness_threshold_s").astype(np.int64) * 1_000_000
    dropped = duplicates(snapshots)
    reduced = reduce_block(
        snapshots, grid, ranges=ranges, staleness=staleness, dropped=dropped, threads=threads
    )
    own = (span.start - block.start) // fleet.interval
    return Ingested(
        _site_rows(fleet, reduced, assignment, span, skip=own),
        _quarantine_rows(fleet, telemetry, stamp, span),
        _books(fleet, telemetry, stamp, span, _is_duplicate(usable, dropped)),
    )


def _per_window(fleet: Fleet, span: Span, setting: str) -> NDArray[np.float64]:
    """Return a hot setting's value in each window of the span."""
    return np.concatenate(
        [
            np.full(
                (run.end - run.start) // fleet.interval,
                getattr(run.version.settings, setting),
                dtype=np.float64,
            )
            for run in fleet.settings_runs(span.start, span.end)
        ]
        or [np.empty(0)]
    )


def _snapshots(
    fleet: Fleet, telemetry: pd.DataFrame, stamp: NDArray[np.int64], usable: NDArray[np.bool_]
) -> Snapshots:
    rows: NDArray[np.int64] | slice = slice(None) if usable.all() else np.flatnonzero(usable)
    site = frames.codes_of(telemetry["site_id"], fleet.site_numbers)[rows]
    if (site < 0).any():
        stranger = telemetry["site_id"].to_numpy()[rows][site < 0][0]
        raise FrameError(
            "telemetry",
            f"site {stranger!r} is not registered",
            "Land it first, so that it gets its place on the site axis",
        )

    def column(name: str, dtype: type[_Value]) -> NDArray[_Value]:
        values: NDArray[_Value] = telemetry[name].to_numpy(dtype)
        return values[rows]

    order = _batch_ranks(telemetry["batch_id"])
    return Snapshots(
        site=site,
        timestamp=stamp[rows],
        readings=[column(READING_NAMES[k], np.float32) for k in range(len(fleet.config.kpis))],
        status=column("status", np.int8),
        uptime_pct=column("uptime_pct", np.float32),
        fault_count=column("fault_count", np.int32),
        is_good=column("quality", np.int8) == 0,
        sequence=column("sequence", np.int64),
        received_at=frames.microseconds(telemetry["received_at"])[rows],
        batch=order[rows],
        row_no=column("row_no", np.int64),
    )


def _batch_ranks(batch_id: "pd.Series[str]") -> NDArray[np.int64]:
    names = frames.vocabulary(batch_id)
    return frames.codes_of(batch_id, {name: i for i, name in enumerate(names)})


def _is_duplicate(usable: NDArray[np.bool_], dropped: NDArray[np.int64]) -> NDArray[np.bool_]:
    flags = np.zeros(usable.size, dtype=bool)
    flags[dropped if usable.all() else np.flatnonzero(usable)[dropped]] = True
    return flags


def _site_rows(
    fleet: Fleet, reduced: Reduced, assignment: pd.DataFrame, span: Span, *, skip: int
) -> pd.DataFrame:
    n_windows = (span.end - span.start) // fleet.interval
    region = np.full((len(fleet.sites), n_windows), -1, dtype=np.int64)
    regions: tuple[str, ...] = ()
    for run in assigned_runs(fleet, assignment, span):
        first, last = ((t - span.start) // fleet.interval for t in (run.span.start, run.span.end))
        region[:, first:last], regions = run.region[:, None], run.regions
    keep = (region.T >= 0).ravel()

    def flat(grid: NDArray[_Value]) -> NDArray[_Value]:
        values = np.ascontiguousarray(grid[:, skip:].T).ravel()
        return values if keep.all() else values[keep]

    starts = np.repeat(span.starts(fleet.interval), len(fleet.sites))[keep]
    site = np.tile(np.arange(len(fleet.sites)), n_windows)[keep]
    kpis = [flat(kpi) for kpi in reduced.kpis]
    absent = np.full(starts.size, np.nan, dtype=np.float32)
    stale, good = flat(reduced.is_stale), flat(reduced.good_pct)
    min_good = np.repeat(_per_window(fleet, span, "min_good_pct"), len(fleet.sites))[keep]
    last_seen = flat(reduced.last_seen)
    seen = frames.stamps(last_seen).mask(last_seen == NEVER)
    columns = {
        "window_start": frames.stamps(starts),
        "window_end": frames.stamps(starts + fleet.interval),
        "site_id": frames.names(site, [s.site_id for s in fleet.sites]),
        "region_id": frames.names(region.T.ravel()[keep], regions),
        **{name: kpis[k] if k < len(kpis) else absent for k, name in enumerate(KPI_NAMES)},
        "kpi_count": np.sum([~np.isnan(kpi) for kpi in kpis], axis=0, dtype=np.int8),
        "status": flat(reduced.status),
        "uptime_pct": flat(reduced.uptime_pct),
        "fault_count": flat(reduced.fault_count),
        "n_snapshots": flat(reduced.n_snapshots).astype(np.int32),
        "n_duplicates": flat(reduced.n_duplicates).astype(np.int32),
        "good_pct": good,
        "is_low_quality": good < min_good,
        "last_seen": seen,
        "disposition": frames.names(stale.astype(np.int64), DISPOSITIONS),
        "published": ~stale,
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
    is_duplicate: NDArray[np.bool_],
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
    duplicated = count(is_duplicate)
    columns = {
        "window_start": frames.stamps(starts),
        "window_end": frames.stamps(starts + fleet.interval),
        "batch_id": frames.names(some % max(len(batches), 1), batches),
        "landed": landed,
        "used": landed - quarantined - duplicated,
        "duplicates": duplicated,
        "quarantined": quarantined,
        "sampled_out": np.zeros(some.size, dtype=np.int64),
    }
    return frames.frame_of(INGEST_STATS, columns)
