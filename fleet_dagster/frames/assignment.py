"""The assignment frame as arrays: runs of windows in which every site keeps its region and weight."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core.windows import Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.fleet import Fleet


@dataclass(frozen=True, slots=True)
class AssignedRun:
    """One run of windows: arrays over the site axis, shape (n_sites,); `region` is -1 for a site not yet registered."""

    span: Span
    regions: tuple[str, ...]
    region: NDArray[np.int64]
    weight: NDArray[np.float64]
    is_mapped: NDArray[np.bool_]

    @property
    def is_active(self) -> NDArray[np.bool_]:
        """Which sites the fleet has in this run, shape (n_sites,)."""
        return self.region >= 0


def assigned_runs(fleet: Fleet, assignment: pd.DataFrame, span: Span) -> Iterator[AssignedRun]:
    """Yield the runs of `span`, in order of time, without a gap; adjacent equal runs are joined.

    Windows in which the fleet has no site yet are runs in which no site is active.
    """
    pending: AssignedRun | None = None
    for run in _pieces(fleet, assignment, span):
        if pending is not None and _joins(pending, run):
            pending = replace(pending, span=Span(pending.span.start, run.span.end))
            continue
        if pending is not None:
            yield pending
        pending = run
    if pending is not None:
        yield pending


def region_grid(fleet: Fleet, assignment: pd.DataFrame, span: Span) -> frames.Coded:
    """Return each site's region in each window, shape (n_windows, n_sites); -1 where the fleet does not have the site yet."""
    n_windows = (span.end - span.start) // fleet.interval
    region = np.full((n_windows, len(fleet.sites)), -1, dtype=np.int64)
    regions: tuple[str, ...] = ()
    for run in assigned_runs(fleet, assignment, span):
        first, last = ((t - span.start) // fleet.interval for t in (run.span.start, run.span.end))
        region[first:last], regions = run.region, run.regions
    return frames.Coded(region, regions)


def _pieces(fleet: Fleet, assignment: pd.DataFrame, span: Span) -> Iterator[AssignedRun]:
    starts = frames.microseconds(assignment["window_start"])
    ends = frames.microseconds(assignment["window_end"])
    regions = tuple(sorted(assignment["region_id"].astype("str").unique()))
    nobody = _nobody(span, regions, len(fleet.sites))
    numbers = {name: i for i, name in enumerate(regions)}
    site = frames.codes_of(assignment["site_id"], fleet.site_numbers)
    region = frames.codes_of(assignment["region_id"], numbers)
    weight = assignment["weight"].to_numpy(np.float64)
    is_mapped = assignment["is_mapped"].to_numpy(np.bool_)
    at = span.start
    for start in np.unique(starts):
        rows = np.flatnonzero(starts == start)
        piece = Span(int(start), int(ends[rows[0]])).clip(span)
        if piece.is_empty:
            continue
        if at < piece.start:
            yield replace(nobody, span=Span(at, piece.start))
        run = _nobody(piece, regions, len(fleet.sites))
        run.region[site[rows]] = region[rows]
        run.weight[site[rows]] = weight[rows]
        run.is_mapped[site[rows]] = is_mapped[rows]
        yield run
        at = piece.end
    if at < span.end:
        yield replace(nobody, span=Span(at, span.end))


def _nobody(span: Span, regions: tuple[str, ...], n_sites: int) -> AssignedRun:
    return AssignedRun(
        span=span,
        regions=regions,
        region=np.full(n_sites, -1, dtype=np.int64),
        weight=np.zeros(n_sites),
        is_mapped=np.zeros(n_sites, dtype=np.bool_),
    )


def _joins(a: AssignedRun, b: AssignedRun) -> bool:
    return (
        a.span.end == b.span.start
        and np.array_equal(a.region, b.region)
        and np.array_equal(a.weight, b.weight)
        and np.array_equal(a.is_mapped, b.is_mapped)
    )
