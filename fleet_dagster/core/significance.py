"""Whether alarms at once are more than chance: which groups are looked at, and what is kept."""

from collections.abc import Callable
from dataclasses import dataclass

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


def significant_groups(
    level: Level, place: Neighbourhood, recent: Recent, windows_per_h: int
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
    windows_per_h : int
        Windows in an hour.

    Returns
    -------
    list of Found
        Groups that hold a new alarm and are kept: p-value at most 0.01.

    Notes
    -----
    A group of k alarms is tested by the chance that k or more of its sites' alarms begin within 10 windows, given how often
    each has in the past. A group that holds an incident's recent alarms is tested whole, theirs included. The chance is
    multiplied by the number of groups there are and of spans of 10 windows in a day: of a hundred days of unrelated alarms
    one may show an incident of several sites.
    """
    same = (recent.owner[:, None] == recent.owner) & (recent.owner >= 0)
    labels = components(level.linked(place, recent) | same)
    found = []
    for label in np.unique(labels[recent.is_new]):
        members = np.flatnonzero(labels == label)
        if np.unique(recent.site[members]).size > 1:
            chance = _chance(level, place, recent.site[members], windows_per_h)
            p_value = min(1.0, chance * n_looks(place, windows_per_h))
            found.append(Found(members, p_value))
    return [group for group in found if round(group.p_value, DECIMALS) <= MOST_P]


def n_looks(place: Neighbourhood, windows_per_h: int) -> float:
    """Count the groups and spans that a day gives chance to play with.

    Parameters
    ----------
    place : Neighbourhood
        The fleet.
    windows_per_h : int
        Windows in an hour.

    Returns
    -------
    float
        Chains of at least two sites, regions, and the fleet, times the spans of 10 windows in 24 hours.
    """
    chains = np.bincount(place.chain[place.is_present])
    n_groups = int(np.sum(chains > 1)) + np.unique(place.region[place.is_present]).size + 1
    return n_groups * 24 * windows_per_h / INCIDENT_WINDOWS


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
