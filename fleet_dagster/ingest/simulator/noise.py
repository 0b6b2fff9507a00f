"""Seekable randomness: generators keyed by what they are for, AR(1) noise and weather that any span reproduces.

The series is cut into whole hours. Each hour draws its own innovations from a generator keyed by (seed, hour), and
    x[h, j] = zero_state_response(innovations of h)[j] + phi^(j + 1) * state(h)
    state(h) = sum over w = 1..W of phi^(steps * (w - 1)) * last zero_state_response of hour h - w
with W so long that what is left out is below 1e-12. Every term belongs to one hour, so no hour depends on the span asked for.
"""

import math
import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

NoiseKind = Literal["gaussian", "t5"]
_NEGLIGIBLE = 1e-12
_T5_SCALE = math.sqrt(3.0 / 5.0)
_SLOW_PHI = 0.95
_SLOW_TERMS = 480
"""0.95 ** 480 = 2e-11."""


def generator(seed: int, purpose: str, *key: int) -> np.random.Generator:
    """Return the generator for one purpose and place; `key` may be negative (hours before 1970)."""
    words = [seed, zlib.crc32(purpose.encode()), *(k + 2**40 for k in key)]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


def innovations(
    rng: np.random.Generator, shape: tuple[int, ...], noise: NoiseKind
) -> NDArray[np.float32]:
    """Draw independent values of mean 0 and variance 1; `t5` has the heavy tails of Student's t with 5 degrees of freedom."""
    normal = rng.standard_normal(shape, dtype=np.float32)
    if noise == "gaussian":
        return normal
    chi2_over_df = rng.standard_gamma(2.5, shape, dtype=np.float32) * np.float32(2.0 / 5.0)
    return np.asarray(normal / np.sqrt(chi2_over_df) * np.float32(_T5_SCALE), np.float32)


class HourlyNoise:
    """AR(1) noise of unit variance for many series at once, hour by hour; remembers only the last hours' end states."""

    def __init__(
        self, *, seed: int, n_series: tuple[int, ...], steps: int, phi: float, noise: NoiseKind
    ) -> None:
        self.seed, self.n_series, self.steps, self.phi, self.noise = (
            seed,
            n_series,
            steps,
            phi,
            noise,
        )
        self._gain = math.sqrt(1 - phi * phi)
        self._n_back = (
            0
            if phi == 0
            else max(1, math.ceil(math.log(_NEGLIGIBLE) / (steps * math.log(abs(phi)))))
        )
        self._ends: dict[int, NDArray[np.float32]] = {}

    def hour(self, hour: int) -> NDArray[np.float32]:
        """Return the noise of one whole hour, shape (steps, *n_series)."""
        response = self._response(hour)
        powers = (self.phi ** np.arange(1, self.steps + 1)).astype(np.float32)
        result = response + powers.reshape(-1, *[1] * len(self.n_series)) * self._state(hour)
        self._ends = {h: end for h, end in self._ends.items() if h >= hour - self._n_back}
        return np.asarray(result, np.float32)

    def _state(self, hour: int) -> NDArray[np.float32]:
        state = np.zeros(self.n_series, np.float32)
        for back in range(1, self._n_back + 1):
            if hour - back not in self._ends:
                self._response(hour - back)
            state += np.float32(self.phi ** (self.steps * (back - 1))) * self._ends[hour - back]
        return state

    def _response(self, hour: int) -> NDArray[np.float32]:
        drawn = innovations(
            generator(self.seed, "noise", hour), (self.steps, *self.n_series), self.noise
        )
        response = np.asarray(
            lfilter([np.float32(self._gain)], np.array([1, -self.phi], np.float32), drawn, axis=0),
            np.float32,
        )
        self._ends[hour] = response[-1]
        return response


def slow_weather(
    seed: int, purpose: str, hours: Sequence[int], n_regions: int
) -> NDArray[np.float64]:
    """Return one slowly changing value per hour and region: AR(1) over hours as a finite sum, mean 0, variance 1."""
    first, last = hours[0] - _SLOW_TERMS, hours[-1]
    days = range(first // 24, last // 24 + 1)
    drawn = np.concatenate(
        [generator(seed, purpose, day).standard_normal((24, n_regions)) for day in days]
    )
    offset = first - days[0] * 24
    weights = math.sqrt(1 - _SLOW_PHI**2) * _SLOW_PHI ** np.arange(_SLOW_TERMS, -1, -1)
    return np.stack(
        [
            (drawn[offset + i : offset + i + _SLOW_TERMS + 1] * weights[:, None]).sum(axis=0)
            for i in range(last - first - _SLOW_TERMS + 1)
        ]
    )
