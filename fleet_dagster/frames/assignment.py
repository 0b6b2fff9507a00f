"""The assignment frame as arrays: runs of windows in which every site keeps its region and weight."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.frames import columns as frames
from fleet_dagster.core.windows import Span
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
    """Yield the runs of `span`, in order of time; adjacent equal runs are joined."""
    starts, ends = frames.microseconds(assignment["window_start"]), frames.microseconds(assignment["window_end"])
    site = frames.codes_of(assignment["site_id"], fleet.site_numbers)
    regions = tuple(sorted(assignment["region_id"].astype("str").unique()))
    region = frames.codes_of(assignment["region_id"], {name: i for i, name in enumerate(regions)})
    weight, mapped = assignment["weight"].to_numpy(np.float64), assignment["is_mapped"].to_numpy(np.bool_)
    pending: AssignedRun | None = None
    for start in np.unique(starts):
        rows = np.flatnonzero(starts == start)
        piece = Span(int(start), int(ends[rows[0]])).clip(span)
        if piece.is_empty:
            continue
        run = _run(piece, regions, len(fleet.sites), site[rows], region[rows], weight[rows], mapped[rows])
        if pending is not None and _joins(pending, run):
            run = AssignedRun(Span(pending.span.start, run.span.end), run.regions, run.region, run.weight, run.is_mapped)
        elif pending is not None:
            yield pending
        pending = run
    if pending is not None:
        yield pending


def _run(
    piece: Span,
    regions: tuple[str, ...],
    n_sites: int,
    site: NDArray[np.int64],
    region: NDArray[np.int64],
    weight: NDArray[np.float64],
    mapped: NDArray[np.bool_],
) -> AssignedRun:
    at_region, at_weight = np.full(n_sites, -1, dtype=np.int64), np.zeros(n_sites)
    at_mapped = np.zeros(n_sites, dtype=bool)
    at_region[site], at_weight[site], at_mapped[site] = region, weight, mapped
    return AssignedRun(piece, regions, at_region, at_weight, at_mapped)


def _joins(a: AssignedRun, b: AssignedRun) -> bool:
    return (
        a.span.end == b.span.start
        and np.array_equal(a.region, b.region)
        and np.array_equal(a.weight, b.weight)
        and np.array_equal(a.is_mapped, b.is_mapped)
    )
