"""Weighted means of sites over groups, mergeable in any split (SPEC sections 4 and 6)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.exact import ExactSum, exact_sum

NO_SITE = -1
_DECIMALS = 9


@dataclass(frozen=True, slots=True)
class GroupSums:
    """Sums over groups from which every mean follows; adding two disjoint parts of a fleet gives the whole.

    Every sum is flat over (n_groups, n_windows), the shape that `means` and `total_weight` return.
    """

    values: tuple[ExactSum, ...]
    value_weights: tuple[ExactSum, ...]
    shape: tuple[int, int]

    def __add__(self, other: "GroupSums") -> "GroupSums":
        """Merge the sums of two disjoint sets of sites."""
        return GroupSums(
            tuple(a + b for a, b in zip(self.values, other.values, strict=True)),
            tuple(a + b for a, b in zip(self.value_weights, other.value_weights, strict=True)),
            self.shape,
        )

    def whole(self) -> "GroupSums":
        """Return the sums over all groups together, as one group."""
        return GroupSums(
            tuple(_over_groups(v, self.shape) for v in self.values),
            tuple(_over_groups(w, self.shape) for w in self.value_weights),
            (1, self.shape[1]),
        )

    def weights(self) -> list[NDArray[np.float64]]:
        """Return the weight that carries each value, each of shape (n_groups, n_windows)."""
        return [w.value.reshape(self.shape) for w in self.value_weights]

    def means(self) -> list[NDArray[np.float64]]:
        """Return each value's weighted mean, shape (n_groups, n_windows); NaN where no weight carries it."""
        return [
            _ratio(v.value, w.value).reshape(self.shape)
            for v, w in zip(self.values, self.value_weights, strict=True)
        ]


def group_sums(
    values: list[NDArray[np.float64]],
    weights: NDArray[np.float64],
    groups: NDArray[np.int64],
    n_groups: int,
) -> GroupSums:
    """Sum weighted values of sites by group and window.

    Parameters
    ----------
    values : list of ndarray, each shape (n_sites, n_windows)
        Values of magnitude up to 4096, NaN where absent. [any]
    weights : ndarray, shape (n_sites,)
        Weights in [0, 1]; see `power_of_two_above`. [1]
    groups : ndarray, shape (n_sites,)
        Group of each site, 0 ... n_groups - 1; -1 leaves it out.
    n_groups : int
        Number of groups.

    Returns
    -------
    GroupSums
        Exact sums: the same bits for every order and split of the sites.
    """
    n_windows = values[0].shape[1] if values else 0
    inside = groups >= 0
    flat = (groups[inside][:, None] * n_windows + np.arange(n_windows)).ravel()
    flat_weights = np.repeat(weights[inside], n_windows)
    size = n_groups * n_windows
    everywhere: ExactSum | None = None
    sums, value_weights = [], []
    for value in values:
        v = value[inside].ravel()
        there = ~np.isnan(v)
        if there.all():
            everywhere = everywhere or exact_sum(flat_weights, flat, size)
            sums.append(exact_sum(flat_weights * v, flat, size))
            value_weights.append(everywhere)
        else:
            sums.append(exact_sum(flat_weights[there] * v[there], flat[there], size))
            value_weights.append(exact_sum(flat_weights[there], flat[there], size))
    return GroupSums(tuple(sums), tuple(value_weights), (n_groups, n_windows))


def counts_by_group(
    chosen: NDArray[np.bool_], groups: NDArray[np.int64], n_groups: int
) -> NDArray[np.int64]:
    """Count the chosen sites of each group and window.

    Parameters
    ----------
    chosen : ndarray, shape (n_sites, n_windows)
        Which sites count.
    groups : ndarray, shape (n_sites,)
        Group of each site; -1 leaves it out.
    n_groups : int
        Number of groups.

    Returns
    -------
    ndarray, shape (n_groups, n_windows)
        Counts.
    """
    counts = np.zeros((n_groups, chosen.shape[1]), dtype=np.int64)
    np.add.at(counts, groups[groups >= 0], chosen[groups >= 0])
    return counts


def lowest(
    scores: NDArray[np.float64], groups: NDArray[np.int64], n_groups: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find the lowest score of each group and window, and whose it is.

    Parameters
    ----------
    scores : ndarray, shape (n_sites, n_windows)
        Scores, NaN where absent. [1]
    groups : ndarray, shape (n_sites,)
        Group of each site; -1 leaves it out.
    n_groups : int
        Number of groups.

    Returns
    -------
    score : ndarray, shape (n_groups, n_windows)
        Lowest score; NaN where the group has none. [1]
    site : ndarray, shape (n_groups, n_windows)
        Its site: the first of those equal to 1e-9; -1 where the group has none.
    """
    n_windows = scores.shape[1]
    score = np.full((n_groups, n_windows), np.nan)
    site = np.full((n_groups, n_windows), NO_SITE, dtype=np.int64)
    for g in range(n_groups):
        members = np.flatnonzero(groups == g)
        if members.size:
            inside = np.where(np.isnan(scores[members]), np.inf, scores[members])
            found = inside.min(axis=0)
            some = np.isfinite(found)
            score[g] = np.where(some, found, np.nan)
            site[g] = np.where(
                some, members[np.argmin(np.round(inside, _DECIMALS), axis=0)], NO_SITE
            )
    return score, site


def _over_groups(part: ExactSum, shape: tuple[int, int]) -> ExactSum:
    return ExactSum(part.upper.reshape(shape).sum(axis=0), part.lower.reshape(shape).sum(axis=0))


def _ratio(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out
