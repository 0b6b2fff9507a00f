"""How well a score separates anomalous windows from normal ones; no point adjustment anywhere."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


@dataclass(frozen=True, slots=True)
class Confusion:
    """Windows alarmed and not, by their label."""

    found: int
    missed: int
    false: int
    quiet: int

    @classmethod
    def of(cls, alarmed: NDArray[np.bool_], is_anomaly: NDArray[np.bool_]) -> Self:
        """Count the windows of one file, or of several one after the other."""
        return cls(
            found=int(np.sum(alarmed & is_anomaly)),
            missed=int(np.sum(~alarmed & is_anomaly)),
            false=int(np.sum(alarmed & ~is_anomaly)),
            quiet=int(np.sum(~alarmed & ~is_anomaly)),
        )

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall [1]."""
        return _share(2 * self.found, 2 * self.found + self.false + self.missed)

    @property
    def far_pct(self) -> float:
        """False alarm rate: normal windows alarmed [%]."""
        return 100 * _share(self.false, self.false + self.quiet)

    @property
    def mar_pct(self) -> float:
        """Missed alarm rate: anomalous windows not alarmed [%]."""
        return 100 * _share(self.missed, self.missed + self.found)


def roc_auc(score: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> float:
    """Return the probability that a positive scores above a negative, ties counted half (Mann and Whitney)."""
    n = int(is_positive.sum())
    others = is_positive.size - n
    if not n or not others:
        return float("nan")
    rank_sum = float(rankdata(score)[is_positive].sum())
    return (rank_sum - n * (n + 1) / 2) / (n * others)


def average_precision(score: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> float:
    """Return precision averaged over the steps in recall, equal scores being one step."""
    n = int(is_positive.sum())
    if not n:
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.diff(score[order]) != 0, True)
    found = np.cumsum(is_positive[order])[ends]
    precision = found / (np.flatnonzero(ends) + 1)
    return float(np.sum(np.diff(found, prepend=0) * precision) / n)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
