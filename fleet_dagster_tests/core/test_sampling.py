import datetime as dt
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.core.sampling import (
    is_monday,
    sample_hours,
    training_day_in_force,
    training_days,
    training_span,
    unit_hash,
)
from fleet_dagster.core.windows import DAY, HOUR, Span

MONDAY = 1_767_571_200_000_000
"""2026-01-05."""
instants = st.integers(0, 80 * 365 * DAY)


def day(us: int) -> dt.date:
    return dt.datetime.fromtimestamp(us / 1e6, tz=dt.UTC).date()


@given(st.integers(0, 40 * 365))
def test_mondays_are_mondays(number: int) -> None:
    assert is_monday(number * DAY) == (day(number * DAY).weekday() == 0)


def test_baselines_are_trained_daily_for_two_weeks_then_on_mondays() -> None:
    start = MONDAY + 2 * DAY + 5 * HOUR
    found = [day(d) for d in training_days(start, MONDAY + 40 * DAY)]
    daily = [dt.date(2026, 1, 7) + dt.timedelta(n) for n in range(1, 15)]
    mondays = [dt.date(2026, 1, 26), dt.date(2026, 2, 2), dt.date(2026, 2, 9)]
    assert found == daily + mondays


@given(instants, st.integers(0, 60 * DAY))
def test_the_baseline_in_force_is_the_last_trained(start: int, later: int) -> None:
    instant = start + later
    days = training_days(start, instant)
    assert training_day_in_force(start, instant) == (days[-1] if days else None)


def test_the_first_day_has_no_baseline() -> None:
    assert training_day_in_force(MONDAY + HOUR, MONDAY + 23 * HOUR) is None
    assert training_day_in_force(MONDAY + HOUR, MONDAY + DAY) == MONDAY + DAY


def test_a_baseline_learns_from_four_weeks_that_end_a_day_before() -> None:
    assert training_span(MONDAY) == Span(MONDAY - 29 * DAY, MONDAY - DAY)


@given(st.integers(1, 28), st.text(min_size=1, max_size=8))
def test_every_hour_of_the_day_is_sampled_at_most_four_times(n_days: int, name: str) -> None:
    span = Span(MONDAY, MONDAY + n_days * DAY)
    hours = sample_hours(name, span)
    per_hour = Counter((h.start % DAY) // HOUR for h in hours)
    assert per_hour == dict.fromkeys(range(24), min(4, n_days))
    assert hours == sorted(set(hours))
    assert all(h.end - h.start == HOUR and h.clip(span) == h for h in hours)
    assert hours == sample_hours(name, span)


def test_no_days_give_no_hours() -> None:
    assert sample_hours("plant", Span(MONDAY, MONDAY)) == []


def test_fleets_differ_in_their_sample() -> None:
    span = training_span(MONDAY)
    assert sample_hours("plant", span) != sample_hours("works", span)


def test_neighbouring_training_days_share_most_of_their_sample() -> None:
    today = set(sample_hours("plant", training_span(MONDAY)))
    tomorrow = set(sample_hours("plant", training_span(MONDAY + DAY)))
    assert len(today & tomorrow) >= 80


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("plant", 3, 86_400_000_000), 1_077_302_051_022_259_686),
        (("",), 16_406_829_232_824_261_652),
    ],
)
def test_the_hash_is_pinned(parts: tuple[str | int, ...], expected: int) -> None:
    assert unit_hash(*parts) == expected


def test_the_hash_tells_parts_apart() -> None:
    assert unit_hash("a", "bc") != unit_hash("ab", "c")
