"""Health of a site from its KPIs, uptime and faults (SPEC section 6)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fleet_dagster.model.config import Kpi
from fleet_dagster.model.errors import ShapeError
from fleet_dagster.model.profiles import HealthWeights

FAULT_SCALE = 5.0
"""Faults at which the fault part has fallen to 1/e of its share."""
BANDS = ((0.8, "healthy"), (0.5, "degraded"), (0.0, "critical"))


@dataclass(frozen=True, slots=True)
class HealthParts:
    """The three parts of a health score; they sum to it. NaN where nothing can be judged."""

    kpi: NDArray[np.float64]
    uptime: NDArray[np.float64]
    fault: NDArray[np.float64]

    @property
    def score(self) -> NDArray[np.float64]:
        """The health, in [0, 1]."""
        return np.clip(self.kpi + self.uptime + self.fault, 0.0, 1.0)


def goodness(values: NDArray[np.floating], kpis: Sequence[Kpi]) -> NDArray[np.float64]:
    """Turn normalised KPI readings into goodness.

    Parameters
    ----------
    values : ndarray, shape (..., n_kpis)
        Normalised readings, 0 = lo and 1 = hi, unclipped; NaN where absent. [1]
    kpis : sequence of Kpi
        Direction and target of each KPI.

    Returns
    -------
    ndarray, shape (..., n_kpis)
        Goodness in [0, 1]; NaN where the reading is absent. [1]

    Raises
    ------
    ShapeError
        The last axis is not as long as `kpis`.

    Notes
    -----
    `higher`: clip(u). `lower`: clip(1 - u). `band`: 1 within the target, falling linearly to 0 at lo and hi; a target
    that touches lo (or hi) makes no slope on that side, so anything beyond it scores 0.
    """
    if values.shape[-1:] != (len(kpis),):
        raise ShapeError("values", values.shape, f"(..., {len(kpis)})")
    out = np.empty(values.shape, dtype=np.float64)
    for k, kpi in enumerate(kpis):
        out[..., k] = goodness_of_kpi(values[..., k], kpi)
    return out


def goodness_of_kpi(values: NDArray[np.floating], kpi: Kpi) -> NDArray[np.float64]:
    """Turn one KPI's normalised readings into goodness; see `goodness`.

    Parameters
    ----------
    values : ndarray, shape (...)
        Normalised readings, NaN where absent. [1]
    kpi : Kpi
        Direction and target.

    Returns
    -------
    ndarray, shape (...)
        Goodness in [0, 1]; NaN where absent. [1]
    """
    u = values.astype(np.float64)
    if kpi.direction == "higher":
        return np.clip(u, 0.0, 1.0)
    if kpi.direction == "lower":
        return np.clip(1.0 - u, 0.0, 1.0)
    width = kpi.hi - kpi.lo
    low = ((kpi.target_lo if kpi.target_lo is not None else kpi.lo) - kpi.lo) / width
    high = ((kpi.target_hi if kpi.target_hi is not None else kpi.hi) - kpi.lo) / width
    rising = u / low if low > 0 else np.where(u >= 0, 1.0, 0.0)
    falling = (1.0 - u) / (1.0 - high) if high < 1 else np.where(u <= 1, 1.0, 0.0)
    trapezoid = np.clip(np.minimum(rising, falling), 0.0, 1.0)
    return np.where(np.isnan(u), np.nan, trapezoid)


def health_parts(
    kpi_goodness: NDArray[np.float64],
    weights: HealthWeights,
    uptime_pct: ArrayLike,
    fault_count: ArrayLike,
) -> HealthParts:
    """Compute the parts of the health score.

    Parameters
    ----------
    kpi_goodness : ndarray, shape (..., n_kpis)
        Goodness of each KPI in [0, 1]; NaN where absent. [1]
    weights : HealthWeights
        At least n_kpis KPI weights, and the shares of uptime and faults.
    uptime_pct : array_like, broadcastable to (...)
        Uptime, clipped to [0, 100]; NaN where unknown. [%]
    fault_count : array_like, broadcastable to (...)
        Active faults, at least 0; NaN where unknown. [1]

    Returns
    -------
    HealthParts
        Arrays of shape (...).

    Raises
    ------
    ShapeError
        There are more KPIs than weights.

    Notes
    -----
    health = (1 - uw - fw) * sum(w_k g_k) / sum(w_k) + uw * uptime / 100 + fw * exp(-faults / 5), over what is present:
    absent KPIs renormalise the KPI weights; an absent part (no weighted KPI, no uptime, no fault count) renormalises the
    others. Where nothing is present all parts are NaN.
    """
    n_kpis = kpi_goodness.shape[-1]
    if n_kpis > weights.weight_count:
        raise ShapeError(
            "kpi_values", kpi_goodness.shape, f"(..., at most {weights.weight_count} KPIs)"
        )
    kpi = weighted_goodness(
        [kpi_goodness[..., k] for k in range(n_kpis)], weights, kpi_goodness.shape[:-1]
    )
    return combine_parts(kpi, weights, uptime_pct, fault_count)


def combine_parts(
    kpi_goodness: NDArray[np.float64],
    weights: HealthWeights,
    uptime_pct: ArrayLike,
    fault_count: ArrayLike,
) -> HealthParts:
    """Combine the weighted goodness of all KPIs with uptime and faults; see `health_parts`.

    Parameters
    ----------
    kpi_goodness : ndarray, shape (...)
        Weighted mean goodness in [0, 1]; NaN where no weighted KPI is present. [1]
    weights : HealthWeights
        Shares of uptime and faults.
    uptime_pct : array_like, broadcastable to (...)
        Uptime; NaN where unknown. [%]
    fault_count : array_like, broadcastable to (...)
        Active faults; NaN where unknown. [1]

    Returns
    -------
    HealthParts
        Arrays of the broadcast shape.
    """
    up, faults = np.asarray(uptime_pct, dtype=np.float64), np.asarray(fault_count, dtype=np.float64)
    shape = np.broadcast_shapes(kpi_goodness.shape, up.shape, faults.shape)
    kpi = np.broadcast_to(kpi_goodness, shape)
    uptime = np.broadcast_to(np.clip(up, 0.0, 100.0) / 100.0, shape)
    fault = np.broadcast_to(np.exp(-np.maximum(faults, 0.0) / FAULT_SCALE), shape)
    shares = (weights.kpi_share, weights.uptime_weight, weights.fault_weight)
    present = sum(
        np.where(np.isnan(part), 0.0, share)
        for part, share in zip((kpi, uptime, fault), shares, strict=True)
    )
    total = np.where(np.asarray(present) > 0, present, np.nan)
    parts = [
        np.where(np.isnan(part), 0.0, share * part) / total
        for part, share in zip((kpi, uptime, fault), shares, strict=True)
    ]
    return HealthParts(*parts)


def weighted_goodness(
    columns: Iterable[NDArray[np.float64]], weights: HealthWeights, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Average the goodness of KPIs by their weights, over those present.

    Parameters
    ----------
    columns : iterable of ndarray, each shape `shape`
        Goodness of KPI 0, 1, ...; NaN where absent. Taken one at a time. [1]
    weights : HealthWeights
        One weight for each KPI; those of 0 are not looked at.
    shape : tuple of int
        Shape of each column.

    Returns
    -------
    ndarray, shape `shape`
        The ratio sum(w g) / sum(w), added in KPI order; NaN where no KPI of positive weight is present. [1]
    """
    top, bottom = np.zeros(shape), np.zeros(shape)
    for g, weight in zip(columns, weights.weights, strict=False):
        if weight > 0:
            there = ~np.isnan(g)
            top += np.where(there, weight * np.clip(g, 0.0, 1.0), 0.0)
            bottom += np.where(there, weight, 0.0)
    out = np.full(shape, np.nan)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out


