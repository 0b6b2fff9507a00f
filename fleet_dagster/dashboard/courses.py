"""Courses of figures over time: on a grid of windows, silent ones empty, thinned where a screen has no room for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.windows import SECOND, Span, ceil_to

MOST_POINTS = 2_000
DECIMALS = 6
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Series:
    """One figure in every window of a grid; NaN where it is not known."""

    name: str
    label: str
    unit: str
    values: Values
    low: Values | None = None
    high: Values | None = None
    """What is usual, where that is known; else, of a thinned course, the extremes."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The windows of a span, and how many of them one point stands for."""

    span: Span
    interval: int

    @property
    def starts(self) -> NDArray[np.int64]:
        """Start of each window [us]."""
        return self.span.starts(self.interval)

    @property
    def together(self) -> int:
        """How many windows one point stands for."""
        return max(1, -(-self.starts.size // MOST_POINTS))

    def times(self) -> list[float]:
        """Return the start of each point [s]."""
        return [start / SECOND for start in self.starts[:: self.together].tolist()]

    def placed(self, starts: NDArray[np.int64], values: Values) -> Values:
        """Put values of windows on the grid; NaN where there is none."""
        found = np.full(self.starts.size, np.nan)
        first = ceil_to(self.span.start, self.interval)
        at = (starts - first) // self.interval
        is_inside = (at >= 0) & (at < found.size)
        found[at[is_inside]] = values[is_inside]
        return found

    def shown(self, series: Series) -> dict[str, Any]:  # Any: JSON
        """Return a series as it is sent."""
        mean = _reduced(series.values, self.together, np.nanmean)
        low, high = series.low, series.high
        if low is not None and high is not None:
            low, high = (_reduced(edge, self.together, np.nanmean) for edge in (low, high))
        elif self.together > 1:
            low = _reduced(series.values, self.together, np.nanmin)
            high = _reduced(series.values, self.together, np.nanmax)
        return {
            "name": series.name,
            "label": series.label,
            "unit": series.unit,
            "values": _plain(mean),
            "low": None if low is None else _plain(low),
            "high": None if high is None else _plain(high),
        }

    def course(self, of: str, series: Sequence[Series]) -> dict[str, Any]:  # Any: JSON
        """Return series over the grid as they are sent."""
        return {
            "of": of,
            "from": self.span.start / SECOND,
            "to": self.span.end / SECOND,
            "thinned": self.together > 1,
            "windows_per_point": self.together,
            "t": self.times(),
            "series": [self.shown(one) for one in series],
        }


def _reduced(
    values: Values, together: int, reduce: Any
) -> Values:  # Any: one of numpy's reductions
    """Return one value for so many neighbours, of those that are known; NaN where none is."""
    if together == 1:
        return values
    n_points = -(-values.size // together)
    padded = np.full(n_points * together, np.nan)
    padded[: values.size] = values
    blocks = padded.reshape(n_points, together)
    known = ~np.isnan(blocks).all(axis=1)
    found = np.full(n_points, np.nan)
    found[known] = reduce(blocks[known], axis=1)
    return found


def _plain(values: Values) -> list[float | None]:
    rounded = np.round(values, DECIMALS).tolist()
    return [None if value != value else value for value in rounded]  # noqa: PLR0124 - NaN is not itself
