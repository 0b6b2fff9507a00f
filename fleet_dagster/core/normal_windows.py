"""Learning what normal windows look like: their spectrum, and the errors of normal windows by a model that never saw them."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.blas import on_one_thread
from fleet_dagster.core.reconstruction import Spectrum, errors_of
from fleet_dagster.core.stacking import is_judged, smoothed, stacked, standardised
from fleet_dagster.model.lookbacks import STACKED_WINDOWS, WARM_UP_WINDOWS

N_FOLDS = 8
"""Parts that the sampled hours are cut into, in order of time: each is judged by what the others taught."""
LEAST_SCALE = 1e-3
"""Least scale of a KPI, as a share of its range: one that never moved may yet move."""
WILD_RANGES = 3.0
"""Readings further from the median than this many ranges of the KPI are faults of a sensor, and not learnt from."""
BAD_HOUR = 2.0
"""An hour whose errors are this much larger than those of the median hour is no measure of what is normal."""
BAD_SHARE = 0.25
"""At most this share of the hours is left out, the worst first."""
HOUR_QUANTILE = 0.5
"""What an hour's errors are compared by: a burst that most of the hour is free of belongs to what is normal."""
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class NormalWindows:
    """What was learnt of some sites.

    `error` holds out-of-sample errors, shape (n_sites, n_hours, n_windows), NaN where nothing was judged and in hours too bad to
    judge by; `is_learnt` tells which hours had anything to learn from, shape (n_sites, n_hours).
    """

    centre: Floats
    scale: Floats
    spectrum: Spectrum
    error: Doubles
    is_learnt: Bools
    n_windows: NDArray[np.int64]


def learn(readings: Floats, follows: NDArray[np.int64]) -> NormalWindows:
    """Learn the normal windows of some sites from sampled hours.

    Parameters
    ----------
    readings : ndarray, shape (n_sites, n_hours, 13 + n_windows, n_kpis)
        Normalised KPIs of each sampled hour, in order of time, and of the windows before it; NaN where absent. [1]
    follows : ndarray of int, shape (n_hours,)
        Position of the sampled hour that ends where this one begins; -1 for none.

    Returns
    -------
    NormalWindows
        Centre and scale of each KPI (mean and standard deviation), the spectrum, and out-of-sample errors.

    Notes
    -----
    A fold is judged without the windows just after it, which look back into it. Hours whose errors are far above the median
    hour's are learnt from like any other (they may be rare rather than bad), but nobody is judged by them.
    """
    rough_centre, rough_scale = _rough(readings)
    z = standardised(readings, rough_centre, rough_scale)
    judged = is_judged(np.any(~np.isnan(z), axis=-1))
    sample = _Sample(z[:, :, WARM_UP_WINDOWS:], stacked(smoothed(z)), judged, follows)
    used = np.any(judged, axis=-1)
    error, total = sample.out_of_sample()
    is_judge = used & ~bad_hours(error)
    mean, spread, spectrum = total.model()
    return NormalWindows(
        centre=(rough_centre + rough_scale * mean).astype(np.float32),
        scale=(rough_scale * spread).astype(np.float32),
        spectrum=spectrum,
        error=np.where(is_judge[:, :, None], error, np.nan),
        is_learnt=used,
        n_windows=judged.sum(axis=(1, 2)),
    )


