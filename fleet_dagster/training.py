"""Training of baselines: which days need one, and the sampled hours that it learns from."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from fleet_dagster.core.blocks import block_length
from fleet_dagster.core.sampling import sample_hours, training_day_in_force, training_span
from fleet_dagster.core.windows import DAY, Span, floor_to
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.fleet import Fleet, Site
from fleet_dagster.model.lookbacks import persistence_lookback
from fleet_dagster.model.tables import BASELINE, BASELINE_MODEL
from fleet_dagster.nodes import baseline as node
from fleet_dagster.nodes.region_mapper import region_mapper
from fleet_dagster.nodes.site_ingest import site_ingest

ReadTelemetry = Callable[[Span], pd.DataFrame]
"""Returns the landed snapshots of a span."""


@dataclass(frozen=True, slots=True)
class ReducedHour:
    """One hour reduced from the snapshots received before a cutoff; any cutoff after `last_used` up to `first_unused` gives the same."""

    sample: node.HourSample | None
    last_used: int
    first_unused: int

    def serves(self, cutoff: int) -> bool:
        """Tell whether another cutoff takes the same snapshots."""
        return self.last_used < cutoff <= self.first_unused


@dataclass(slots=True)
class Samples:
    """Hours reduced for one training day that serve the next: same settings, sites and landed telemetry."""

    key: tuple[str, tuple[Site, ...], int] = ("", (), -1)
    hours: dict[int, "ReducedHour"] = field(default_factory=dict)

    def start(self, fleet: Fleet, landing: int) -> None:
        """Forget everything if the settings, the sites or the landed telemetry are not those of before."""
        key = (fleet.versions[0].version, fleet.sites, landing)
        if self.key != key:
            self.key, self.hours = key, {}


def training_days_of(fleet: Fleet, span: Span) -> list[int]:
    """Return the training days in force in a span and in the windows that its persistence flags read [us]."""
    days = (
        training_day_in_force(fleet.start, d.start)
        for d in span.widen(before=persistence_lookback(fleet)).days()
    )
    return sorted({day for day in days if day is not None})


def baselines_for(fleet: Fleet, read: ReadTelemetry, span: Span) -> node.Trained:
    """Train every baseline that a span needs."""
    samples = Samples()
    trained = [train(fleet, read, day, samples) for day in training_days_of(fleet, span)]
    return node.Trained(
        frames.concat(BASELINE, [t.baseline for t in trained]),
        frames.concat(BASELINE_MODEL, [t.baseline_model for t in trained]),
    )


def train(
    fleet: Fleet, read: ReadTelemetry, training_day: int, samples: Samples, *, landing: int = 0
) -> node.Trained:
    """Train the baseline of one training day, as of that day; without rows where nothing was landed for it."""
    then = node.as_of(fleet, training_day)
    samples.start(then, landing)
    known = training_span(training_day)
    span = Span(max(known.start, min(floor_to(fleet.start, DAY), known.end)), known.end)
    assignment = region_mapper(then, Span(training_day, training_day + fleet.interval))
    regions = dict(
        zip(assignment["site_id"].astype(str), assignment["region_id"].astype(str), strict=True)
    )
    return node.baseline(
        then, training_day, _hours(then, read, training_day, span, samples), regions
    )


def _hours(
    then: Fleet, read: ReadTelemetry, training_day: int, span: Span, samples: Samples
) -> Iterator[node.HourSample]:
    chosen, cutoff = sample_hours(then.name, span), node.cutoff(training_day)
    known = samples.hours
    samples.hours = {
        hour.start: known[hour.start]
        for hour in chosen
        if hour.start in known and known[hour.start].serves(cutoff)
    }
    missing = [hour for hour in chosen if hour.start not in samples.hours]
    block = block_length(then)
    for _, together in itertools.groupby(missing, key=lambda hour: hour.start // block):
        samples.hours.update(_reduce(then, read, cutoff, list(together)))
    for hour in chosen:
        sample = samples.hours[hour.start].sample
        if sample is not None:
            yield sample


def _reduce(
    then: Fleet, read: ReadTelemetry, cutoff: int, hours: Sequence[Span]
) -> dict[int, ReducedHour]:
    """Reduce the snapshots of some hours that are in order of time, all at once; by when they start."""
    blocks = [node.reach(then, hour) for hour in hours]
    whole = Span(blocks[0].start, blocks[-1].end)
    telemetry = read(whole)
    stamp = frames.microseconds(telemetry["timestamp"])
    received = frames.microseconds(telemetry["received_at"])
    recent = ~telemetry["historical"].to_numpy(np.bool_)
    is_used = node.is_eligible(telemetry, cutoff)
    is_read = [(stamp >= block.start) & (stamp < block.end) for block in blocks]
    has_own = [
        bool((is_used & own & (stamp >= hour.start)).any())
        for own, hour in zip(is_read, hours, strict=True)
    ]
    rows = _site_kpi(then, telemetry[is_used], whole) if any(has_own) else pd.DataFrame()
    return {
        hour.start: ReducedHour(
            sample=node.sample_hour(then, rows, hour) if has else None,
            last_used=int(received[own & is_used & recent].max(initial=0)),
            first_unused=int(received[own & ~is_used].min(initial=node.LAST_RECEIPT)),
        )
        for hour, own, has in zip(hours, is_read, has_own, strict=True)
    }


def _site_kpi(then: Fleet, telemetry: pd.DataFrame, span: Span) -> pd.DataFrame:
    """Reduce snapshots without looking back before the span: an hour's own windows and those it reads suffice."""
    untrained = frames.empty_frame(BASELINE)
    return site_ingest(then, telemetry, region_mapper(then, span), untrained, span).site_kpi
