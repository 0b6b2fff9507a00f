"""Medians and median absolute deviations along rows that may hold NaN."""

import numpy as np
from numpy.typing import NDArray

NORMAL_CONSISTENCY = 1.4826
"""MAD to standard deviation on Gaussian data: 1 / 0.6745."""
TRIM_SIGMA = 6.0


def sorted_median(ordered: NDArray[np.float64], n: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the median of each row of ascending values whose first `n` are valid.

    Parameters
    ----------
    ordered : ndarray, shape (..., m)
        Ascending values along the last axis, NaN last. [any]
    n : ndarray, shape (...)
        Number of valid values of each row.

    Returns
    -------
    ndarray, shape (...)
        Medians; NaN where n = 0. [any]
    """
    if ordered.shape[-1] == 0:
        return np.full(ordered.shape[:-1], np.nan)
    last = ordered.shape[-1] - 1
    low = np.take_along_axis(ordered, np.clip((n - 1) // 2, 0, last)[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(ordered, np.clip(n // 2, 0, last)[..., None], axis=-1)[..., 0]
    return np.where(n > 0, low + (high - low) / 2.0, np.nan)


def row_median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of each row over what is not NaN; NaN for a row without values.

    Parameters
    ----------
    values : ndarray, shape (..., m)
        Values. [any]

    Returns
    -------
    ndarray, shape (...)
        Medians. [any]
    """
    return sorted_median(np.sort(values, axis=-1), np.sum(~np.isnan(values), axis=-1))


def row_median_and_mad(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the median of each row and the median absolute deviation from it.

    Parameters
    ----------
    values : ndarray, shape (..., m)
        Values, NaN where absent. [any]

    Returns
    -------
    median : ndarray, shape (...)
        Medians; NaN for a row without values. [any]
    mad : ndarray, shape (...)
        Median absolute deviations; NaN for a row without values. [any]
    """
    median = row_median(values)
    return median, row_median(np.abs(values - median[..., None]))


def trimmed_centre_and_scale(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a robust centre and scale of each row, outliers trimmed inside the row itself.

    Parameters
    ----------
    values : ndarray, shape (..., m)
        Values, NaN where absent. [any]

    Returns
    -------
    centre : ndarray, shape (...)
        Median of what lies within 6 scaled MADs of the row's median; NaN for a row without values. [any]
    scale : ndarray, shape (...)
        1.4826 times their MAD; 0 for a constant row. [any]

    Notes
    -----
    A row more than half of which is one value has MAD 0; nothing is trimmed from it then.
    """
    median, mad = row_median_and_mad(values)
    limit = TRIM_SIGMA * NORMAL_CONSISTENCY * mad
    far = (np.abs(values - median[..., None]) > limit[..., None]) & (mad[..., None] > 0)
    centre, trimmed_mad = row_median_and_mad(np.where(far, np.nan, values))
    return centre, NORMAL_CONSISTENCY * trimmed_mad
