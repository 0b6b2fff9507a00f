"""Which sites may share a cause: by dependence, by region, by the likeness of what deviates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, dijkstra

SIMILAR = 0.7
"""Least cosine of two sites' KPI signatures from which they are alike."""
FAR = np.int32(2**30)
"""Hops where nothing leads from one site to the other."""
LINKING_HOPS = 2
"""Dependence reaches over one silent site: a cause may pass where nothing is measured."""
DECIMALS = 9


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """The sites of a fleet over some windows; arrays over the site axis."""

    region: NDArray[np.int64]
    """Region of each site; -1 for a site that the fleet does not have."""
    hops: NDArray[np.int32]
    """Steps of dependence from a site (row) down to another (column), shape (n_sites, n_sites)."""
    chain: NDArray[np.int64]
    """Number of the group of sites that dependence connects, in whatever direction."""
    rate_per_h: NDArray[np.float64]
    """How often an alarm of the site has begun. [1/h]"""

    @property
    def is_present(self) -> NDArray[np.bool_]:
        """Which sites the fleet has, shape (n_sites,)."""
        return self.region >= 0


def neighbourhood(
    region: NDArray[np.int64],
    edges: Sequence[tuple[int, int]],
    rate_per_h: NDArray[np.float64],
) -> Neighbourhood:
    """Describe the sites of a fleet.

    Parameters
    ----------
    region : ndarray, shape (n_sites,)
        Region of each site; -1 for a site that the fleet does not have.
    edges : sequence of (int, int)
        Pairs of a site and another that depends on it.
    rate_per_h : ndarray, shape (n_sites,)
        How often an alarm of the site has begun. [1/h]

    Returns
    -------
    Neighbourhood
        With the distances along the dependences; a site that depends on itself does so in vain.
    """
    n = region.size
    pairs = np.array(sorted(set(edges)), dtype=np.int64).reshape(-1, 2)
    if not pairs.size:
        hops = np.full((n, n), FAR, dtype=np.int32)
        np.fill_diagonal(hops, 0)
        return Neighbourhood(region, hops, np.arange(n), rate_per_h)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n)).tocsr()
    distance = dijkstra(graph, directed=True, unweighted=True)
    hops = np.where(np.isfinite(distance), distance, FAR).astype(np.int32)
    _, chain = connected_components(graph, directed=False)
    return Neighbourhood(region, hops, chain.astype(np.int64), rate_per_h)


def linked_by_dependence(place: Neighbourhood, sites: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which pairs of sites depend on each other, at most over one site between, shape (n, n)."""
    near = place.hops[np.ix_(sites, sites)] <= LINKING_HOPS
    return np.asarray(near | near.T)


def linked_by_region(place: Neighbourhood, sites: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which pairs of sites lie in one region, shape (n, n)."""
    region = place.region[sites]
    return np.asarray((region[:, None] == region) & (region >= 0))


def linked_by_signature(signatures: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which pairs of sites deviate in like KPIs, shape (n, n).

    Parameters
    ----------
    signatures : ndarray, shape (n, n_kpis)
        Weight of each KPI in each site's deviation; a row of zeros is like nothing. [1]

    Returns
    -------
    ndarray, shape (n, n)
        True where the cosine of the two signatures is beyond 0.7.
    """
    return np.asarray(np.abs(cosines(signatures)) > SIMILAR)


def cosines(signatures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosine of each pair of signatures, rounded to 1e-9, shape (n, n); 0 where one is all zeros."""
    length = np.sqrt(np.sum(signatures**2, axis=1, keepdims=True))
    unit = np.divide(signatures, length, out=np.zeros(signatures.shape), where=length > 0)
    # einsum without BLAS: a BLAS product's last bits would depend on how many sites are looked at.
    return np.asarray(np.round(np.einsum("ik,jk->ij", unit, unit, optimize=False), DECIMALS))


def components(linked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give each member of a symmetric relation the number of its connected group, shape (n,)."""
    _, labels = connected_components(coo_array(linked), directed=False)
    return np.asarray(labels, dtype=np.int64)
