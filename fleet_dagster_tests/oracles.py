"""Slow and plain versions of what the package computes, to be compared with it."""

import math
import statistics
from collections.abc import Iterable

NAN = math.nan


def naive_ranks(scores: Iterable[float]) -> list[int]:
    """Rank by counting who is better; 0 where there is no score."""
    rounded = [round(float(s), 9) for s in scores]
    return [0 if math.isnan(s) else 1 + sum(other > s for other in rounded) for s in rounded]


def naive_z(members: Iterable[float], prior: float | None) -> list[float]:
    """Compute modified Z-scores by the book, one member at a time."""
    scores = [float(s) for s in members]
    present = [s for s in scores if not math.isnan(s)]
    n = len(present)
    if n < 3:
        return [NAN] * len(scores)
    median = statistics.median(present)
    spread = statistics.fmean(abs(s - median) for s in present) * 1.253314
    out = []
    for i, score in enumerate(scores):
        if math.isnan(score):
            out.append(NAN)
            continue
        peers = present
        if n < 8:
            peers = [s for j, s in enumerate(scores) if j != i and not math.isnan(s)]
        centre = statistics.median(peers)
        mad = statistics.median(abs(s - centre) for s in peers)
        if prior is not None:
            mad = math.sqrt((n * mad**2 + 50 * prior**2) / (n + 50))
        scale = mad / 0.6745 * (math.sqrt(1 + math.pi / (2 * (n - 1))) if n < 8 else 1)
        scale = scale if round(scale, 12) > 0 else spread
        out.append((score - centre) / scale if round(scale, 12) > 0 else 0.0)
    return out
