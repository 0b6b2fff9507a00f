"""Where an incident began: the sites upstream of the others, then the earliest."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.neighbourhood import FAR


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an incident may have begun."""

    order: NDArray[np.int64]
    """The sites by how likely it began there, most likely first, shape (n,)."""
    is_determined: bool
    """False where the first two are equally likely."""
    explained: float
    """Share of the other sites that depend on the first, directly or over others. [1]"""


def origin_of(hops: NDArray[np.int32], onset: NDArray[np.int64]) -> Origin:
    """Order the sites of an incident by how likely it began there.

    Parameters
    ----------
    hops : ndarray, shape (n, n)
        Steps of dependence from a site (row) down to another (column).
    onset : ndarray, shape (n,)
        Window in which each site's deviation began.

    Returns
    -------
    Origin
        Roots first: sites that depend on no other of them but those that depend on them in turn. Among the roots, those of
        which more of the others depend come first, then earlier onsets. Where no site depends on another, by onset alone.
        Two that are equal in all this leave the origin undetermined.

    Notes
    -----
    A root that explains the others is preferred to one that merely alarms at the same time; without that, an unrelated
    alarm shortly before would take the blame.
    """
    reaches = hops < FAR
    np.fill_diagonal(reaches, val=False)
    is_root = ~np.any(reaches & ~reaches.T, axis=0)
    n_explained = np.sum(reaches, axis=1)
    rank = np.where(is_root, -n_explained, 1)
    order = np.lexsort((onset, rank))
    first, second = order[0], order[min(1, order.size - 1)]
    tied = order.size > 1 and rank[first] == rank[second] and onset[first] == onset[second]
    share = float(n_explained[first]) / max(1, order.size - 1)
    return Origin(order=order, is_determined=not tied, explained=share)
