"""`baseline`: what normal looks like on a training day, from a fixed sample of earlier telemetry."""

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core.ranking import long_run_mad
from fleet_dagster.core.robust import row_median, trimmed_centre_and_scale
from fleet_dagster.core.sampling import training_span
from fleet_dagster.core.windows import DAY, HOUR, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.baseline_models import MIN_WINDOWS, Member, Terms, model_rows
from fleet_dagster.frames.site_grids import SiteGrids, site_grids
from fleet_dagster.model.fleet import BEGINNING, EPOCH, ConfigVersion, Fleet, mappings_as_of
from fleet_dagster.model.lookbacks import WARM_UP_WINDOWS
from fleet_dagster.model.tables import (
    BASELINE,
    BASELINE_MODEL,
    N_KPIS,
    UNMAPPED,
)

MICROSECOND = dt.timedelta(microseconds=1)
RECEIPT_MARGIN = 12 * HOUR
"""A baseline ignores what was received later than this before its training day."""
LAST_RECEIPT = np.iinfo(np.int64).max
"""Stands for "not known to be received in time"."""
MAX_WINDOWS_PER_HOUR = 60
"""Windows of each sampled hour that are learnt from, the first ones: bounds memory where windows are short."""
MEDIAN_WINDOWS_PER_HOUR = 30
"""Evenly spaced ones of them that enter the medians; neighbours tell little more."""
POOLED_HOURS = 256
"""Sampled hours of its sites that a region's pooled model is learnt from, dealt evenly among them."""


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
    """One sampled hour: grids of sites x windows, NaN where a site sent nothing.

    `kpis` begins with the windows before the hour that the anomaly score reads, `health` with the hour.
    """

    start: int
    kpis: list[NDArray[np.float32]]
    health: NDArray[np.float64]
    n_windows: NDArray[np.int64]
    messages: NDArray[np.float64]


def reach(fleet: Fleet, hour: Span) -> Span:
    """Return what must be read to sample an hour: the windows before it that the anomaly score reads, too."""
    return hour.widen(before=WARM_UP_WINDOWS * fleet.interval)


def sample_hour(fleet: Fleet, site_kpi: pd.DataFrame, hour: Span) -> HourSample:
    """Keep of one hour's site rows, and of those that `reach` adds, what is learnt from."""
    block = reach(fleet, hour)
    n_windows = (block.end - block.start) // fleet.interval
    grids: SiteGrids = site_grids(fleet, site_kpi, block)
    sent, messages = _sent(fleet, site_kpi, block, n_windows)
    kept = slice(0, WARM_UP_WINDOWS + MAX_WINDOWS_PER_HOUR)
    health = np.where(sent, grids.health.score, np.nan)[:, kept]
    return HourSample(
        start=hour.start,
        kpis=[np.where(sent, kpi, np.nan)[:, kept].astype(np.float32) for kpi in grids.kpis],
        health=_thinned(health),
        n_windows=sent[:, WARM_UP_WINDOWS:].sum(axis=1),
        messages=messages[WARM_UP_WINDOWS:],
    )


