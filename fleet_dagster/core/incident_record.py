"""What is told of an incident at one moment, made from its members."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.confidence import Evidence, confidence_of
from fleet_dagster.core.incident_profile import (
    Extent,
    dominant_domain,
    pattern_of,
    severity_of,
)
from fleet_dagster.core.neighbourhood import Neighbourhood
from fleet_dagster.core.root_cause import origin_of

Name = tuple[int, int]
"""What an incident's id is made of: its first site's place and the window in which that one's deviation began."""
MOST_CANDIDATES = 5


@dataclass(frozen=True, slots=True)
class Members:
    """The sites of an incident, in order of onset and place; arrays over them."""

    site: NDArray[np.int64]
    onset: NDArray[np.int64]
    peak: NDArray[np.float64]
    """Largest E/U in each domain, shape (n, n_domains). [1]"""
    signature: NDArray[np.float64]
    """Weight of each KPI, shape (n, n_kpis)."""


@dataclass(frozen=True, slots=True)
class Record:
    """All that is told of an incident at one moment; sites and regions by place."""

    pattern: str
    domain: int
    sites: tuple[int, ...]
    """By onset."""
    regions: tuple[int, ...]
    onset: int
    root_site: int | None
    root_kpi: int | None
    candidates: tuple[int, ...]
    severity: str
    evidence: Evidence

    @property
    def confidence(self) -> float:
        """The calibrated probability that one cause explains it."""
        return confidence_of(self.evidence)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happens to an incident in a window."""

    window: int
    name: Name
    phase: str
    record: Record
    continues: Name | None = None
    merged_into: Name | None = None


def members_of(
    site: NDArray[np.int64],
    onset: NDArray[np.int64],
    peak: NDArray[np.float64],
    signature: NDArray[np.float64],
) -> Members:
    """Join the episodes of an incident by site.

    Parameters
    ----------
    site, onset : ndarray, shape (n_episodes,)
        Site and onset of each episode.
    peak : ndarray, shape (n_episodes, n_domains)
        Largest E/U of each domain. [1]
    signature : ndarray, shape (n_episodes, n_kpis)
        Weight of each KPI.

    Returns
    -------
    Members
        One of each site: its first onset, its largest peaks, all its weights.
    """
    sites, place = np.unique(site, return_inverse=True)
    first = np.full(sites.size, np.iinfo(np.int64).max)
    np.minimum.at(first, place, onset)
    largest = np.zeros((sites.size, peak.shape[1]))
    np.maximum.at(largest, place, peak)
    weight = np.zeros((sites.size, signature.shape[1]))
    np.add.at(weight, place, signature)
    order = np.lexsort((sites, first))
    return Members(sites[order], first[order], largest[order], weight[order])


def median_peak(peak: NDArray[np.float64]) -> float:
    """Return the median over sites of their largest E/U, rounded to 1e-9."""
    return round(float(np.median(peak.max(axis=1))), 9)


def record_of(
    members: Members, place: Neighbourhood, p_value: float, *, window: int, is_over: bool
) -> Record:
    """Tell all that is known of an incident.

    Parameters
    ----------
    members : Members
        Its sites.
    place : Neighbourhood
        The fleet as of the window.
    p_value : float
        Least p-value found for it, NaN where nothing was tested.
    window : int
        The window in which it is told.
    is_over : bool
        Whether it closes in that window.

    Returns
    -------
    Record
        The record.
    """
    site, n = members.site, members.site.size
    region = place.region[site]
    origin = origin_of(place.hops[np.ix_(site, site)], members.onset)
    most = int(np.bincount(region + 1).argmax()) - 1
    extent = Extent(
        members.onset,
        region,
        n_fleet=int(place.is_present.sum()),
        n_region=int(np.sum(place.region == most)),
    )
    peak_ratio = median_peak(members.peak)
    root = int(origin.order[0])
    weights = members.signature[root]
    return Record(
        pattern=pattern_of(extent, origin),
        domain=dominant_domain(members.peak),
        sites=tuple(site.tolist()),
        regions=tuple(np.unique(region).tolist()),
        onset=int(members.onset[0]),
        root_site=int(site[root]) if origin.is_determined else None,
        root_kpi=int(np.argmax(weights)) if origin.is_determined and weights.any() else None,
        candidates=tuple(site[origin.order[:MOST_CANDIDATES]].tolist()),
        severity=severity_of(n, peak_ratio),
        evidence=Evidence(
            n_sites=n,
            peak_ratio=peak_ratio,
            p_value=p_value,
            n_windows=window - int(members.onset[0]),
            is_over=is_over,
        ),
    )
