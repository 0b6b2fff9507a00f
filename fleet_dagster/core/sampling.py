"""Deterministic choices by hash: which hours a baseline learns from."""

import hashlib

from fleet_dagster.core.windows import DAY, HOUR, Span, floor_to
from fleet_dagster.model.lookbacks import TRAINING_DAYS

HOURS_OF_DAY = 24
HOURS_PER_HOUR_OF_DAY = 4
"""96 hours in all: each hour of the day four times."""
DAILY_TRAINING_DAYS = 14
MONDAY = 4
"""Mondays among days since 1970-01-01, a Thursday, modulo 7."""


def unit_hash(*parts: str | int) -> int:
    """Return a 64-bit number that depends on nothing but the parts."""
    text = "\x1f".join(str(p) for p in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def sample_hours(fleet: str, span: Span) -> list[Span]:
    """Choose the whole hours of `span` that a baseline learns from, in order of time.

    Parameters
    ----------
    fleet : str
        Fleet; fleets differ in their sample.
    span : Span
        Days to choose from; whole UTC days.

    Returns
    -------
    list of Span
        At most 96 hours: of each hour of the day, the four days with the smallest hash.

    Notes
    -----
    The hash knows nothing of the training day, so that neighbouring training days share most of their sample and an hour
    reduced for one serves the next.
    """
    days = [d.start for d in span.days()]
    chosen = []
    for hour in range(HOURS_OF_DAY):
        ranked = sorted(days, key=lambda day: unit_hash(fleet, hour, day))
        chosen += [
            Span(day + hour * HOUR, day + (hour + 1) * HOUR)
            for day in ranked[:HOURS_PER_HOUR_OF_DAY]
        ]
    return sorted(chosen)


def training_days(start: int, until: int) -> list[int]:
    """Return the training days up to and including the day of `until` [us].

    Parameters
    ----------
    start : int
        First instant of the fleet. [us]
    until : int
        An instant of the last day looked at. [us]

    Returns
    -------
    list of int
        Starts of every day in the 14 days after the fleet's first, then of Mondays; all in UTC. [us]
    """
    first = floor_to(start, DAY)
    days = range(first + DAY, floor_to(until, DAY) + DAY, DAY)
    return [day for day in days if day <= first + DAILY_TRAINING_DAYS * DAY or is_monday(day)]


def training_day_in_force(start: int, instant: int) -> int | None:
    """Return the training day whose baseline governs the UTC day of `instant`; None before the first [us]."""
    first, day = floor_to(start, DAY), floor_to(instant, DAY)
    if day <= first:
        return None
    last_monday = day - (day // DAY - MONDAY) % 7 * DAY
    return min(day, max(first + DAILY_TRAINING_DAYS * DAY, last_monday))


def training_span(training_day: int) -> Span:
    """Return the days a training day's baseline learns from: 28 days that end a day before it [us]."""
    return Span(training_day - TRAINING_DAYS * DAY, training_day - DAY)


def is_monday(day: int) -> bool:
    """Tell whether the UTC day that starts at `day` is a Monday; 1970-01-01 was a Thursday."""
    return (day // DAY) % 7 == MONDAY
