"""What an incident looks like: its shape, its severity, and the figures that its confidence is told from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.root_cause import Origin

DECIMALS = 9
WARNING_FROM, CRITICAL_FROM = 4.0, 12.0
"""Sites times median E/U: two sites twice beyond the level are a warning, six sites a critical incident."""
MOST = 0.5
"""Share of a fleet, or of a region, from which an incident is its affair."""
ORDERED_WINDOWS = 1.0
"""Interquartile range of onsets from which sites were reached one after the other. [windows]"""
MIN_REGIONAL = 3
"""Fewer sites are not a region's affair, however small the region."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How far an incident reaches; the sites in order of onset."""

    onset: NDArray[np.int64]
    """Window in which each site's deviation began, shape (n,)."""
    region: NDArray[np.int64]
    """Region of each site, shape (n,)."""
    n_fleet: int
    """Sites of the fleet."""
    n_region: int
    """Sites of the region that most of them lie in."""


def pattern_of(extent: Extent, origin: Origin) -> str:
    """Name the shape of an incident.

    Parameters
    ----------
    extent : Extent
        How far it reaches.
    origin : Origin
        Where it began.

    Returns
    -------
    str
        One of isolated: one site. fleet_wide: half of the fleet or more, in several regions. cascade: sites were reached one after the other (the
        interquartile range of onsets is a window or more, or all depend on the first and did not deviate at once).
        regional: half of one region or more, and nothing elsewhere. simultaneous: any others.
    """
    n = extent.onset.size
    if n == 1:
        return "isolated"
    is_one_region = bool(np.all(extent.region == extent.region[0]))
    if not is_one_region and n >= MOST * extent.n_fleet:
        return "fleet_wide"
    spread = float(np.subtract(*np.percentile(extent.onset, [75, 25])))
    follows = origin.explained == 1.0 and extent.onset.max() > extent.onset.min()
    if round(spread, DECIMALS) >= ORDERED_WINDOWS or follows:
        return "cascade"
    if is_one_region and n >= max(MIN_REGIONAL, MOST * extent.n_region):
        return "regional"
    return "simultaneous"


def severity_of(n_sites: int, peak_ratio: float) -> str:
    """Say how bad an incident is: number of sites times the median over them of their largest E/U.

    Parameters
    ----------
    n_sites : int
        Sites of the incident.
    peak_ratio : float
        Median over its sites of their largest error over its level. [1]

    Returns
    -------
    str
        One of info below 4, warning below 12, critical from there on; one site alone is never critical.
    """
    size = round(n_sites * peak_ratio, DECIMALS)
    if size < WARNING_FROM:
        return "info"
    return "critical" if n_sites > 1 and size >= CRITICAL_FROM else "warning"


def dominant_domain(peaks: NDArray[np.float64]) -> int:
    """Choose the domain that deviates most.

    Parameters
    ----------
    peaks : ndarray, shape (n, n_domains)
        Largest E/U of each site in each domain, 0 where it is not anomalous; the first domain stands for all KPIs. [1]

    Returns
    -------
    int
        The domain of the largest median, the lowest of equal ones; 0 where no domain is anomalous at half of the sites.
    """
    medians = np.round(np.median(peaks[:, 1:], axis=0), DECIMALS)
    return 1 + int(np.argmax(medians)) if np.any(medians > 0) else 0