def compute_health_score(
    kpi_values: ArrayLike, weights: HealthWeights, uptime_pct: ArrayLike, fault_count: ArrayLike
) -> NDArray[np.float64]:
    """Compute the health of sites.

    Parameters
    ----------
    kpi_values : array_like, shape (..., n_kpis)
        Goodness of each KPI in [0, 1]; NaN where absent. [1]
    weights : HealthWeights
        At least n_kpis KPI weights, and the shares of uptime and faults.
    uptime_pct : array_like, broadcastable to (...)
        Uptime. [%]
    fault_count : array_like, broadcastable to (...)
        Active faults. [1]

    Returns
    -------
    ndarray, shape (...)
        Health in [0, 1]; NaN where neither KPIs, uptime nor faults are known. [1]

    Raises
    ------
    ShapeError
        `kpi_values` has no KPI axis, or there are more KPIs than weights.

    Notes
    -----
    See `health_parts`, whose parts sum to this score.

    Examples
    --------
    >>> w = HealthWeights(weights=(0.5, 0.5), uptime_weight=0.3, fault_weight=0.2)
    >>> round(float(compute_health_score([1.0, 0.5], w, 90.0, 0)), 3)
    0.845
    """
    values = np.asarray(kpi_values, dtype=np.float64)
    if values.ndim == 0:
        raise ShapeError("kpi_values", values.shape, "(..., n_kpis)")
    return health_parts(values, weights, uptime_pct, fault_count).score


def band_of(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return each health score's place among `BANDS`: 0 healthy from 0.8, 1 degraded from 0.5, else 2 critical.

    Parameters
    ----------
    scores : ndarray, shape (n,)
        Health in [0, 1]. [1]

    Returns
    -------
    ndarray, shape (n,)
        Positions in `BANDS`, decided on the score rounded to 1e-9.
    """
    rounded = np.round(scores, 9)
    below = [(rounded < low).astype(np.int64) for low, _ in BANDS[:2]]
    return below[0] + below[1]
