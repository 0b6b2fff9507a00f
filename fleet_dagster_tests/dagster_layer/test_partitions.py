import datetime as dt
import itertools

import pytest

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.partitions import (
    Partitions,
    closed_span,
    keys_touching,
    microseconds,
    partitions_of,
    partitions_per_run,
    span_of,
)
from fleet_dagster_tests.dagster_layer.plants import content

LATER = microseconds(dt.datetime(2027, 1, 1, tzinfo=dt.UTC))


def partitions(**changes: str) -> Partitions:
    return partitions_of(FleetConfig.model_validate(content(**changes)))


def at(text: str) -> int:
    return microseconds(dt.datetime.fromisoformat(text))


@pytest.mark.parametrize(
    ("zone", "key", "n_windows"),
    [
        ("UTC", "2026-03-29", 1440),
        ("Europe/Berlin", "2026-03-28", 1440),
        ("Europe/Berlin", "2026-03-29", 1380),
        ("Europe/Berlin", "2026-10-25", 1500),
        ("America/New_York", "2026-03-08", 1380),
        ("Asia/Kolkata", "2026-03-29", 1440),
        ("Asia/Kathmandu", "2026-03-29", 1440),
        ("Australia/Lord_Howe", "2026-04-05", 1470),
    ],
)
def test_a_local_day_has_as_many_minutes_as_its_clock_says(
    zone: str, key: str, n_windows: int
) -> None:
    span = span_of(partitions(timezone=zone), key)
    assert len(span.starts(MINUTE)) == n_windows


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"])
@pytest.mark.parametrize("partition", ["daily", "hourly"])
def test_partitions_follow_each_other_without_gap_or_overlap(zone: str, partition: str) -> None:
    found = partitions(timezone=zone, partition=partition, start_date="2026-03-27")
    keys = keys_touching(found, Span(at("2026-03-27T12:00Z"), at("2026-04-07T12:00Z")), now=LATER)
    spans = [span_of(found, key) for key in keys]
    assert len(set(keys)) == len(keys) > 10
    assert all(a.end == b.start for a, b in itertools.pairwise(spans))


def test_an_hourly_day_is_24_partitions() -> None:
    keys = keys_touching(
        partitions(partition="hourly"),
        Span(at("2026-01-02T00:00Z"), at("2026-01-03T00:00Z")),
        now=LATER,
    )
    assert (len(keys), keys[0], keys[-1]) == (24, "2026-01-02-00:00", "2026-01-02-23:00")


def test_a_half_hour_zone_has_its_hours_at_half_past_utc() -> None:
    found = partitions(partition="hourly", timezone="Asia/Kolkata")
    key = keys_touching(found, Span(at("2026-01-02T00:45Z"), at("2026-01-02T00:46Z")), now=LATER)
    assert span_of(found, key[0]) == Span(at("2026-01-02T00:30Z"), at("2026-01-02T01:30Z"))


@pytest.mark.parametrize("clock", ["00:00:00", "00:00:30", "05:00:00", "23:59:59"])
def test_an_instant_touches_the_partition_that_holds_it(clock: str) -> None:
    start = at(f"2026-02-03T{clock}+00:00")
    assert keys_touching(partitions(), Span(start, start + 1), now=LATER) == ["2026-02-03"]


def test_the_25th_hour_of_a_day_touches_that_day() -> None:
    start = at("2026-10-25T22:30Z")
    found = keys_touching(partitions(timezone="Europe/Berlin"), Span(start, start + 1), now=LATER)
    assert found == ["2026-10-25"]


def test_a_span_that_ends_at_midnight_does_not_touch_the_next_day() -> None:
    span = Span(at("2026-02-03T00:00Z"), at("2026-02-04T00:00Z"))
    assert keys_touching(partitions(), span, now=LATER) == ["2026-02-03"]


def test_partitions_that_have_not_begun_and_days_before_the_fleet_are_not_touched() -> None:
    span = Span(at("2025-12-30T00:00Z"), at("2026-01-10T00:00Z"))
    now = at("2026-01-03T00:00Z")
    assert keys_touching(partitions(), span, now=now) == ["2026-01-01", "2026-01-02", "2026-01-03"]


def test_an_empty_span_and_one_in_the_future_touch_nothing() -> None:
    now = at("2026-01-03T00:00Z")
    assert keys_touching(partitions(), Span(now, now), now=now) == []
    assert keys_touching(partitions(), Span(now + DAY, now + 2 * DAY), now=now) == []


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-01-01T23:00Z", "2026-01-02T00:00Z"),
        ("2026-01-02T00:00:59Z", "2026-01-02T00:00Z"),
        ("2026-01-02T12:34:56Z", "2026-01-02T12:34Z"),
        ("2026-01-03T00:00Z", "2026-01-03T00:00Z"),
        ("2026-05-01T00:00Z", "2026-01-03T00:00Z"),
    ],
)
def test_only_windows_that_have_ended_are_closed(now: str, end: str) -> None:
    day = Span(at("2026-01-02T00:00Z"), at("2026-01-03T00:00Z"))
    assert closed_span(day, at(now), MINUTE) == Span(day.start, at(end))


def test_a_backfill_run_takes_about_as_much_of_an_hourly_fleet_as_of_a_daily_one() -> None:
    hourly = FleetConfig.model_validate(content(partition="hourly"))
    assert partitions_per_run(hourly) * HOUR >= DAY
    assert partitions_per_run(FleetConfig.model_validate(content())) == 10


def test_the_last_day_of_a_finished_fleet_is_its_last_partition() -> None:
    found = partitions(end_date="2026-01-03")
    span = Span(at("2026-01-02T00:00Z"), at("2026-02-01T00:00Z"))
    assert found.get_last_partition_key() == "2026-01-03"
    assert keys_touching(found, span, now=LATER) == ["2026-01-02", "2026-01-03"]
    assert span_of(found, "2026-01-03").end == at("2026-01-04T00:00Z")


def test_the_last_hours_of_a_finished_fleet_are_all_those_of_its_last_day() -> None:
    found = partitions(end_date="2026-01-03", partition="hourly", timezone="Asia/Kolkata")
    span = Span(at("2026-01-03T12:00Z"), at("2026-02-01T00:00Z"))
    keys = keys_touching(found, span, now=LATER)
    assert (len(keys), keys[-1]) == (7, "2026-01-03-23:00")
    assert span_of(found, keys[-1]).end == at("2026-01-03T18:30Z")


def test_a_fleet_that_ends_tomorrow_has_no_partition_after_that() -> None:
    """Partitions exist once they begin, as for a fleet that goes on."""
    found = partitions(end_date="2026-01-03")
    span = Span(at("2026-01-01T00:00Z"), at("2026-01-09T00:00Z"))
    assert keys_touching(found, span, now=at("2026-01-02T12:00Z")) == ["2026-01-01", "2026-01-02"]
