"""The course of health as one line of characters."""

import datetime as dt
from collections.abc import Sequence
from itertools import pairwise

from fleet_dagster.console.picture import HealthPoint

BLOCKS = "▁▂▃▄▅▆▇█"
NOTHING = "·"
LEAST_RANGE = 0.1
"""Range of health that is drawn at least: a calm fleet's line is flat."""


def sparkline(points: Sequence[HealthPoint], span: dt.timedelta, width: int) -> str:
    """Draw the mean health of equal parts of a span that ends with the newest point; parts without any health are dots.

    The lowest health is the lowest block and the highest the highest, where they are 0.1 or more apart.
    """
    known = [p.health for p in points if p.health is not None]
    if not known or width < 1:
        return ""
    high = max(known)
    low = max(0.0, min(*known, high - LEAST_RANGE))
    scale = max(high - low, LEAST_RANGE)
    return "".join(
        NOTHING
        if mean is None
        else BLOCKS[min(len(BLOCKS) - 1, int((mean - low) / scale * len(BLOCKS)))]
        for mean in _means(points, span, width)
    )


def _means(points: Sequence[HealthPoint], span: dt.timedelta, width: int) -> list[float | None]:
    """Return the mean of each part, the oldest first; there are no more parts than windows."""
    window = min((b.window_start - a.window_start for a, b in pairwise(points)), default=span)
    n_parts = max(1, min(width, span // window))
    start = points[-1].window_start + window - span
    parts: list[list[float]] = [[] for _ in range(n_parts)]
    for point in points:
        if point.health is not None:
            part = int((point.window_start - start) / span * n_parts)
            parts[min(max(part, 0), n_parts - 1)].append(point.health)
    return [sum(part) / len(part) if part else None for part in parts]
