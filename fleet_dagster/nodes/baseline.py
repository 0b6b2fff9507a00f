"""`baseline`: what normal looks like on a training day, from a fixed sample of earlier telemetry."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core.ranking import long_run_mad
from fleet_dagster.core.robust import row_median, trimmed_centre_and_scale
from fleet_dagster.core.windows import DAY, HOUR, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.site_grids import SiteGrids, site_grids
from fleet_dagster.model.fleet import BEGINNING, ConfigVersion, Fleet
from fleet_dagster.model.tables import BASELINE, N_KPIS, UNMAPPED

RECEIPT_MARGIN = 12 * HOUR
"""A baseline ignores what was received later than this before its training day."""
LAST_RECEIPT = np.iinfo(np.int64).max
"""Stands for "not known to be received in time"."""
MIN_WINDOWS = 200
"""A site with fewer windows in the sample is warming up."""
MAX_WINDOWS_PER_HOUR = 30
"""Evenly spaced windows of each sampled hour that enter the medians; neighbours tell little more."""


def as_of(fleet: Fleet, training_day: int) -> Fleet:
    """Return the fleet as a training day sees it: its settings for all time, its sites by then."""
    (run,) = list(fleet.settings_runs(training_day, training_day + fleet.interval))[:1]
    sites = tuple(site for site in fleet.sites if site.active_from <= training_day)
    version = ConfigVersion(BEGINNING, run.version.settings, run.version.version)
    return Fleet(fleet.config, (version,), sites)


def cutoff(training_day: int) -> int:
    """Return the instant before which a snapshot must have been received to be learnt from [us]."""
    return training_day - RECEIPT_MARGIN


def is_eligible(telemetry: pd.DataFrame, received_before: int) -> NDArray[np.bool_]:
    """Tell which snapshots may be learnt from: received in time, or imported as history."""
    in_time = frames.microseconds(telemetry["received_at"]) < received_before
    return np.asarray(in_time | telemetry["historical"].to_numpy(np.bool_))


@dataclass(frozen=True, slots=True)
class HourSample:
    """One sampled hour, thinned: grids of shape (n_sites, n_windows), NaN where a site sent nothing."""

    kpis: list[NDArray[np.float32]]
    health: NDArray[np.float64]
    n_windows: NDArray[np.int64]
    messages: NDArray[np.float64]


def sample_hour(fleet: Fleet, site_kpi: pd.DataFrame, span: Span) -> HourSample:
    """Thin one hour of site rows down to what the medians need."""
    grids: SiteGrids = site_grids(fleet, site_kpi, span)
    n_windows = (span.end - span.start) // fleet.interval
    sent, messages = _sent(fleet, site_kpi, span, n_windows)
    step = -(-n_windows // MAX_WINDOWS_PER_HOUR)
    return HourSample(
        kpis=[np.where(sent, kpi, np.nan)[:, ::step].astype(np.float32) for kpi in grids.kpis],
        health=np.where(sent, grids.health.score, np.nan)[:, ::step],
        n_windows=sent.sum(axis=1),
        messages=messages,
    )


def _sent(
    fleet: Fleet, site_kpi: pd.DataFrame, span: Span, n_windows: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    scatter = frames.Scatter.of(
        site_kpi, fleet.site_numbers, start=span.start, interval=fleet.interval, n_windows=n_windows
    )
    snapshots = scatter.grid(site_kpi["n_snapshots"], 0)
    return snapshots > 0, (snapshots + scatter.grid(site_kpi["n_duplicates"], 0)).sum(axis=0)


def baseline(
    fleet: Fleet, training_day: int, hours: Iterable[HourSample], regions: dict[str, str]
) -> pd.DataFrame:
    """Train the baseline of one training day from its sampled hours.

    `fleet` is as of the training day; `regions` names the region of each site on that day.
    """
    sampled = list(hours)
    if not sampled:
        return frames.empty_frame(BASELINE)
    health = np.concatenate([h.health for h in sampled], axis=1)
    counts = np.sum([h.n_windows for h in sampled], axis=0)
    rows = [
        _site_rows(fleet, sampled, counts),
        *(
            _group_row("region", region, health[members], counts[members])
            for region, members in _members(fleet, regions)
        ),
        _group_row("fleet", fleet.name, health, counts, message_rate=_median_rate(sampled)),
    ]
    table = pd.concat(rows, ignore_index=True)
    stamp = np.full(len(table), training_day)
    table["window_start"], table["window_end"] = frames.stamps(stamp), frames.stamps(stamp + DAY)
    table["n_hours"] = np.int32(len(sampled))
    return frames.frame_of(BASELINE, {name: table[name] for name in table.columns})


def _site_rows(fleet: Fleet, sampled: list[HourSample], counts: NDArray[np.int64]) -> pd.DataFrame:
    n_kpis, absent = len(fleet.config.kpis), np.full(len(fleet.sites), np.nan, dtype=np.float32)
    columns: dict[str, Any] = {  # Any: arrays of several dtypes
        "scope": "site",
        "scope_id": [site.site_id for site in fleet.sites],
        "n_windows": counts.astype(np.int32),
        "state": np.where(counts >= MIN_WINDOWS, "trained", "warming_up"),
        "mad": np.nan,
        "message_rate": np.nan,
    }
    for k in range(N_KPIS):
        centre, scale = absent, absent
        if k < n_kpis:
            values = np.concatenate([h.kpis[k] for h in sampled], axis=1).astype(np.float64)
            centre, scale = (a.astype(np.float32) for a in trimmed_centre_and_scale(values))
        columns[f"centre_{k:02d}"], columns[f"scale_{k:02d}"] = centre, scale
    return pd.DataFrame(columns)


def _members(fleet: Fleet, regions: dict[str, str]) -> list[tuple[str, NDArray[np.int64]]]:
    by_site = np.array([regions.get(site.site_id, UNMAPPED) for site in fleet.sites], dtype=object)
    return [(region, np.flatnonzero(by_site == region)) for region in sorted(set(by_site))]


def _group_row(
    scope: str,
    scope_id: str,
    health: NDArray[np.float64],
    counts: NDArray[np.int64],
    *,
    message_rate: float = np.nan,
) -> pd.DataFrame:
    n = int(counts.max(initial=0))
    absent = {
        f"{name}_{k:02d}": np.float32(np.nan) for name in ("centre", "scale") for k in range(N_KPIS)
    }
    row = {
        "scope": scope,
        "scope_id": scope_id,
        "n_windows": np.int32(n),
        "state": "trained" if n >= MIN_WINDOWS else "warming_up",
        "mad": long_run_mad(np.ascontiguousarray(health.T)),
        "message_rate": message_rate,
        **absent,
    }
    return pd.DataFrame([row])


def _median_rate(sampled: list[HourSample]) -> float:
    rates = np.concatenate([h.messages for h in sampled])
    return float(row_median(rates[rates > 0])) if (rates > 0).any() else float("nan")