def _rough(readings: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of each KPI, shape (n_sites, n_kpis), wild readings set aside; scale 0 where there are none."""
    flat = readings[:, :, WARM_UP_WINDOWS:].reshape(readings.shape[0], -1, readings.shape[-1])
    ordered = np.sort(flat, axis=1)
    n = np.sum(~np.isnan(flat), axis=1)

    def at(share: float) -> Floats:
        place = np.clip(np.floor(share * (n - 1)).astype(np.int64), 0, None)
        return np.take_along_axis(ordered, place[:, None], axis=1)

    reach = WILD_RANGES * np.maximum(1.0, at(0.995) - at(0.005))
    tame = np.where(np.abs(flat - at(0.5)) <= reach, flat, np.nan).astype(np.float64)
    n_tame = np.maximum(np.sum(~np.isnan(tame), axis=1), 1)
    mean = np.nansum(tame, axis=1) / n_tame
    sd = np.sqrt(np.nansum((tame - mean[:, None]) ** 2, axis=1) / n_tame)
    scale = np.where(n > 0, np.maximum(sd, LEAST_SCALE), 0.0)
    return mean.astype(np.float32), scale.astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over judged windows: of vectors and their products, and of single readings and their squares."""

    n: Doubles
    vector: Doubles
    product: Doubles
    lagged: Doubles
    n_readings: Doubles
    reading: Doubles
    square: Doubles

    @classmethod
    def of(cls, z: Floats, vectors: Floats, judged: Bools) -> "_Sums":
        """Sum over the windows that are judged; of arrays (n_sites, n_windows, ...)."""
        rows = np.where(judged[..., None], vectors, np.float32(0))
        is_present = judged[..., None] & ~np.isnan(z)
        own = np.where(is_present, z, np.float32(0)).astype(np.float64)
        with on_one_thread():
            product = np.matmul(rows.swapaxes(-1, -2), rows)
            lagged = np.matmul(rows[:, 1:].swapaxes(-1, -2), rows[:, :-1])
        return cls(
            n=judged.sum(axis=-1).astype(np.float64),
            vector=rows.sum(axis=-2, dtype=np.float64),
            product=product.astype(np.float64),
            lagged=lagged.astype(np.float64),
            n_readings=is_present.sum(axis=-2).astype(np.float64),
            reading=own.sum(axis=-2),
            square=(own**2).sum(axis=-2),
        )

    def plus(self, other: "_Sums", sign: int = 1) -> "_Sums":
        return _Sums(*(getattr(self, f) + sign * getattr(other, f) for f in _Sums.__slots__))

    def where_any(self, other: "_Sums") -> "_Sums":
        """Return these sums, but the other's for sites of which these have no window."""
        return _Sums(
            *(
                np.where(self.n.reshape(-1, *[1] * (a.ndim - 1)) > 0, a, b)
                for a, b in ((getattr(self, f), getattr(other, f)) for f in _Sums.__slots__)
            )
        )

    def model(self) -> tuple[Doubles, Doubles, Spectrum]:
        """Return mean and standard deviation of each KPI, and the spectrum of vectors standardised by them."""
        n_readings = np.maximum(self.n_readings, 1)
        centre = self.reading / n_readings
        spread = np.sqrt(np.maximum(self.square / n_readings - centre**2, 0.0))
        # In rough scales: a KPI that hardly varied at all keeps the floor that its rough scale has.
        spread = np.where(spread > np.sqrt(np.finfo(np.float32).eps), spread, 1.0)
        n = np.maximum(self.n, 1)[:, None]
        mean = self.vector / n
        unit, shift = np.tile(spread, STACKED_WINDOWS), np.tile(centre, STACKED_WINDOWS)
        scale, square = unit[:, :, None] * unit[:, None, :], mean[:, :, None] * mean[:, None, :]
        covariance = (self.product / n[:, :, None] - square) / scale
        lagged = (self.lagged / n[:, :, None] - square) / scale
        with on_one_thread():
            values, vectors = np.linalg.eigh(covariance)
            rows = np.ascontiguousarray(vectors.transpose(0, 2, 1)[:, ::-1])
            along = np.sum(np.matmul(rows, lagged) * rows, axis=-1)
        values = np.maximum(values[:, ::-1], 0.0)
        return (
            centre,
            spread,
            Spectrum(
                mean=((mean - shift) / unit).astype(np.float32),
                variances=_of_new_windows(values, along, self.n).astype(np.float32),
                directions=rows.astype(np.float32),
            ),
        )


def _of_new_windows(values: Doubles, lagged: Doubles, n: Doubles) -> Doubles:
    """Return the variance of a new window about a mean of `n` windows that depend on each other.

    Parameters
    ----------
    values, lagged : ndarray, shape (n_sites, d)
        Variance and lag-1 covariance along each direction. [1]
    n : ndarray, shape (n_sites,)
        Windows that the mean rests on. [1]

    Returns
    -------
    ndarray, shape (n_sites, d)
        Variances. [1]

    Notes
    -----
    With lag-1 autocorrelation r, n windows are worth n (1 - r) / (1 + r) independent ones (Bayley, G. V., Hammersley, J. M.
    (1946): The "effective" number of independent observations in an autocorrelated time series. doi:10.2307/2983560).
    """
    share = np.divide(lagged, values, out=np.zeros_like(values), where=values > 0)
    r = np.clip(share, 0.0, 1.0)
    n_independent = np.maximum(n[:, None] * (1.0 - r) / (1.0 + r), 1.0)
    return np.asarray(values * (1.0 + 1.0 / n_independent))


@dataclass(frozen=True, slots=True)
class _Sample:
    """Sampled hours: readings (n_sites, n_hours, n_windows, n_kpis), vectors, which are judged, and which hour follows which."""

    z: Floats
    vectors: Floats
    judged: Bools
    follows: NDArray[np.int64]

    def out_of_sample(self) -> tuple[Doubles, _Sums]:
        """Return the error of each judged window by a model of the other folds, and the sums of all of them."""
        folds = list(self._folds())
        sums = [self._sums(fold, self.judged[:, fold]) for fold in folds]
        total = functools.reduce(_Sums.plus, sums)
        out = np.full(self.judged.shape, np.nan)
        for fold, own in zip(folds, sums, strict=True):
            rest = total.plus(own, -1)
            after = np.flatnonzero((self.follows == fold.stop - 1) & (self.follows >= 0))
            if after.size:
                hour = slice(int(after[0]), int(after[0]) + 1)
                early = self.judged[:, hour].copy()
                early[..., WARM_UP_WINDOWS:] = False
                rest = rest.plus(self._sums(hour, early), -1)
            out[:, fold] = self._errors(fold, rest.where_any(total))
        return np.where(self.judged, out, np.nan), total

    def _folds(self) -> Iterator[slice]:
        n_hours = self.judged.shape[1]
        edges = np.linspace(0, n_hours, min(N_FOLDS, n_hours) + 1).astype(np.int64)
        return (slice(int(a), int(b)) for a, b in itertools.pairwise(edges))

    def _sums(self, hours: slice, judged: Bools) -> _Sums:
        z, vectors = (
            a[:, hours].reshape(a.shape[0], -1, a.shape[-1]) for a in (self.z, self.vectors)
        )
        return _Sums.of(z, vectors, judged.reshape(judged.shape[0], -1))

    def _errors(self, hours: slice, sums: _Sums) -> Doubles:
        centre, spread, spectrum = sums.model()
        unit, shift = (np.tile(a, STACKED_WINDOWS).astype(np.float32) for a in (spread, centre))
        own = self.vectors[:, hours]
        flat = (own.reshape(own.shape[0], -1, own.shape[-1]) - shift[:, None]) / unit[:, None]
        found = errors_of(flat, spectrum.mean, spectrum.whitening(), spectrum.is_in_model)
        return found.error.reshape(own.shape[:-1])


def bad_hours(error: Doubles) -> Bools:
    """Tell which hours have errors far above those of the median hour.

    Parameters
    ----------
    error : ndarray, shape (n_sites, n_hours, n_windows)
        Out-of-sample errors, NaN where there is none. [1]

    Returns
    -------
    ndarray of bool, shape (n_sites, n_hours)
        Hours whose median is more than twice that of the median hour; at most a quarter of the hours, the worst.
    """
    typical = _quantile(error, HOUR_QUANTILE)
    n_hours = np.sum(~np.isnan(typical), axis=1)
    middle = _quantile(typical, 0.5)
    ratio = np.divide(
        typical, middle[:, None], out=np.zeros_like(typical), where=middle[:, None] > 0
    )
    ratio = np.nan_to_num(ratio, nan=0.0)
    rank = np.argsort(np.argsort(-ratio, axis=1, kind="stable"), axis=1, kind="stable")
    may_go = rank < np.floor(BAD_SHARE * n_hours)[:, None]
    return np.asarray((ratio > BAD_HOUR) & may_go)


def _quantile(values: Doubles, share: float) -> Doubles:
    """Return a quantile along the last axis over what is not NaN: the value at that rank or just below; NaN without any."""
    ordered = np.sort(values, axis=-1)
    n = np.sum(~np.isnan(values), axis=-1)
    place = np.clip(np.floor(share * (n - 1)).astype(np.int64), 0, None)
    return np.take_along_axis(ordered, place[..., None], axis=-1)[..., 0]
