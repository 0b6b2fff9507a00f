"""Sums that do not depend on the order of their terms.

Floating-point addition is not associative, so a mean over sites would change in its last bits with the order of rows or
with how the sites are split. Each term is therefore cut into two integers on fixed grids whose sums a float64 holds
exactly: the answer is the same bits for every order and every split.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COARSE = 2.0**20
"""Grid of the upper part: |term| up to 2**22 sums exactly for 2**10 terms."""
FINE = 2.0**60
"""Grid of the lower part: the total's error is at most 2**-61 for each term."""


@dataclass(frozen=True, slots=True)
class ExactSum:
    """A sum in two exact parts; adding two of them is exact as well."""

    upper: NDArray[np.float64]
    lower: NDArray[np.float64]

    def __add__(self, other: "ExactSum") -> "ExactSum":
        """Merge the sums of two disjoint sets of terms."""
        return ExactSum(self.upper + other.upper, self.lower + other.lower)

    @property
    def value(self) -> NDArray[np.float64]:
        """The sum, rounded once to float64."""
        return self.upper / COARSE + self.lower / FINE


def exact_sum(terms: NDArray[np.float64], groups: NDArray[np.int64], n_groups: int) -> ExactSum:
    """Sum terms by group, exactly.

    Parameters
    ----------
    terms : ndarray, shape (n,)
        Values of magnitude up to 2**22; not NaN. [any]
    groups : ndarray, shape (n,)
        Group of each term, 0 ... n_groups - 1.
    n_groups : int
        Number of groups.

    Returns
    -------
    ExactSum
        Parts of shape (n_groups,); a group without terms sums to 0.

    Examples
    --------
    >>> x = np.array([0.1, 1e6, -1e6, 0.2])
    >>> g = np.zeros(4, dtype=np.int64)
    >>> float(exact_sum(x, g, 1).value[0]) == float(exact_sum(x[::-1], g, 1).value[0])
    True
    """
    upper = np.rint(terms * COARSE)
    lower = np.rint((terms - upper / COARSE) * FINE)
    return ExactSum(_binned(upper, groups, n_groups), _binned(lower, groups, n_groups))


def power_of_two_above(largest: float) -> float:
    """Return the smallest power of two that is at least `largest`; 1 for 0.

    Parameters
    ----------
    largest : float
        Largest of the weights. [any]

    Returns
    -------
    float
        Power of two; dividing by it loses no bits, and brings weights of any unit into (0, 1].
    """
    return float(2.0 ** np.ceil(np.log2(largest))) if largest > 0 else 1.0


def _binned(
    terms: NDArray[np.float64], groups: NDArray[np.int64], n_groups: int
) -> NDArray[np.float64]:
    return np.asarray(np.bincount(groups, weights=terms, minlength=n_groups), dtype=np.float64)
