"""Ranks and modified Z-scores (SPEC section 7)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fleet_dagster.core.robust import row_median, row_median_and_mad, sorted_median
from fleet_dagster.model.errors import ShapeError

Z_FACTOR = 0.6745
"""Third quartile of the standard normal distribution: makes MAD estimate sigma."""
MEAN_AD_FACTOR = 1.253314
"""sqrt(pi / 2): makes the mean absolute deviation estimate sigma."""
PRIOR_WEIGHT = 50.0
"""Weight of the group's long-run MAD, in windows' worth of members."""
DEFAULT_MAD = 0.05
"""Long-run MAD of health before any history."""
SMALL_GROUP = 8
"""Below this many members, leave-one-out estimates are used."""
MIN_GROUP = 3
"""Below this many members nothing is an outlier."""
DECIMALS = 9
"""Decisions and ranks are taken on values rounded to 1e-9."""


@dataclass(frozen=True, slots=True)
class _Spread:
    """Centre, MAD (shrunk) and small-group factor for each member of a group."""

    centre: NDArray[np.float64]
    mad: NDArray[np.float64]
    factor: NDArray[np.float64]


def competition_ranks(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rank each row, best (highest) = 1, ties equal and the next rank skipped.

    Parameters
    ----------
    scores : ndarray, shape (n_windows, n_sites)
        Scores, NaN where a site is not ranked. [1]

    Returns
    -------
    ndarray, shape (n_windows, n_sites)
        Ranks from 1; 0 where the score is NaN. Taken on scores rounded to 1e-9.

    Examples
    --------
    >>> competition_ranks(np.array([[0.5, 0.9, np.nan, 0.5]])).tolist()
    [[2, 1, 0, 2]]
    """
    negated = -np.round(scores, DECIMALS)
    order = np.argsort(negated, axis=-1, kind="stable")
    ordered = np.take_along_axis(negated, order, axis=-1)
    is_new = np.ones(ordered.shape, dtype=bool)
    is_new[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    places = np.arange(1, scores.shape[-1] + 1)
    ranks = np.maximum.accumulate(np.where(is_new, places, 0), axis=-1)
    out = np.empty(ranks.shape, dtype=np.int64)
    np.put_along_axis(out, order, ranks, axis=-1)
    return np.where(np.isnan(scores), 0, out)


def modified_z_scores(
    scores: NDArray[np.float64], prior_mad: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Compute every member's modified Z-score within its group, window by window.

    Parameters
    ----------
    scores : ndarray, shape (n_windows, n_members)
        Scores of one group, NaN where a member is absent. [1]
    prior_mad : array_like, broadcastable to (n_windows,), optional
        Long-run MAD of the group; without it the MAD is not shrunk. [1]

    Returns
    -------
    ndarray, shape (n_windows, n_members)
        M = 0.6745 (x - median) / MAD; NaN where absent or where fewer than 3 members are present; 0 where the whole group
        is the same. [1]

    Notes
    -----
    The MAD is shrunk toward the group's long-run MAD with weight 50: sqrt((n MAD**2 + 50 prior**2) / (n + 50)). Groups of
    fewer than 8 use the leave-one-out median and MAD, and a scale multiplied by sqrt(1 + pi / (2 (n - 1))), the spread of a
    difference between a member and a median of the n - 1 others. Where the scale is 0, M = (x - median) / (1.253314 * mean
    absolute deviation of the group, the member included), and 0 where that is 0 too.

    References
    ----------
    Iglewicz, B. and Hoaglin, D. C., "How to Detect and Handle Outliers", ASQC Basic References in Quality Control, vol. 16,
    1993, ISBN 0-87389-247-X.

    Examples
    --------
    >>> z = modified_z_scores(np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 100.0]]))
    >>> round(float(z[0, -1]), 2)
    32.04
    """
    n = np.sum(~np.isnan(scores), axis=-1)
    z = np.full(scores.shape, np.nan)
    prior = (
        None
        if prior_mad is None
        else np.broadcast_to(np.asarray(prior_mad, dtype=np.float64), n.shape)
    )
    large, small = n >= SMALL_GROUP, (n >= MIN_GROUP) & (n < SMALL_GROUP)
    for chosen, spread_of in ((large, _whole_group_spread), (small, _leave_one_out_spread)):
        if chosen.any():
            group = scores[chosen]
            spread = spread_of(group, n[chosen], None if prior is None else prior[chosen])
            z[chosen] = _z(group, spread)
    return z


def detect_outlier(
    score: ArrayLike, peers: ArrayLike, threshold_sigma: float, *, prior_mad: float | None = None
) -> bool | NDArray[np.bool_]:
    """Tell whether a score is an outlier among its peers.

    Parameters
    ----------
    score : float or array_like, shape (n,)
        One score, or several to be judged one by one against the same peers; NaN is never an outlier. [1]
    peers : array_like, shape (m,)
        Scores of the other members of the group, not containing `score`; NaN is left out. [1]
    threshold_sigma : float
        Modified Z-score above which a score is an outlier, > 0.
    prior_mad : float, optional
        Long-run MAD of the group; without it the MAD is not shrunk. [1]

    Returns
    -------
    bool or ndarray, shape (n,)
        Whether |M| exceeds the threshold; False with fewer than 2 peers.

    Raises
    ------
    ShapeError
        `score` has more than one axis, or `peers` is not one-dimensional.

    Notes
    -----
    See `modified_z_scores`: the group is the score and its peers.

    Examples
    --------
    >>> detect_outlier(0.2, [0.80, 0.81, 0.79, 0.82, 0.80, 0.78, 0.81, 0.80], 3.5)
    True
    """
    x, others = np.asarray(score, dtype=np.float64), np.asarray(peers, dtype=np.float64)
    if x.ndim > 1:
        raise ShapeError("score", x.shape, "() or (n,)")
    if others.ndim != 1:
        raise ShapeError("peers", others.shape, "(m,)")
    rows = x.reshape(-1, 1)
    group = np.concatenate([rows, np.broadcast_to(others, (rows.shape[0], others.size))], axis=1)
    z = modified_z_scores(group, prior_mad)[:, 0]
    found = exceeds(z, threshold_sigma)
    return bool(found[0]) if x.ndim == 0 else found


def exceeds(
    z: NDArray[np.float64], threshold_sigma: float | NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tell where |M|, rounded to 1e-9, is beyond the threshold; NaN never is.

    Parameters
    ----------
    z : ndarray, shape (...)
        Modified Z-scores. [1]
    threshold_sigma : float
        Threshold, > 0.

    Returns
    -------
    ndarray, shape (...)
        True where it is an outlier.
    """
    return np.round(np.abs(z), DECIMALS) > threshold_sigma


