"""Whether alarms at once are more than chance: which groups are looked at, and what is kept."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.neighbourhood import (
    Neighbourhood,
    components,
    linked_by_dependence,
    linked_by_region,
    linked_by_signature,
)
from fleet_dagster.core.poisson_binomial import onset_probabilities, poisson_binomial_tail
from fleet_dagster.model.lookbacks import INCIDENT_WINDOWS

MOST_P = 0.01
"""Alarms at once are kept together up to this p-value."""
DECIMALS = 12


@dataclass(frozen=True, slots=True)
class Recent:
    """Alarms that began within the last windows; arrays over them."""

    site: NDArray[np.int64]
    is_new: NDArray[np.bool_]
    """Whether it began in this very window."""
    owner: NDArray[np.int64]
    """Number of the incident that it belongs to; -1 for none."""
    signature: NDArray[np.float64]
    """Weight of each KPI, shape (n, n_kpis)."""


@dataclass(frozen=True, slots=True)
class Found:
    """Alarms that belong together."""

    members: NDArray[np.int64]
    """Their places among the recent ones."""
    p_value: float


@dataclass(frozen=True, slots=True)
class Level:
    """One way in which sites may belong together: which pairs do, and who else might have alarmed with them."""

    linked: Callable[[Neighbourhood, Recent], NDArray[np.bool_]]
    population: Callable[[Neighbourhood, NDArray[np.int64]], NDArray[np.bool_]]


def _chain_of(place: Neighbourhood, sites: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.isin(place.chain, place.chain[sites])


def _region_of(place: Neighbourhood, sites: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.isin(place.region, place.region[sites])


def _fleet_of(place: Neighbourhood, _sites: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.ones(place.region.size, dtype=bool)


LEVELS = (
    Level(lambda place, recent: linked_by_dependence(place, recent.site), _chain_of),
    Level(lambda place, recent: linked_by_region(place, recent.site), _region_of),
    Level(lambda _place, recent: linked_by_signature(recent.signature), _fleet_of),
)
"""From the closest tie to the loosest."""


@dataclass(slots=True)
class GroupTest:
    """Tests groups of alarms, and counts how many it has looked at within the hour."""

    windows_per_h: int
    looks: deque[tuple[int, int]] = field(default_factory=deque)
    """Windows and how many groups were tested in them."""

    def significant(
        self,
        level: Level,
        place: Neighbourhood,
        recent: Recent,
        *,
        window: int,
    ) -> list[Found]:
        """Find the groups of one level that alarm together more often than by chance.

        Parameters
        ----------
        level : Level
            The tie looked at.
        place : Neighbourhood
            The fleet.
        recent : Recent
            Alarms that began within 10 windows.
        window : int
            The window.

        Returns
        -------
        list of Found
            Groups that hold a new alarm and are kept, each with its p-value times the groups tested within the hour.

        Notes
        -----
        A group of k alarms is tested by the chance that k or more of its sites' alarms begin within 10 windows, given how often
        each has in the past. A group that holds an incident's recent alarms is tested whole, theirs included.
        """
        same = (recent.owner[:, None] == recent.owner) & (recent.owner >= 0)
        labels = components(level.linked(place, recent) | same)
        tried = []
        for label in np.unique(labels[recent.is_new]):
            members = np.flatnonzero(labels == label)
            if np.unique(recent.site[members]).size > 1:
                p = _chance(level, place, recent.site[members], self.windows_per_h)
                tried.append((members, p))
        n_looks = self._count(window, len(tried))
        kept = [Found(members, min(1.0, p * n_looks)) for members, p in tried]
        return [found for found in kept if round(found.p_value, DECIMALS) <= MOST_P]

    def _count(self, window: int, n_groups: int) -> int:
        """Book the groups tested in a window, and return how many have been within the hour."""
        while self.looks and self.looks[0][0] <= window - self.windows_per_h:
            self.looks.popleft()
        if n_groups:
            self.looks.append((window, n_groups))
        return sum(n for _, n in self.looks)


def alike_groups(place: Neighbourhood, recent: Recent) -> list[Found]:
    """Group alarms whose beginning is not known: those of one chain or region that deviate in like KPIs.

    Parameters
    ----------
    place : Neighbourhood
        The fleet.
    recent : Recent
        Alarms that were under way when memory begins.

    Returns
    -------
    list of Found
        Groups that hold a new alarm. Nothing was tested, so their p-value is NaN.
    """
    near = linked_by_dependence(place, recent.site) | linked_by_region(place, recent.site)
    same = (recent.owner[:, None] == recent.owner) & (recent.owner >= 0)
    labels = components((near & linked_by_signature(recent.signature)) | same)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels[recent.is_new])]
    return [Found(members, float("nan")) for members in groups if members.size > 1]


def _chance(
    level: Level,
    place: Neighbourhood,
    sites: NDArray[np.int64],
    windows_per_h: int,
) -> float:
    asked = level.population(place, sites) & place.is_present
    asked[sites] = True
    span_h = INCIDENT_WINDOWS / windows_per_h
    chances = onset_probabilities(place.rate_per_h[asked], span_h)
    return poisson_binomial_tail(chances, np.unique(sites).size)
