"""A fleet's partitions, daily or hourly, and the windows that each holds."""

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from fleet_dagster.core.windows import DAY, Span, floor_to
from fleet_dagster.model.config import FleetConfig

Partitions = dg.TimeWindowPartitionsDefinition
HOUR_FORMAT = "%Y-%m-%d-%H:%M"


def partitions_of(config: FleetConfig) -> Partitions:
    """Return the fleet's partitions; the current one exists, so that live windows have a home."""
    if config.partition == "hourly":
        start = config.start_date.strftime(HOUR_FORMAT)
        return dg.HourlyPartitionsDefinition(
            start_date=start, end_offset=1, timezone=config.timezone
        )
    return dg.DailyPartitionsDefinition(
        start_date=config.start_date.isoformat(), end_offset=1, timezone=config.timezone
    )


def span_of(partitions: Partitions, key: str) -> Span:
    """Return the instants of a partition; 23 or 25 hours on days when the clock changes. [us]"""
    window = partitions.time_window_for_partition_key(key)
    return Span(microseconds(window.start), microseconds(window.end))


def closed_span(span: Span, now: int, interval: int) -> Span:
    """Return the part of a span whose windows have ended. [us]"""
    return Span(span.start, max(span.start, min(span.end, floor_to(now, interval))))


def keys_touching(partitions: Partitions, span: Span, *, now: int) -> Sequence[str]:
    """Return the keys of the partitions that a span touches, those that exist at `now`."""
    at = instant(now)
    keys = partitions.get_partition_keys_in_time_window(
        dg.TimeWindow(instant(span.start - 2 * DAY), instant(span.end))
    )
    known = set(partitions.get_partition_keys(current_time=at))
    return [k for k in keys if k in known and span_of(partitions, k).overlaps(span)]


def microseconds(stamp: dt.datetime) -> int:
    """Return an instant in microseconds since 1970."""
    return round(stamp.timestamp() * 1_000_000)


def instant(us: int) -> dt.datetime:
    """Return microseconds since 1970 as a UTC instant."""
    return dt.datetime.fromtimestamp(us / 1_000_000, tz=dt.UTC)
