"""Windows as vectors: standardised KPIs, smoothed over ten windows, of five windows in a row.

A vector holds the KPIs of its window first, then those of the window before, and so on. Shapes never depend on how much was
asked for: a product of matrices is computed for a whole hour, site by site, so that its last bits are the same wherever a
window is computed. The smoothing is that of a multivariate EWMA chart (Lowry, C. A., Woodall, W. H., Champ, C. W., Rigdon, S. E.
(1992): A multivariate exponentially weighted moving average control chart. doi:10.1080/00401706.1992.10485232), cut off after
ten windows.
"""

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.model.lookbacks import (
    SMOOTHED_WINDOWS,
    STACKED_WINDOWS,
    WARM_UP_WINDOWS,
)

CLIP = np.float32(50.0)
"""Standardised readings are cut off here: one wild reading says "far away", not how far."""
DECAY = 1.0 - 2.0 / (SMOOTHED_WINDOWS + 1)
"""Weight of a window relative to the next in the smoothed readings."""
LEAST_WINDOWS = 10
"""Windows with readings, among the 14 that a vector looks at, without which it is not judged."""

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


def standardised(readings: Floats, centre: Floats, scale: Floats) -> Floats:
    """Return readings in scales from the centre, cut off at 50.

    Parameters
    ----------
    readings : ndarray, shape (n_sites, ..., n_kpis)
        Normalised KPIs, NaN where absent. [1]
    centre, scale : ndarray, shape (n_sites, n_kpis)
        What normal is; a KPI of scale 0 was never seen, and stays absent. [1]

    Returns
    -------
    ndarray, shape (n_sites, ..., n_kpis)
        Standardised KPIs, NaN where absent. [1]
    """
    shape = (centre.shape[0], *[1] * (readings.ndim - 2), centre.shape[1])
    known = np.where(scale > 0, scale, np.float32(np.nan)).reshape(shape)
    z = np.divide(readings - centre.reshape(shape), known, dtype=np.float32)
    return np.clip(z, -CLIP, CLIP, out=z)


def smoothed(z: Floats) -> Floats:
    """Return the exponentially weighted mean of each KPI over ten windows; absent readings count for nothing.

    Parameters
    ----------
    z : ndarray, shape (..., n_windows, n_kpis)
        Standardised KPIs, NaN where absent. [1]

    Returns
    -------
    ndarray, shape (..., n_windows - 9, n_kpis)
        Means for the windows from the tenth on; 0, the centre, where all ten are absent. [1]
    """
    n = z.shape[-2] - SMOOTHED_WINDOWS + 1
    is_present = ~np.isnan(z)
    is_whole = bool(is_present.all())
    filled = z if is_whole else np.where(is_present, z, np.float32(0))
    total = np.zeros((*z.shape[:-2], n, z.shape[-1]), dtype=np.float32)
    weight = np.zeros(1 if is_whole else total.shape, dtype=np.float32)
    part = np.empty_like(total)
    for age in range(SMOOTHED_WINDOWS):
        recent = slice(SMOOTHED_WINDOWS - 1 - age, SMOOTHED_WINDOWS - 1 - age + n)
        share = np.float32(DECAY**age)
        total += np.multiply(share, filled[..., recent, :], out=part)
        weight += share if is_whole else share * is_present[..., recent, :]
    return np.divide(total, weight, out=total, where=weight > 0)


def stacked(smooth: Floats) -> Floats:
    """Return each window together with the four before it.

    Parameters
    ----------
    smooth : ndarray, shape (..., n_windows, n_kpis)
        Smoothed KPIs. [1]

    Returns
    -------
    ndarray, shape (..., n_windows - 4, 5 * n_kpis)
        Vectors of the windows from the fifth on: KPIs of the window itself first. [1]
    """
    last = STACKED_WINDOWS - 1
    n = smooth.shape[-2] - last
    return np.concatenate(
        [smooth[..., last - lag : last - lag + n, :] for lag in range(STACKED_WINDOWS)], axis=-1
    )


def is_judged(has_readings: Bools) -> Bools:
    """Tell which windows can be judged: they have readings, and so have at least ten of the fourteen that they look at.

    Parameters
    ----------
    has_readings : ndarray of bool, shape (..., n_windows)
        Windows in which the site sent any of the KPIs.

    Returns
    -------
    ndarray of bool, shape (..., n_windows - 13)
        Windows from the fourteenth on.
    """
    counted = np.cumsum(has_readings, axis=-1, dtype=np.int32)
    before = np.concatenate([np.zeros_like(counted[..., :1]), counted], axis=-1)
    n_seen = before[..., WARM_UP_WINDOWS + 1 :] - before[..., : -(WARM_UP_WINDOWS + 1)]
    return np.asarray(has_readings[..., WARM_UP_WINDOWS:] & (n_seen >= LEAST_WINDOWS))
