"""A fleet's partitions, daily or hourly, and the windows that each holds."""

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from fleet_dagster.core.windows import HOUR, Span, floor_to
from fleet_dagster.model.config import FleetConfig

Partitions = dg.TimeWindowPartitionsDefinition
DAY_FORMAT = "%Y-%m-%d"
HOUR_FORMAT = "%Y-%m-%d-%H:%M"
DAYS_PER_RUN, HOURS_PER_RUN = 10, 48
FAR = 2**62
"""Stands for "never" among instants [us]."""
LONGEST = 25 * HOUR
"""The longest partition: a day on which the clock goes back [us]."""


def partitions_of(config: FleetConfig) -> Partitions:
    """Return the fleet's partitions; the current one exists, so that live windows have a home."""
    hourly = config.partition == "hourly"
    form = HOUR_FORMAT if hourly else DAY_FORMAT
    last = config.end_date and config.end_date + dt.timedelta(days=1)
    kind = dg.HourlyPartitionsDefinition if hourly else dg.DailyPartitionsDefinition
    return kind(
        start_date=config.start_date.strftime(form),
        end_date=last.strftime(form) if last else None,
        end_offset=0 if last else 1,
        timezone=config.timezone,
    )


def partitions_per_run(config: FleetConfig) -> int:
    """Return how many partitions one run of a backfill takes on: about as much data, daily or hourly."""
    return HOURS_PER_RUN if config.partition == "hourly" else DAYS_PER_RUN


def span_of(partitions: Partitions, key: str) -> Span:
    """Return the instants of a partition [us]; 23 or 25 hours on days when the clock changes."""
    window = partitions.time_window_for_partition_key(key)
    return Span(microseconds(window.start), microseconds(window.end))


def closed_span(span: Span, now: int, interval: int) -> Span:
    """Return the part of a span whose windows have ended [us]."""
    return Span(span.start, max(span.start, min(span.end, floor_to(now, interval))))


def keys_touching(partitions: Partitions, span: Span, *, now: int) -> Sequence[str]:
    """Return the keys of the partitions that a span touches, those that have begun by `now` [us]."""
    reach = dg.TimeWindow(instant(span.start - LONGEST), instant(min(span.end, now + 1)))
    if span.is_empty or reach.end <= reach.start:
        return []
    keys = partitions.get_partition_keys_in_time_window(reach)
    end = microseconds(partitions.end) if partitions.end else FAR
    life = Span(microseconds(partitions.start), end)
    spans = {k: span_of(partitions, k) for k in keys}
    return [k for k, own in spans.items() if own.overlaps(span) and own.overlaps(life)]


def microseconds(stamp: dt.datetime) -> int:
    """Return an instant in microseconds since 1970 [us]."""
    return round(stamp.timestamp() * 1_000_000)


def instant(us: int) -> dt.datetime:
    """Return microseconds since 1970 as a UTC instant."""
    return dt.datetime.fromtimestamp(us / 1_000_000, tz=dt.UTC)
