"""`region_mapper`: which region each site belongs to, as of each window."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core.windows import HOUR, Span, ceil_to
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.fleet import Fleet, SettingsRun, mappings_as_of, valid_from
from fleet_dagster.model.tables import SITE_ASSIGNMENT, UNMAPPED


def region_mapper(fleet: Fleet, span: Span) -> pd.DataFrame:
    """Assign every registered site to its region for the whole hours that `span` touches.

    One row per site and run of windows with one assignment, cut at hours, so that a row does not depend on the span asked
    for. A site that no mapping names as of a window goes to the reserved region `unmapped` with weight 1.
    """
    whole = span.to_whole(HOUR)
    parts = [_assign(fleet, run, piece) for run, piece in _segments(fleet, whole)]
    return frames.concat(SITE_ASSIGNMENT, parts)


def _segments(fleet: Fleet, whole: Span) -> Iterator[tuple[SettingsRun, Span]]:
    for run in fleet.settings_runs(whole.start, whole.end):
        changes = {
            ceil_to(valid_from(m), fleet.interval) for m in run.version.settings.region_mappings
        }
        changes |= {site.active_from for site in fleet.sites}
        inner = sorted(c for c in changes if run.start < c < run.end)
        for start, end in zip([run.start, *inner], [*inner, run.end], strict=True):
            yield run, Span(start, end)


def _assign(fleet: Fleet, run: SettingsRun, piece: Span) -> pd.DataFrame:
    """Assign the sites of a piece in which nothing changes, one row for each of its hours."""
    sites = [(i, s) for i, s in enumerate(fleet.sites) if s.active_from <= piece.start]
    current = mappings_as_of(run.version.settings.region_mappings, piece.start)
    found = [current.get(site.site_id) for _, site in sites]
    regions = [*sorted({m.region_id for m in found if m}), UNMAPPED]
    numbers = {region: i for i, region in enumerate(regions)}
    hours, n = list(piece.steps(HOUR)), len(sites)

    def every_hour(values: list[Any], dtype: type[Any]) -> NDArray[Any]:  # Any: ids, weights, flags
        return np.tile(np.array(values, dtype=dtype), len(hours))

    site = every_hour([i for i, _ in sites], np.int64)
    region = every_hour([numbers[m.region_id if m else UNMAPPED] for m in found], np.int64)
    return frames.frame_of(
        SITE_ASSIGNMENT,
        {
            "window_start": frames.stamps(np.repeat(np.array([h.start for h in hours]), n)),
            "window_end": frames.stamps(np.repeat(np.array([h.end for h in hours]), n)),
            "site_id": frames.names(site, [s.site_id for s in fleet.sites]),
            "site_no": every_hour([s.site_no for _, s in sites], np.int32),
            "region_id": frames.names(region, regions),
            "weight": every_hour([m.weight if m else 1.0 for m in found], np.float64),
            "critical": every_hour([bool(m and m.critical) for m in found], np.bool_),
            "is_mapped": every_hour([m is not None for m in found], np.bool_),
            "config_version": frames.names(
                np.zeros(site.size, dtype=np.int64), [run.version.version]
            ),
        },
    )
