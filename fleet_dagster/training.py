"""Training of baselines: which days need one, and the sampled hours that it learns from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from fleet_dagster.core.sampling import sample_hours, training_day_in_force, training_span
from fleet_dagster.core.windows import DAY, Span, floor_to
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import persistence_lookback
from fleet_dagster.model.tables import BASELINE
from fleet_dagster.nodes import baseline as node
from fleet_dagster.nodes.region_mapper import region_mapper
from fleet_dagster.nodes.site_ingest import site_ingest

ReadTelemetry = Callable[[Span], pd.DataFrame]
"""Returns the landed snapshots of a span."""


@dataclass(slots=True)
class Samples:
    """Hours reduced for one training day that serve the next: the same settings, the same landed telemetry."""

    key: tuple[str, int] = ("", -1)
    hours: dict[int, tuple[node.HourSample | None, int]] = field(default_factory=dict)

    def start(self, version: str, landing: int) -> None:
        """Forget everything if the settings or the landed telemetry are not those of before."""
        if self.key != (version, landing):
            self.key, self.hours = (version, landing), {}


def training_days_of(fleet: Fleet, span: Span) -> list[int]:
    """Return the training days in force in a span and in the windows that its persistence flags read [us]."""
    days = (
        training_day_in_force(fleet.start, d.start)
        for d in span.widen(before=persistence_lookback(fleet)).days()
    )
    return sorted({day for day in days if day is not None})


def baselines_for(fleet: Fleet, read: ReadTelemetry, span: Span) -> pd.DataFrame:
    """Train every baseline that a span needs."""
    samples = Samples()
    trained = [train(fleet, read, day, samples) for day in training_days_of(fleet, span)]
    return frames.concat(BASELINE, trained)


def train(
    fleet: Fleet, read: ReadTelemetry, training_day: int, samples: Samples, *, landing: int = 0
) -> pd.DataFrame:
    """Train the baseline of one training day, as of that day; without rows where nothing was landed for it."""
    then = node.as_of(fleet, training_day)
    samples.start(then.versions[0].version, landing)
    known = training_span(training_day)
    span = Span(max(known.start, min(floor_to(fleet.start, DAY), known.end)), known.end)
    assignment = region_mapper(then, Span(training_day, training_day + fleet.interval))
    regions = dict(
        zip(assignment["site_id"].astype(str), assignment["region_id"].astype(str), strict=True)
    )
    return node.baseline(then, training_day, _hours(then, read, training_day, span, samples), regions)


def _hours(
    then: Fleet, read: ReadTelemetry, training_day: int, span: Span, samples: Samples
) -> Iterator[node.HourSample]:
    chosen = sample_hours(then.name, span)
    kept = {hour.start: samples.hours[hour.start] for hour in chosen if hour.start in samples.hours}
    samples.hours = kept
    for hour in chosen:
        sample, receipt = kept.get(hour.start, (None, node.LAST_RECEIPT))
        if receipt >= training_day - node.RECEIPT_MARGIN:
            sample, receipt = _reduce(then, read(hour), training_day, hour)
        if receipt < training_day - node.RECEIPT_MARGIN:
            kept[hour.start] = (sample, receipt)
        if sample is not None:
            yield sample


def _reduce(
    then: Fleet, telemetry: pd.DataFrame, training_day: int, hour: Span
) -> tuple[node.HourSample | None, int]:
    """Reduce one hour; also tells when the last of its snapshots was received, history aside [us]."""
    recent = frames.microseconds(telemetry["received_at"])[~telemetry["historical"].to_numpy(np.bool_)]
    receipt = int(recent.max(initial=0))
    eligible = node.eligible(telemetry, training_day)
    if eligible.empty:
        return None, receipt
    rows = site_ingest(then, eligible, region_mapper(then, hour), hour).site_kpi
    return node.sample_hour(then, rows, hour), receipt
