"""From anomalous windows to alarms: 3 of the last 4."""

import numpy as np
from numpy.typing import NDArray

ALARM_WINDOWS = 4
"""Windows that an alarm looks at, the current one included."""
ALARM_MINIMUM = 3
"""Anomalous windows among them that make an alarm."""
Bools = NDArray[np.bool_]


def alarms(is_anomalous: Bools) -> Bools:
    """Tell in which windows there is an alarm: at least 3 of the last 4 windows, this one included, are anomalous.

    Parameters
    ----------
    is_anomalous : ndarray of bool, shape (..., n_windows)
        Windows above the threshold; those before the first count as normal.

    Returns
    -------
    ndarray of bool, shape (..., n_windows)
        Windows in alarm.
    """
    n = is_anomalous.shape[-1]
    count = np.zeros(is_anomalous.shape, dtype=np.int8)
    for age in range(min(ALARM_WINDOWS, n)):
        count[..., age:] += is_anomalous[..., : n - age]
    return np.asarray(count >= ALARM_MINIMUM)


def begins(is_alarm: Bools) -> Bools:
    """Tell in which windows an alarm begins.

    Parameters
    ----------
    is_alarm : ndarray of bool, shape (..., n_windows)
        Windows in alarm; before the first there was none.

    Returns
    -------
    ndarray of bool, shape (..., n_windows)
        Windows in alarm whose predecessor was not.
    """
    before = np.zeros_like(is_alarm)
    before[..., 1:] = is_alarm[..., :-1]
    return np.asarray(is_alarm & ~before)
