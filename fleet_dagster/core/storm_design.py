"""Who was drawn in a storm, and what every region weighs in each status cell and stratum: what all estimates share."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.panel import Panel
from fleet_dagster.core.site_window_sums import Codes, Grid, added, pick, ratio, sums_by_group

N_STATUSES = 4
SMALLEST_CELL = 5.0
"""Sites that a status must lead one to expect in the panel; rarer ones are merged. The rule looks at all sites and never at
those drawn, else it would bias the means."""


@dataclass(frozen=True, slots=True)
class Population:
    """What is known of every site: arrays over sites, the last two of shape (n_sites, n_windows).

    `weight` is in [0, 1]; `region` is -1 for a site that the fleet does not have.
    """

    weight: NDArray[np.float64]
    region: Codes
    n_regions: int
    status: NDArray[np.int8]
    is_fresh: NDArray[np.bool_]


@dataclass(frozen=True)
class Design:
    """A population and its panel; everything that follows from them is computed when it is first asked for."""

    population: Population
    panel: Panel

    @cached_property
    def drawn(self) -> Codes:
        """Place of each site drawn on the site axis, shape (n_drawn,)."""
        return np.flatnonzero(self.panel.is_read & ~self.panel.is_certain)

    @cached_property
    def weight(self) -> NDArray[np.float64]:
        """Weight of each site drawn, shape (n_drawn,)."""
        return self.population.weight[self.drawn]

    @cached_property
    def others(self) -> NDArray[np.bool_]:
        """Fresh sites that are not read with certainty, shape (n_sites, n_windows)."""
        here = (self.population.region >= 0) & ~self.panel.is_certain
        return self.population.is_fresh & here[:, None]

    @cached_property
    def is_there(self) -> NDArray[np.bool_]:
        """Which drawn sites are fresh, shape (n_drawn, n_windows)."""
        return self.others[self.drawn]

    @cached_property
    def stratum(self) -> Codes:
        """Stratum of each drawn site, shape (n_drawn, n_windows)."""
        return np.broadcast_to(self.panel.stratum[self.drawn][:, None], self.is_there.shape)

    @cached_property
    def label(self) -> Codes:
        """The cell into which each status falls, shape (N_STATUSES, n_windows)."""
        expected = np.zeros((N_STATUSES, self.others.shape[1]))
        inside = self.panel.stratum >= 0
        chance = np.divide(1.0, self.panel.design_weight, out=np.zeros(inside.size), where=inside)
        expected += sums_by_group(chance, self.population.status, self.others, N_STATUSES)
        return _merged(expected)

    @cached_property
    def all_cells(self) -> Codes:
        """The cell of every site, shape (n_sites, n_windows)."""
        return pick(self.label, self.population.status.astype(np.int64))

    @cached_property
    def cell(self) -> Codes:
        """The cell of each drawn site, shape (n_drawn, n_windows)."""
        return self.all_cells[self.drawn]

    @cached_property
    def cell_weight(self) -> Grid:
        """What each region weighs in each cell, shape (n_regions, N_STATUSES, n_windows)."""
        place = self.population.region[:, None] * N_STATUSES + self.all_cells
        n = self.population.n_regions
        sums = sums_by_group(self.population.weight, place, self.others, n * N_STATUSES)
        return sums.reshape(n, N_STATUSES, -1)

    @cached_property
    def stratum_weight(self) -> Grid:
        """What each region weighs in each stratum, shape (n_regions, n_strata, n_windows)."""
        n, strata = self.population.n_regions, self.panel.n_strata
        place = (self.population.region * strata + self.panel.stratum)[:, None]
        inside = self.others & (self.panel.stratum >= 0)[:, None]
        return sums_by_group(self.population.weight, place, inside, n * strata).reshape(
            n, strata, -1
        )

    @cached_property
    def n_stratum(self) -> Grid:
        """Fresh sites of each stratum, shape (n_strata, n_windows)."""
        inside = self.others & (self.panel.stratum >= 0)[:, None]
        ones = np.ones(self.panel.stratum.size)
        return sums_by_group(ones, self.panel.stratum[:, None], inside, self.panel.n_strata)

    @cached_property
    def n_drawn(self) -> Grid:
        """Fresh sites drawn of each stratum, shape (n_strata, n_windows)."""
        return self.drawn_sums(np.ones(self.drawn.size), self.stratum)

    @cached_property
    def stratum_read(self) -> Grid:
        """What the fresh sites drawn of each stratum weigh, shape (n_strata, n_windows)."""
        return self.drawn_sums(self.weight, self.stratum)

    @cached_property
    def cell_read(self) -> Grid:
        """What the drawn sites of each cell stand for, shape (N_STATUSES, n_windows)."""
        return self.drawn_sums(self.stands_for, self.cell)

    @cached_property
    def cell_factor(self) -> Grid:
        """What a cell weighs over what the drawn sites of it stand for, shape (N_STATUSES, n_windows)."""
        return np.nan_to_num(ratio(added(self.cell_weight), self.cell_read))

    @cached_property
    def n_cells(self) -> Grid:
        """Number of cells that drawn sites are in, shape (n_windows,)."""
        return np.asarray(added((self.cell_read > 0).astype(np.float64)))

    @cached_property
    def stands_for(self) -> NDArray[np.float64]:
        """Weight that each site drawn stands for in the whole fleet, shape (n_drawn,)."""
        return self.weight * self.panel.design_weight[self.drawn]

    def region_weight(self, chosen: NDArray[np.bool_]) -> Grid:
        """Return what the chosen sites that are not read with certainty weigh in each region."""
        region, n = self.population.region[:, None], self.population.n_regions
        return sums_by_group(self.population.weight, region, self.others & chosen[:, None], n)

    def drawn_sums(
        self, weight: NDArray[np.float64], groups: Codes, value: Grid | None = None
    ) -> Grid:
        """Sum the weights, or weighted values, of the sites drawn by cell or by stratum."""
        n_groups = N_STATUSES if groups is self.cell else self.panel.n_strata
        return sums_by_group(weight, groups, self.is_there, n_groups, value)


def _merged(expected: Grid) -> Codes:
    """Merge rare statuses with their neighbours: the next better one, or for online the next worse."""
    n_windows = expected.shape[1]
    label = np.tile(np.arange(N_STATUSES)[:, None], (1, n_windows))
    left = expected.copy()
    for status in range(N_STATUSES - 1, 0, -1):
        is_rare = left[status] < SMALLEST_CELL
        left[status - 1] += np.where(is_rare, left[status], 0.0)
        left[status] = np.where(is_rare, 0.0, left[status])
        label = np.where(is_rare & (label == status), status - 1, label)
    is_rare = (left[0] < SMALLEST_CELL) & (left[1:] > 0).any(axis=0)
    nearest = 1 + np.argmax(left[1:] > 0, axis=0)
    return np.where(is_rare & (label == 0), nearest, label)
