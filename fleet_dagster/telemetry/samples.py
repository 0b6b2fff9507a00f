"""`Sample`: one value of one series."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of a metric; its labels in the order in which the metric declares them."""

    metric: str
    labels: tuple[str, ...]
    value: float
    since: int | None = None
    """Of a counter: when it began. [us]"""
    counts: tuple[tuple[str, float], ...] = ()
    """Of a histogram, whose `value` is the sum: upper bounds, and how many are not above each."""
