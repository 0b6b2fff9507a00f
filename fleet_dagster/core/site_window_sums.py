"""Sums and look-ups over site-windows that keep every bit, whatever the order of sites and the number of windows."""

from functools import reduce
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.exact import exact_sum

Grid = NDArray[np.float64]
Codes = NDArray[np.int64]
_Value = TypeVar("_Value", bound=np.generic)


def sums_by_group(
    weight: NDArray[np.float64],
    groups: NDArray[np.integer],
    there: NDArray[np.bool_],
    n_groups: int,
    value: Grid | None = None,
) -> Grid:
    """Sum weights, or weighted values, of site-windows by group.

    Parameters
    ----------
    weight : ndarray, shape (n_sites,)
        Weight of each site. [any]
    groups : ndarray, broadcastable to (n_sites, n_windows)
        Group of each site-window, 0 ... n_groups - 1 where it is there.
    there : ndarray, shape (n_sites, n_windows)
        Which site-windows count.
    n_groups : int
        Number of groups.
    value : ndarray, shape (n_sites, n_windows), optional
        What is weighted; 1 by default. [any]

    Returns
    -------
    ndarray, shape (n_groups, n_windows)
        Exact sums, rounded once; 0 for a group without sites. [any]
    """
    n_windows = there.shape[1]
    site, window = np.nonzero(there)
    terms = weight[site] if value is None else weight[site] * value[site, window]
    group = np.broadcast_to(groups, there.shape)[site, window].astype(np.int64)
    total = exact_sum(terms, group * n_windows + window, n_groups * n_windows)
    return total.value.reshape(n_groups, n_windows)


def added(parts: Grid) -> Grid:
    """Add along the first axis one by one: a library's sum adds in another order where there is one window.

    Parameters
    ----------
    parts : ndarray, shape (n, ...)
        What to add. [any]

    Returns
    -------
    ndarray, shape (...)
        Sums; 0 of nothing. [any]
    """
    return reduce(np.add, parts, np.zeros(parts.shape[1:]))


def weighted(weight: Grid, mean: Grid) -> Grid:
    """Add up what each cell contributes to each region.

    Parameters
    ----------
    weight : ndarray, shape (n_regions, n_cells, n_windows)
        Weight of each region in each cell. [any]
    mean : ndarray, shape (n_cells, n_windows)
        Mean of each cell; not looked at where the cell weighs nothing. [any]

    Returns
    -------
    ndarray, shape (n_regions, n_windows)
        Sums of weight x mean. [any]
    """
    terms = [np.where(weight[:, c] > 0, weight[:, c] * mean[c], 0.0) for c in range(mean.shape[0])]
    return reduce(np.add, terms)


def pick(table: NDArray[_Value], codes: Codes) -> NDArray[_Value]:
    """Look a code of each site-window up in the table of its window.

    Parameters
    ----------
    table : ndarray, shape (n_codes, n_windows)
        A value for each code and window.
    codes : ndarray, shape (n_sites, n_windows)
        Codes.

    Returns
    -------
    ndarray, shape (n_sites, n_windows)
        Values.
    """
    return np.asarray(np.take_along_axis(table, codes, axis=0))


def ratio(top: Grid, bottom: Grid) -> Grid:
    """Divide where there is something to divide by.

    Parameters
    ----------
    top, bottom : ndarray, broadcastable to one shape
        Numerator, and denominator of at least 0. [any]

    Returns
    -------
    ndarray
        Ratios; NaN where the denominator is 0. [any]
    """
    out = np.full(np.broadcast_shapes(top.shape, bottom.shape), np.nan)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out
