"""What windows take from the fleet besides telemetry, as arrays: settings, ingestion modes, panels, baselines."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core.panel import panel_of
from fleet_dagster.core.publication import STORM, mode_of
from fleet_dagster.core.sampling import training_day_in_force
from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.tables import CENTRE_NAMES, SCALE_NAMES

Columns = list[NDArray[np.float32]]


def per_window(fleet: Fleet, span: Span, setting: str) -> NDArray[np.float64]:
    """Return a hot setting's value in each window of a span, shape (n_windows,)."""
    values = [
        np.full(
            (run.end - run.start) // fleet.interval,
            getattr(run.version.settings, setting),
            dtype=np.float64,
        )
        for run in fleet.settings_runs(span.start, span.end)
    ]
    return np.concatenate(values) if values else np.empty(0)


def modes_of(fleet: Fleet, span: Span) -> NDArray[np.int8]:
    """Return the ingestion mode of each window of a span, shape (n_windows,)."""
    modes = [
        np.full(
            (run.end - run.start) // fleet.interval,
            mode_of(run.n_sites) if run.episode is None else STORM,
            dtype=np.int8,
        )
        for run in fleet.mode_runs(span.start, span.end)
    ]
    return np.concatenate(modes) if modes else np.empty(0, dtype=np.int8)


def is_read(fleet: Fleet, span: Span) -> NDArray[np.bool_]:
    """Tell whose KPIs are read: all, and in a storm the panel's; shape (n_sites, n_windows)."""
    n_windows = (span.end - span.start) // fleet.interval
    flags = np.ones((len(fleet.sites), n_windows), dtype=np.bool_)
    for storm in fleet.storms:
        part = Span(storm.start, storm.end).clip(span)
        first, last = ((t - span.start) // fleet.interval for t in (part.start, part.end))
        if first < last:
            flags[:, first:last] = panel_of(fleet, storm).is_read[:, None]
    return flags


@dataclass(frozen=True, slots=True)
class SiteBaselines:
    """The baseline of each site that governs a run of windows, one array a KPI, NaN where a site has none."""

    span: Span
    deviation_sigma: float
    centre: Columns
    scale: Columns


def site_baselines(fleet: Fleet, baseline: pd.DataFrame, span: Span) -> Iterator[SiteBaselines]:
    """Yield the runs of a span's windows with one baseline and threshold each."""
    trained_on: dict[int | None, tuple[Columns, Columns]] = {}
    for run in fleet.settings_runs(span.start, span.end):
        for day in Span(run.start, run.end).steps(DAY):
            trained = training_day_in_force(fleet.start, day.start)
            if trained not in trained_on:
                trained_on[trained] = _centres_and_scales(fleet, baseline, trained)
            sigma = run.version.settings.deviation_sigma
            yield SiteBaselines(day, sigma, *trained_on[trained])


def _centres_and_scales(
    fleet: Fleet, baseline: pd.DataFrame, day: int | None
) -> tuple[Columns, Columns]:
    kpis = range(len(fleet.config.kpis))
    out = np.full((2, len(kpis), len(fleet.sites)), np.nan, dtype=np.float32)
    if day is not None and len(baseline):
        is_own = (frames.microseconds(baseline["window_start"]) == day) & (
            (baseline["scope"] == "site") & (baseline["state"] == "trained")
        ).to_numpy(np.bool_)
        rows = baseline[is_own]
        site = frames.codes_of(rows["scope_id"], fleet.site_numbers)
        for k in kpis:
            for i, name in enumerate((CENTRE_NAMES[k], SCALE_NAMES[k])):
                out[i, k, site[site >= 0]] = rows[name].to_numpy(np.float32)[site >= 0]
    return list(out[0]), list(out[1])