def persistent(flags: NDArray[np.bool_], *, at_least: int, of: int) -> NDArray[np.bool_]:
    """Tell where a flag was set in at least that many of the last windows, the current one included.

    Parameters
    ----------
    flags : ndarray, shape (n_windows, n_sites)
        Flags in order of time.
    at_least : int
        Flags needed.
    of : int
        Windows looked at; those before the first count as unset.

    Returns
    -------
    ndarray, shape (n_windows, n_sites)
        True where the flag persists.
    """
    sums = np.cumsum(np.pad(flags.astype(np.int64), ((of, 0), (0, 0))), axis=0)
    return np.asarray(sums[of:] - sums[:-of] >= at_least)


def long_run_mad(scores: NDArray[np.float64]) -> float:
    """Estimate a group's long-run MAD from many windows.

    Parameters
    ----------
    scores : ndarray, shape (n_windows, n_members)
        Scores of the group, NaN where absent. [1]

    Returns
    -------
    float
        Median over windows and members of each member's distance from the median of the others, divided by the small-group
        factor of `modified_z_scores`; NaN where no window has 3 members. [1]

    Notes
    -----
    The distance from a median that the member itself belongs to would be 16 % too short in groups of 8 and 13 % in groups
    of 10, and scores judged by it flagged too often.
    """
    n = np.sum(~np.isnan(scores), axis=-1)
    enough = n >= MIN_GROUP
    if not enough.any():
        return float("nan")
    distance = np.abs(scores[enough] - _median_of_others(scores[enough], n[enough]))
    return float(row_median((distance / _leave_one_out_factor(n[enough])).ravel()))


