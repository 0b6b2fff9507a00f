"""The storm panel: the sites whose KPIs are read while an episode lasts, drawn once by hash (SPEC section 5)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.model.fleet import Fleet, mappings_as_of
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.model.tables import UNMAPPED

OWN_STRATUM = 20
"""Sites from which on a region is a stratum of its own; smaller ones are pooled."""
SMALLEST_SAMPLE = 2
ONE_IN = 10
"""One site in so many is drawn, rounded up."""
NO_STRATUM = -1


@dataclass(frozen=True, slots=True)
class Panel:
    """Who is read: arrays over the site axis, shape (n_sites,).

    `stratum` is -1 for sites that are not drawn from: critical ones, and those that came later.
    """

    stratum: NDArray[np.int64]
    is_certain: NDArray[np.bool_]
    is_read: NDArray[np.bool_]
    is_own_region: NDArray[np.bool_]
    """Of each stratum, whether it is one region whole, shape (n_strata,)."""

    @property
    def n_strata(self) -> int:
        """Number of strata."""
        return int(self.is_own_region.size)

    @property
    def design_weight(self) -> NDArray[np.float64]:
        """How many sites each site of a stratum stands for, shape (n_sites,): N / n of its stratum, 0 outside."""
        inside = self.stratum >= 0
        total = np.bincount(self.stratum[inside], minlength=self.n_strata)
        drawn = np.bincount(self.stratum[inside & self.is_read], minlength=self.n_strata)
        ratio = np.divide(total, drawn, out=np.zeros(self.n_strata), where=drawn > 0)
        out = np.zeros(self.stratum.size)
        out[inside] = ratio[self.stratum[inside]]
        return out


def draw_panel(
    fleet: str,
    episode_id: str,
    *,
    site_ids: Sequence[str],
    regions: Sequence[str | None],
    is_critical: NDArray[np.bool_],
) -> Panel:
    """Draw the sites that are read in a storm.

    Parameters
    ----------
    fleet, episode_id : str
        Names that the draw depends on, besides the sites'.
    site_ids : sequence of str, length n_sites
        Sites.
    regions : sequence of str or None, length n_sites
        Region of each site when the episode begins; None for a site that is not there yet.
    is_critical : ndarray, shape (n_sites,)
        Sites that are read with certainty.

    Returns
    -------
    Panel
        Every critical site, and of each stratum of N others max(2, N / 10 rounded up): those with the smallest
        SHA-256(fleet, episode, site). A region of at least 20 sites is a stratum, all smaller ones together are one.
    """
    here = np.array([region is not None for region in regions], dtype=np.bool_)
    sizes = {r: sum(1 for other in regions if other == r) for r in set(regions) - {None}}
    own = sorted(str(r) for r, n in sizes.items() if n >= OWN_STRATUM)
    numbers = {region: i for i, region in enumerate(own)}
    stratum = np.array([numbers.get(str(r), len(own)) for r in regions], dtype=np.int64)
    stratum[~here | is_critical] = NO_STRATUM
    is_read = here & is_critical
    for s in range(len(own) + 1):
        members = np.flatnonzero(stratum == s)
        ranked = sorted(members.tolist(), key=lambda i: _draw(fleet, episode_id, site_ids[i]))
        is_read[ranked[: max(SMALLEST_SAMPLE, -(-len(ranked) // ONE_IN))]] = True
    whole = np.array([True] * len(own) + [False], dtype=np.bool_)
    return Panel(stratum, here & is_critical, is_read, whole)


def panel_of(fleet: Fleet, episode: StormEpisode) -> Panel:
    """Draw the panel of an episode from the sites and regions with which it begins.

    Parameters
    ----------
    fleet : Fleet
        The fleet.
    episode : StormEpisode
        The episode.

    Returns
    -------
    Panel
        Over the fleet's site axis.
    """
    mappings = fleet.settings_at(episode.start).region_mappings
    current = mappings_as_of(mappings, episode.start)
    here = set(fleet.sites_at(episode.start))
    ids = [site.site_id for site in fleet.sites]
    found = [current.get(name) for name in ids]
    return draw_panel(
        fleet.name,
        episode.episode_id,
        site_ids=ids,
        regions=[
            None if i not in here else (m.region_id if m else UNMAPPED) for i, m in enumerate(found)
        ],
        is_critical=np.array([bool(m and m.critical) for m in found], dtype=np.bool_),
    )


def _draw(fleet: str, episode_id: str, site_id: str) -> bytes:
    text = f"{fleet}\x1f{episode_id}\x1f{site_id}"
    return hashlib.sha256(text.encode()).digest()
