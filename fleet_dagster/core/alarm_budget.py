"""Whether a fleet's anomalies are as rare as its levels promise, real faults left aside."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from fleet_dagster.core.tail import ALPHA
from fleet_dagster.model.lookbacks import WARM_UP_WINDOWS

MEMORY_WINDOWS = WARM_UP_WINDOWS + 1
"""Windows that one score looks at: one odd reading may raise as many scores, and scores further apart share nothing."""
LASTING_WINDOWS = 2 * MEMORY_WINDOWS
"""Windows beyond which an anomaly has a cause: chance ends with the readings that a score remembers."""
TOO_HIGH_FOR_CHANCE = 0.9
"""Score of an error of 3.3 levels; the tail that levels come from ends far below."""
OFTEN = 0.25
"""Share of its windows in which a typical site may be anomalous: a fleet-wide event of some hours, not a state."""
LEAST_WINDOWS = 2 * LASTING_WINDOWS
"""Windows below which it cannot be told what is typical."""
UNLIKELY = 0.001
"""Chance below which a rate is held to be above its budget: the question is asked with every run."""
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class AlarmRate:
    """How often a fleet is anomalous for no lasting reason."""

    n_windows: int
    """Windows in which any site was scored."""
    n_sites: int
    """Sites that were scored at all."""
    chance_share: float
    """Share of the windows in which some site is anomalous as by chance: not for long, not by far."""
    n_lasting: int
    """Sites anomalous for longer than chance explains; they do not count in `chance_share`."""
    typical_share: float
    """Share of its windows in which the typical site is anomalous."""


def alarm_rate(scores: NDArray[np.float32], is_anomalous: Bools) -> AlarmRate:
    """Measure how often a fleet is anomalous, apart from what must have a cause.

    Parameters
    ----------
    scores : ndarray, shape (n_sites, n_windows)
        Anomaly scores; NaN where a site was not scored. [1]
    is_anomalous : ndarray of bool, shape (n_sites, n_windows)
        Which of them lie above the fleet's threshold.

    Returns
    -------
    AlarmRate
        The rate; all zero where nothing was scored.

    Notes
    -----
    A spell is a run of anomalous windows of one site. Left out of `chance_share` are sites with a spell of more than 28
    windows, spells with a score above 0.9, and spells that reach the first or the last window: their length is not known.
    The typical site is the lower median of the sites, so one faulty site of two does not count as typical.
    """
    is_scored = ~np.isnan(scores)
    n_windows = int(is_scored.any(axis=0).sum())
    per_site = is_scored.sum(axis=1)
    known = per_site > 0
    if n_windows == 0:
        return AlarmRate(0, 0, 0.0, 0, 0.0)
    chance, lasting = _chance_windows(scores, is_anomalous)
    shares = np.sort(is_anomalous.sum(axis=1)[known] / per_site[known])
    return AlarmRate(
        n_windows=n_windows,
        n_sites=int(known.sum()),
        chance_share=float(chance.sum() / n_windows),
        n_lasting=int(lasting.sum()),
        typical_share=float(shares[(shares.size - 1) // 2]),
    )


def probability_within_budget(share: float, n_windows: int) -> float:
    """Return how likely a share of anomalous fleet-windows at least this large is, where the budget of 1 % holds.

    Parameters
    ----------
    share : float
        Share of the windows in which any site was anomalous. [1]
    n_windows : int
        Windows looked at.

    Returns
    -------
    float
        The probability; 1 where the share is 0. [1]

    Notes
    -----
    Scores share readings over 14 windows, so n windows are worth m = n / 14 independent ones, of which x = share * m are
    anomalous: P(X >= x) = I_0.01(x, m - x + 1) of the binomial distribution, by the regularised incomplete beta function
    (Abramowitz, M., Stegun, I. A. (1964): Handbook of Mathematical Functions, 26.5.24), which needs no whole numbers.

    Examples
    --------
    >>> round(probability_within_budget(0.05, 1400), 4)  # P(X >= 5) of 100 at 1 %
    0.0034
    """
    if share <= 0.0:
        return 1.0
    independent = n_windows / MEMORY_WINDOWS
    hits = share * independent
    return float(betainc(hits, independent - hits + 1.0, ALPHA))


def is_restless(rate: AlarmRate) -> bool:
    """Tell whether brief anomalies are more than the budget of 1 % of the windows makes likely."""
    return probability_within_budget(rate.chance_share, rate.n_windows) < UNLIKELY


def is_estranged(rate: AlarmRate) -> bool:
    """Tell whether the typical site is anomalous so often that its baseline no longer tells what is normal; never below two sites."""
    is_told = rate.n_sites > 1 and rate.n_windows >= LEAST_WINDOWS
    return is_told and rate.typical_share > OFTEN


def _chance_windows(scores: NDArray[np.float32], is_anomalous: Bools) -> tuple[Bools, Bools]:
    """Return the windows in which a site is anomalous as by chance, and the sites that are so for long."""
    n_sites, n_windows = is_anomalous.shape
    padded = np.zeros((n_sites, n_windows + 2), dtype=np.int8)
    padded[:, 1:-1] = is_anomalous
    edges = np.diff(padded, axis=1)
    site, first = np.nonzero(edges == 1)
    end = np.nonzero(edges == -1)[1]
    lasting = np.zeros(n_sites, dtype=np.bool_)
    lasting[site[end - first > LASTING_WINDOWS]] = True
    is_chance = ~lasting[site] & (first > 0) & (end < n_windows)
    is_chance &= _peaks(scores, site, first, end) <= TOO_HIGH_FOR_CHANCE
    steps = np.zeros(n_windows + 1, dtype=np.int64)
    np.add.at(steps, first[is_chance], 1)
    np.add.at(steps, end[is_chance], -1)
    return np.cumsum(steps)[:-1] > 0, lasting


def _peaks(
    scores: NDArray[np.float32],
    site: NDArray[np.int64],
    first: NDArray[np.int64],
    end: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return the highest score of each spell."""
    if not site.size:
        return np.zeros(0, dtype=np.float32)
    flat = np.append(scores.ravel(), np.float32(0.0))
    bounds = np.column_stack([site * scores.shape[1] + first, site * scores.shape[1] + end])
    return np.asarray(np.maximum.reduceat(flat, bounds.ravel())[::2])
