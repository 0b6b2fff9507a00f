"""Where a deviation began."""

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.model.lookbacks import ONSET_WINDOWS

ALLOWANCE = 1.0
"""Deviation that counts neither for nor against a change."""


def onset_of(deviation: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many windows before each window its deviation began, by CUSUM backtrack.

    Parameters
    ----------
    deviation : ndarray, shape (n_series, n_lead + n_windows)
        Standardised errors before smoothing, NaN where unknown, from `ONSET_WINDOWS` before the first window on. [1]

    Returns
    -------
    ndarray of int, shape (n_series, n_windows)
        Windows back; 0 where the deviation began in the window itself.
    """
    n = deviation.shape[-1] - ONSET_WINDOWS
    excess = np.nan_to_num(deviation - ALLOWANCE, nan=0.0)
    level = np.cumsum(excess, axis=-1)
    views = np.lib.stride_tricks.sliding_window_view(level, ONSET_WINDOWS + 1, axis=-1)[..., :n, :]
    lowest = ONSET_WINDOWS - np.argmin(views[..., ::-1][..., 1:], axis=-1) - 1
    return np.asarray(ONSET_WINDOWS - lowest - 1, dtype=np.int64)
