"""Windows, hours and days as integers: microseconds since 1970-01-01T00:00Z."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.model.errors import SpanError

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 3600 * SECOND
DAY = 24 * HOUR


def floor_to(instant: int, step: int) -> int:
    """Return the last multiple of `step` at or before `instant` [us]."""
    return instant - instant % step


def ceil_to(instant: int, step: int) -> int:
    """Return the first multiple of `step` at or after `instant` [us]."""
    return -(-instant // step) * step


def iso(instant: int) -> str:
    """Return an instant as an ISO 8601 stamp in UTC, with no more than the digits it needs."""
    stamp = np.datetime64(instant, "us")
    return f"{stamp if instant % SECOND else stamp.astype('datetime64[s]')}Z"


def iso_day(instant: int) -> str:
    """Return the UTC day of an instant as an ISO 8601 date."""
    return iso(instant)[:10]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open span of time, [start, end) [us]."""

    start: int
    end: int

    def __post_init__(self) -> None:
        """Refuse a reversed span."""
        if self.end < self.start:
            msg = f"span ends ({iso(self.end)}) before it starts ({iso(self.start)}). Swap the two"
            raise SpanError(msg)

    @property
    def is_empty(self) -> bool:
        """Whether the span holds no instant."""
        return self.end == self.start

    def widen(self, *, before: int = 0, after: int = 0) -> "Span":
        """Return the span with that much more time on either side [us]."""
        return Span(self.start - before, self.end + after)

    def clip(self, other: "Span") -> "Span":
        """Return the part that lies within `other`; empty at its start where they do not meet."""
        start = min(max(self.start, other.start), other.end)
        return Span(start, max(start, min(self.end, other.end)))

    def overlaps(self, other: "Span") -> bool:
        """Whether the two share an instant."""
        return self.start < other.end and other.start < self.end

    def to_whole(self, step: int) -> "Span":
        """Return the smallest span of whole steps that contains this one [us]."""
        return Span(floor_to(self.start, step), ceil_to(self.end, step))

    def steps(self, step: int) -> Iterator["Span"]:
        """Yield the span cut at the multiples of `step` [us]."""
        start = self.start
        while start < self.end:
            end = min(floor_to(start, step) + step, self.end)
            yield Span(start, end)
            start = end

    def days(self) -> Iterator["Span"]:
        """Yield the span cut at UTC midnights."""
        return self.steps(DAY)

    def starts(self, interval: int) -> NDArray[np.int64]:
        """Return the starts of its windows, shape (n_windows,) [us]."""
        return np.arange(ceil_to(self.start, interval), self.end, interval, dtype=np.int64)


def union(spans: list[Span]) -> list[Span]:
    """Merge spans that overlap or touch, in order of time."""
    merged: list[Span] = []
    for span in sorted(s for s in spans if not s.is_empty):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def gaps(within: Span, covered: list[Span]) -> list[Span]:
    """Return the parts of `within` that no span of `covered` holds, in order of time."""
    holes, start = [], within.start
    for span in union(covered):
        if span.end <= start or span.start >= within.end:
            continue
        if span.start > start:
            holes.append(Span(start, span.start))
        start = span.end
    if start < within.end:
        holes.append(Span(start, within.end))
    return holes