def _leave_one_out_factor(n: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how much wider a member's distance from the median of the others spreads, shape (n_windows, 1)."""
    return np.sqrt(1.0 + np.pi / (2.0 * (n.astype(np.float64)[:, None] - 1.0)))


def _median_of_others(scores: NDArray[np.float64], n: NDArray[np.int64]) -> NDArray[np.float64]:
    order = np.argsort(scores, axis=-1)
    ordered = np.take_along_axis(scores, order, axis=-1)
    place = np.arange(scores.shape[1])
    others = (n - 1)[:, None]

    def smallest_but(k: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.take_along_axis(ordered, np.minimum(k + (k >= place), place[-1]), axis=-1)

    low, high = smallest_but((others - 1) // 2), smallest_but(others // 2)
    out = np.empty(scores.shape)
    np.put_along_axis(out, order, low + (high - low) / 2.0, axis=-1)
    return out


def _shrunk(
    mad: NDArray[np.float64], n: NDArray[np.float64], prior: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    if prior is None:
        return mad
    return np.sqrt((n * mad**2 + PRIOR_WEIGHT * prior**2) / (n + PRIOR_WEIGHT))


def _whole_group_spread(
    scores: NDArray[np.float64], n: NDArray[np.int64], prior: NDArray[np.float64] | None
) -> _Spread:
    median, mad = row_median_and_mad(scores)
    return _Spread(
        median[:, None], _shrunk(mad, n.astype(np.float64), prior)[:, None], np.ones((n.size, 1))
    )


def _leave_one_out_spread(
    scores: NDArray[np.float64], n: NDArray[np.int64], prior: NDArray[np.float64] | None
) -> _Spread:
    order = np.argsort(scores, axis=-1)
    ordered = np.take_along_axis(scores, order, axis=-1)[:, : SMALL_GROUP - 1]
    m = ordered.shape[1]
    others = np.broadcast_to(ordered[:, None, :], (n.size, m, m)).copy()
    others[:, np.arange(m), np.arange(m)] = np.nan
    counts = np.broadcast_to((n - 1)[:, None], (n.size, m))
    centre = sorted_median(np.sort(others, axis=-1), counts)
    mad = sorted_median(np.sort(np.abs(others - centre[..., None]), axis=-1), counts)
    size = n.astype(np.float64)[:, None]
    shrunk = _shrunk(mad, size, None if prior is None else prior[:, None])
    spread = [np.full(scores.shape, np.nan), np.full(scores.shape, np.nan)]
    for target, estimate in zip(spread, (centre, shrunk), strict=True):
        np.put_along_axis(target, order[:, :m], estimate, axis=-1)
    return _Spread(spread[0], spread[1], _leave_one_out_factor(n))


def _z(scores: NDArray[np.float64], spread: _Spread) -> NDArray[np.float64]:
    deviation = scores - spread.centre
    scale = spread.mad * spread.factor / Z_FACTOR
    group_median = row_median(scores)[:, None]
    mean_ad = np.nanmean(np.abs(scores - group_median), axis=-1, keepdims=True) * MEAN_AD_FACTOR
    scale = np.where(np.round(scale, 12) > 0, scale, np.broadcast_to(mean_ad, scale.shape))
    z = np.divide(deviation, scale, out=np.zeros(scores.shape), where=np.round(scale, 12) > 0)
    return np.where(np.isnan(scores), np.nan, z)
