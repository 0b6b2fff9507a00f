"""Anomaly scores of some sites over one hour: error, score, onset and the KPIs that explain it."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.onset import onset_of
from fleet_dagster.core.reconstruction import contributions, errors_of, score_of
from fleet_dagster.core.stacking import is_judged, smoothed, stacked, standardised
from fleet_dagster.model.lookbacks import ONSET_WINDOWS

TOP_KPIS = 3
SITES_AT_ONCE = 64
"""Sites scored together: bounds memory; sites do not share sums, so it changes nothing."""
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DomainModels:
    """What sites are compared with in one domain; a site without one has a level of NaN, and is not scored.

    Of the k KPIs at positions `kpis`, and d = 5 k: `centre` and `scale` (n_sites, k), `mean` (n_sites, d), `whitening`
    (n_sites, d, d), `is_in_model` (n_sites, d); the others are of shape (n_sites,).
    """

    domain: str
    kpis: NDArray[np.int64]
    centre: Floats
    scale: Floats
    mean: Floats
    whitening: Floats
    is_in_model: NDArray[np.bool_]
    level: NDArray[np.float64]
    error_mean: NDArray[np.float64]
    error_sd: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DomainScores:
    """One domain's scores of one hour, shape (n_sites, n_windows); NaN where not scored."""

    error: NDArray[np.float64]
    t2: Floats
    q: Floats
    score: NDArray[np.float64]
    sigma: NDArray[np.float64]
    onset_back: NDArray[np.int64]
    """Windows since the deviation began; 0 for sites without an anomalous window."""
    is_anomalous: NDArray[np.bool_]
    top: NDArray[np.int64]
    """Positions of the KPIs that contribute most, shape (n_sites, n_windows, 3); -1 where there is none."""
    top_share: Floats


def score(readings: Floats, models: DomainModels, threshold: NDArray[np.float64]) -> DomainScores:
    """Score sites in one domain.

    Parameters
    ----------
    readings : ndarray, shape (n_sites, n_lead + n_windows, n_kpis)
        Normalised KPIs, from `SCORING_WINDOWS` before the first window on; NaN where absent. [1]
    models : DomainModels
        What each site is compared with.
    threshold : ndarray, shape (n_windows,)
        Score above which a window is anomalous. [1]

    Returns
    -------
    DomainScores
        The scores, NaN where a site cannot be judged.
    """
    batches = [
        _score_batch(
            readings[at : at + SITES_AT_ONCE], models, slice(at, at + SITES_AT_ONCE), threshold
        )
        for at in range(0, readings.shape[0], SITES_AT_ONCE)
    ]
    return DomainScores(
        *(np.concatenate([getattr(b, f.name) for b in batches]) for f in fields(DomainScores))
    )


def _score_batch(
    readings: Floats, models: DomainModels, sites: slice, threshold: NDArray[np.float64]
) -> DomainScores:
    mean, whitening, level = models.mean[sites], models.whitening[sites], models.level[sites]
    z = standardised(readings[..., models.kpis], models.centre[sites], models.scale[sites])
    judged = is_judged(np.any(~np.isnan(z), axis=-1)) & ~np.isnan(level[:, None])
    vectors = stacked(smoothed(z))
    found = errors_of(vectors, mean, whitening, models.is_in_model[sites])
    error = np.where(judged, found.error, np.nan)
    sd = models.error_sd[sites, None]
    sigma = (error - models.error_mean[sites, None]) / np.where(sd > 0, sd, np.nan)
    recent = slice(-threshold.size, None)
    scores = score_of(error[:, recent], level[:, None])
    is_anomalous = scores > threshold
    top, share = _top_kpis(vectors[:, recent], is_anomalous, models, sites)
    return DomainScores(
        error=error[:, recent],
        t2=np.where(judged, found.t2, np.float32(np.nan))[:, recent],
        q=np.where(judged, found.q, np.float32(np.nan))[:, recent],
        score=scores,
        sigma=sigma[:, recent],
        onset_back=_onsets(sigma, is_anomalous),
        is_anomalous=is_anomalous,
        top=top,
        top_share=share,
    )


def _onsets(sigma: NDArray[np.float64], is_anomalous: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how far back deviations began, of the sites that have anomalous windows; 0 of the others."""
    back = np.zeros(is_anomalous.shape, dtype=np.int64)
    found = np.flatnonzero(is_anomalous.any(axis=1))
    n_windows = is_anomalous.shape[1]
    if found.size:
        back[found] = onset_of(sigma[found, -(n_windows + ONSET_WINDOWS) :])[:, -n_windows:]
    return back


def _top_kpis(
    vectors: Floats, is_anomalous: NDArray[np.bool_], models: DomainModels, sites: slice
) -> tuple[NDArray[np.int64], Floats]:
    """Explain the anomalous windows, site by site: the KPIs with the largest share of the squared error, largest first."""
    top = np.full((*is_anomalous.shape, TOP_KPIS), -1, dtype=np.int64)
    shares = np.zeros(top.shape, dtype=np.float32)
    mean, whitening = models.mean[sites], models.whitening[sites]
    for i in np.flatnonzero(is_anomalous.any(axis=1)):
        parts = contributions(vectors[i], mean[i], whitening[i])
        total = parts.sum(axis=1, keepdims=True)
        share = np.divide(parts, total, out=np.zeros_like(parts), where=total > 0)
        order = np.argsort(-share, axis=1, kind="stable")[:, :TOP_KPIS]
        n = order.shape[1]
        top[i, :, :n] = models.kpis[order]
        shares[i, :, :n] = np.take_along_axis(share, order, axis=1)
    top[~(shares > 0)] = -1
    return top, shares
