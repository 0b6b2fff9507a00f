"""Where a deviation began: CUSUM backtrack within a finite lookback (SPEC section 9)."""

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.model.errors import ShapeError
from fleet_dagster.model.lookbacks import ONSET_WINDOWS

DECIMALS = 9
"""Decisions are taken on values rounded to 1e-9."""
RECENT_WINDOWS = 3
"""Windows whose median says how large the deviation is now."""
LEAST_REFERENCE = 1.0
"""The reference is never lower: an ordinary fluctuation is no beginning. [standard deviations]"""


def onset_of(
    deviation: NDArray[np.float64], lookback: int = ONSET_WINDOWS + 1
) -> NDArray[np.int64]:
    """Find how many windows back the deviation seen in each window began.

    Parameters
    ----------
    deviation : ndarray, shape (n_series, n_windows)
        Unsmoothed error of each window, standardised by its mean and standard deviation on normal windows; NaN where there
        is none, which speaks neither for a deviation nor against one. [standard deviations]
    lookback : int
        Windows looked at, the current one included; those before the first count as normal.

    Returns
    -------
    ndarray, shape (n_series, n_windows)
        Windows between the onset and this one: 0 where it begins here, at most lookback - 1; 0 too where nothing deviates.

    Raises
    ------
    ShapeError
        `deviation` is not two-dimensional.

    Notes
    -----
    The cumulative sum of deviation - k has its last minimum just before the onset, which is where Page's CUSUM last left
    zero. Read backwards from the current window, the sum from the onset on is the largest; of equally large ones the
    shortest is taken. The reference k is half the present size of the deviation (the median of the last 3 windows), the best choice for a
    step of that size, and at least 1. The result of a window depends on its lookback alone, not on the span computed.

    References
    ----------
    Page, E. S., "Continuous Inspection Schemes", Biometrika, vol. 41, 1954, pp. 100-115, doi:10.1093/biomet/41.1-2.100.
    Hinkley, D. V., "Inference about the change-point from cumulative sum tests", Biometrika, vol. 58, 1971, pp. 509-523,
    doi:10.1093/biomet/58.3.509.

    Examples
    --------
    >>> onset_of(np.array([[0.1, -0.3, 0.2, 8.0, 9.0, 8.5, 9.0]]))[0, -1]
    np.int64(3)
    """
    if deviation.ndim != 2:  # noqa: PLR2004 - series and windows
        raise ShapeError("deviation", deviation.shape, "(n_series, n_windows)")
    reference = _reference(deviation)
    silent = np.isnan(deviation)
    known = np.where(silent, 0.0, deviation)
    total = np.zeros(deviation.shape)
    largest = np.full(deviation.shape, -np.inf)
    back = np.zeros(deviation.shape, dtype=np.int64)
    for lag in range(min(lookback, deviation.shape[1])):
        there = slice(0, deviation.shape[1] - lag)
        here = slice(lag, deviation.shape[1])
        excess = known[:, there] - reference[:, here]
        total[:, here] += np.where(silent[:, there], 0.0, excess)
        rounded = np.round(total[:, here], DECIMALS)
        is_larger = rounded > largest[:, here]
        largest[:, here] = np.where(is_larger, rounded, largest[:, here])
        back[:, here] = np.where(is_larger, lag, back[:, here])
    return back


def _reference(deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return half the present size of each window's deviation, and at least the least reference."""
    n_series, n_windows = deviation.shape
    padded = np.concatenate([np.full((n_series, RECENT_WINDOWS - 1), np.nan), deviation], axis=1)
    recent = np.stack([padded[:, i : i + n_windows] for i in range(RECENT_WINDOWS)])
    n_known = np.sum(~np.isnan(recent), axis=0)
    ordered = np.sort(recent, axis=0)  # NaN last
    low = np.take_along_axis(ordered, np.maximum(n_known - 1, 0)[None] // 2, axis=0)[0]
    high = np.take_along_axis(ordered, (n_known // 2)[None] * (n_known > 0), axis=0)[0]
    size = np.where(n_known > 0, (low + high) / 2.0, 0.0)
    return np.maximum(size / 2.0, LEAST_REFERENCE)
