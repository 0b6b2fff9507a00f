"""How far normal errors reach: a level that is exceeded as rarely as wanted, from a tail that all sites share."""

import numpy as np
from numpy.typing import NDArray

TAIL_FROM = 0.90
"""Quantile of a site's own errors at which its tail begins."""
LEAST_START = 1e-9
"""Where a tail begins at the least: a site that never erred has errors of 0, and any other is beyond them."""
LEAST_EXCESSES = 10
"""Excesses below which a tail is not fitted."""
STEEPEST = 0.5
"""Limit of the tail's shape either way: beyond it a fit says more about a few values than about the tail."""
ALPHA = 0.01
"""Share of fault-free fleet-windows in which any site exceeds its level."""
Doubles = NDArray[np.float64]


def tail_start(errors: Doubles) -> float:
    """Return where the tail of a site's errors begins: their 0.9 quantile.

    Parameters
    ----------
    errors : ndarray
        Out-of-sample errors; NaN is left out. [1]

    Returns
    -------
    float
        The quantile, at least 1e-9; NaN without errors. [1]
    """
    known = errors[~np.isnan(errors)]
    return max(float(np.quantile(known, TAIL_FROM)), LEAST_START) if known.size else float("nan")


def tail_level(ratios: Doubles, exceeded_by: float, n_independent: int) -> float:
    """Return the level that errors, each in units of where its site's tail begins, exceed with a given probability.

    Parameters
    ----------
    ratios : ndarray
        Errors of all sites, divided by their tail's start; NaN is left out. [1]
    exceeded_by : float
        Share of the windows that may lie above. [1]
    n_independent : int
        Independent pieces of evidence among the excesses: hours of a site that have any.

    Returns
    -------
    float
        The level, at least 1; NaN without errors. [1]

    Notes
    -----
    Excesses over 1 follow a generalised Pareto distribution, fitted by L-moments (Hosking, J. R. M., Wallis, J. R. (1987):
    Parameter and quantile estimation for the generalized Pareto distribution. doi:10.1080/00401706.1987.10488243). With their
    mean b and a = mean((n - rank) / (n - 1) * excess):
        k = b / (b - 2 a) - 2, scale = b (1 + k), level = 1 + scale / k (1 - (exceeded_by / share above 1)^k).
    The level is that of a new window: k is less 1 / n_independent, for a tail whose scale is known from m values is that of a
    Lomax distribution of shape m.
    """
    known = ratios[~np.isnan(ratios)]
    if not known.size:
        return float("nan")
    excess = np.sort(known[known > 1.0] - 1.0)
    n, share = excess.size, excess.size / known.size
    if n < LEAST_EXCESSES or exceeded_by >= share or excess[-1] <= 0.0:
        return max(1.0, float(np.quantile(known, max(0.0, 1.0 - exceeded_by))))
    mean = excess.mean()
    moment = np.mean((n - 1 - np.arange(n)) / (n - 1) * excess)
    spread = mean - 2.0 * moment
    shape = float(np.clip(mean / spread - 2.0, -STEEPEST, STEEPEST)) if spread > 0 else STEEPEST
    scale = mean * (1.0 + shape)
    shape -= 1.0 / max(1, n_independent)
    rarity = exceeded_by / share
    if abs(shape) < 1e-6:  # noqa: PLR2004 - the exponential limit
        return float(1.0 - scale * np.log(rarity))
    return float(1.0 + scale / shape * (1.0 - rarity**shape))