def _thinned(grid: NDArray[Any]) -> NDArray[Any]:  # Any: any dtype
    """Return evenly spaced windows of the hour itself."""
    own = grid[:, WARM_UP_WINDOWS:]
    return own[:, :: -(-own.shape[1] // MEDIAN_WINDOWS_PER_HOUR)]


def _sent(
    fleet: Fleet, site_kpi: pd.DataFrame, span: Span, n_windows: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    scatter = frames.Scatter.of(
        site_kpi, fleet.site_numbers, start=span.start, interval=fleet.interval, n_windows=n_windows
    )
    snapshots = scatter.grid(site_kpi["n_snapshots"], 0)
    return snapshots > 0, (snapshots + scatter.grid(site_kpi["n_duplicates"], 0)).sum(axis=0)


@dataclass(frozen=True, slots=True)
class Trained:
    """What one training day, or several, yield."""

    baseline: pd.DataFrame
    baseline_model: pd.DataFrame


UNTRAINED = Trained(frames.empty_frame(BASELINE), frames.empty_frame(BASELINE_MODEL))
"""Where nothing was landed to learn from."""


def baseline(
    fleet: Fleet, training_day: int, hours: Iterable[HourSample], regions: dict[str, str]
) -> Trained:
    """Train the baseline of one training day from its sampled hours.

    `fleet` is as of the training day; `regions` names the region of each site on that day.
    """
    sampled = [_without_forgotten(fleet, hour) for hour in hours]
    if not sampled:
        return UNTRAINED
    rows = _baseline_rows(fleet, training_day, sampled, regions)
    members = list(_learners(fleet, training_day, sampled, regions))
    terms = Terms(
        training_day,
        fleet.interval,
        len(fleet.sites),
        fleet.settings_at(training_day).anomaly_threshold,
    )
    return Trained(rows, model_rows(fleet.config, members, terms))


def _without_forgotten(fleet: Fleet, hour: HourSample) -> HourSample:
    """Leave out the sites that are to forget what was normal in this hour."""
    settings = fleet.settings_at(hour.start)
    forgotten = [
        fleet.site_numbers[m.site_id]
        for m in mappings_as_of(settings.region_mappings, LAST_RECEIPT).values()
        if m.baseline_from is not None
        and m.site_id in fleet.site_numbers
        and (m.baseline_from - EPOCH) // MICROSECOND > hour.start
    ]
    if not forgotten:
        return hour
    cut = HourSample(
        hour.start,
        [kpi.copy() for kpi in hour.kpis],
        hour.health.copy(),
        hour.n_windows.copy(),
        hour.messages,
    )
    for kpi in cut.kpis:
        kpi[forgotten] = np.nan
    cut.health[forgotten] = np.nan
    cut.n_windows[forgotten] = 0
    return cut


def _learners(
    fleet: Fleet,
    training_day: int,
    sampled: list[HourSample],
    regions: dict[str, str],
) -> Iterator[Member]:
    """Yield the sites and regions to learn from, each with its hours."""
    first = training_span(training_day).start
    starts = np.array([h.start for h in sampled])
    follows = _neighbours(starts)

    def hours_of(site: int, chosen: slice) -> NDArray[np.float32]:
        hours = [np.stack([k[site] for k in h.kpis], axis=-1) for h in sampled[chosen]]
        out = np.array(np.stack(hours), dtype=np.float32)
        out[starts[chosen] - WARM_UP_WINDOWS * fleet.interval < first, :WARM_UP_WINDOWS] = np.nan
        return out

    for i, site in enumerate(fleet.sites):
        yield Member("site", site.site_id, hours_of(i, slice(None)), starts, follows)
    for region, members in _members(fleet, regions):
        step = max(1, -(-len(members) * len(sampled) // POOLED_HOURS))
        # every site gives some hours, each from another one on, so that all hours of the day are among them
        dealt = [(i, slice(j % step, None, step)) for j, i in enumerate(members.tolist())]
        when = np.concatenate([starts[chosen] for _, chosen in dealt])
        order = np.argsort(when, kind="stable")
        pooled = np.concatenate([hours_of(i, chosen) for i, chosen in dealt])[order]
        # hours of other sites do not overlap: there is nothing to keep apart
        yield Member("region", region, pooled, when[order], np.full(when.size, -1))


def _neighbours(starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position of the sampled hour that ends where each begins; -1 for none."""
    place = np.searchsorted(starts, starts - HOUR)
    is_there = (place < starts.size) & (starts[np.minimum(place, starts.size - 1)] == starts - HOUR)
    return np.where(is_there, place, -1)


def _baseline_rows(
    fleet: Fleet, training_day: int, sampled: list[HourSample], regions: dict[str, str]
) -> pd.DataFrame:
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
            values = np.concatenate([_thinned(h.kpis[k]) for h in sampled], axis=1)
            values = values.astype(np.float64)
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
