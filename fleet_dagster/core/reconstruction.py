"""Reconstruction error: how far a few windows in a row lie from those that a site normally has, and which KPIs say so.

With x the smoothed, standardised KPIs of five windows, and V L V' the spectrum of their covariance in normal operation,
    E^2 = sum over j of (v_j . (x - mean))^2 / (l_j + ridge), ridge = 0.01 * mean of all l_j,
where l_j is the variance of a new window about a mean that rests on few independent ones. The directions of more than average variance make up its T^2 part (known directions, unusual amounts: Hotelling, H. (1931): The
generalization of Student's ratio. doi:10.1214/aoms/1177732979; the limit is that of Kaiser, H. F. (1960): The application of
electronic computers to factor analysis. doi:10.1177/001316446002000116), the others its Q part (directions that normal windows
hardly have: Jackson, J. E., Mudholkar, G. S. (1979): Control procedures for residuals associated with principal component
analysis. doi:10.1080/00401706.1979.10489779).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.blas import on_one_thread
from fleet_dagster.model.lookbacks import STACKED_WINDOWS

RIDGE = 0.01
"""Share of the mean eigenvalue that is added to all: directions without variance do not decide alone."""
LEAST_RIDGE = 1e-12
"""Where nothing ever varied."""
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Normal vectors of some sites, of `d` dimensions.

    `mean` and `variances` are of shape (n_sites, d), `directions` of (n_sites, d, d), one in each row: the eigenvectors of their
    covariance, and the variance of a new window along each.
    """

    mean: Floats
    variances: Floats
    directions: Floats

    @property
    def is_in_model(self) -> NDArray[np.bool_]:
        """Which directions have at least average variance, shape (n_sites, d)."""
        average = self.variances.mean(axis=1, keepdims=True)
        return np.asarray((self.variances >= average) & (average > 0))

    def whitening(self) -> Floats:
        """Return the matrices that turn deviations into independent ones of variance 1, shape (n_sites, d, d)."""
        ridge = np.maximum(RIDGE * self.variances.mean(axis=1, keepdims=True), LEAST_RIDGE)
        return np.asarray(
            self.directions / np.sqrt(self.variances + ridge)[:, :, None], dtype=np.float32
        )


@dataclass(frozen=True, slots=True)
class Errors:
    """Squared reconstruction errors in their two parts, shape (n_sites, n_windows)."""

    t2: Floats
    q: Floats

    @property
    def error(self) -> NDArray[np.float64]:
        """The reconstruction error E."""
        return np.sqrt((self.t2 + self.q).astype(np.float64))


def errors_of(
    vectors: Floats, mean: Floats, whitening: Floats, is_in_model: NDArray[np.bool_]
) -> Errors:
    """Return the squared errors of vectors.

    Parameters
    ----------
    vectors : ndarray, shape (n_sites, n_windows, d)
        Stacked KPIs. [1]
    mean : ndarray, shape (n_sites, d)
        Mean of normal vectors. [1]
    whitening : ndarray, shape (n_sites, d, d)
        From `Spectrum.whitening`.
    is_in_model : ndarray of bool, shape (n_sites, d)
        Directions that count towards T^2.

    Returns
    -------
    Errors
        Both parts, shape (n_sites, n_windows).
    """
    is_in = is_in_model.astype(np.float32)
    parts = np.stack([is_in, 1 - is_in], axis=-1)
    with on_one_thread():
        white = np.matmul(vectors - mean[:, None, :], whitening.transpose(0, 2, 1))
        np.square(white, out=white)
        both = np.matmul(white, parts)
    return Errors(both[..., 0], both[..., 1])


def contributions(vectors: Floats, mean: Floats, whitening: Floats) -> Floats:
    """Return what each KPI contributes to the squared error of one site's windows; they sum to it.

    Parameters
    ----------
    vectors : ndarray, shape (n_windows, d)
        Stacked KPIs of one site. [1]
    mean : ndarray, shape (d,)
        Mean of its normal vectors. [1]
    whitening : ndarray, shape (d, d)
        From `Spectrum.whitening`.

    Returns
    -------
    ndarray, shape (n_windows, n_kpis)
        (x - mean)_k (S^-1 (x - mean))_k, summed over the lags; negative for a KPI that makes the others more plausible. [1]
    """
    away = vectors - mean
    with on_one_thread():
        pulled = np.matmul(np.matmul(away, whitening.T), whitening)
    shares = (away * pulled).reshape(away.shape[0], STACKED_WINDOWS, -1)
    return np.asarray(shares.sum(axis=1))


def score_of(error: NDArray[np.float64], level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 - 2^(-E/U): one half at the level, 0.7 at 1.74 times the level, towards 1 beyond.

    Parameters
    ----------
    error : ndarray
        Errors E. [1]
    level : ndarray, broadcastable
        Levels U. [1]

    Returns
    -------
    ndarray
        Scores in [0, 1], rounded to 1e-9; NaN where the error or the level is unknown. Where the level is 0, any error scores
        1 and none scores 0. [1]
    """
    unlimited = np.where(error > 0, np.inf, 0.0 * error)
    ratio = np.divide(error, level, out=unlimited, where=np.asarray(level) != 0)
    return np.round(1.0 - np.exp2(-ratio), 9)


def ratio_at(score: float) -> float:
    """Return E/U at a score: the inverse of `score_of`.

    Parameters
    ----------
    score : float
        A score in [0, 1). [1]

    Returns
    -------
    float
        E/U. [1]
    """
    return float(-np.log2(1.0 - score))
