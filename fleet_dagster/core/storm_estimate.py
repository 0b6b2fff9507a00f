"""Means of a fleet and its regions in a storm, from the panel's sites, with a standard error (SPEC section 5).

Post-stratified by current status with a regression estimator: the mean of each status, as the panel shows it, is applied
to all sites of that status, and the panel's deviations from it are spread over their stratum (Särndal, Swensson and
Wretman, Model Assisted Survey Sampling, 1992, sections 6.4 to 7.6, doi:10.1007/978-1-4612-4378-6).
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from fleet_dagster.core.panel import Panel
from fleet_dagster.core.site_window_sums import Grid, added, pick, ratio, sums_by_group, weighted
from fleet_dagster.core.storm_design import Design, Population

SMALLEST_REGION = 5
"""Sites read from which on a region has a standard error."""
LEAST_LEFT = 0.1
"""What is left at least of a deviation freed of its own pull, however heavy the site."""
FEWEST_DEGREES = 4.0
"""Degrees of freedom that a standard error counts as having at least."""
NOBODY = 1e-9
"""Weight, in units in which the heaviest site weighs at most 1, up to which an estimate stands for no site."""
_NORMAL_975 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class StormMeans:
    """Estimates for the regions and, in the last row, for the fleet, each of shape (n_regions + 1, n_windows)."""

    means: list[Grid]
    stderr: Grid


def storm_means(values: list[Grid], population: Population, panel: Panel) -> StormMeans:
    """Estimate weighted means over fresh sites from those that were read.

    Parameters
    ----------
    values : list of ndarray, each shape (n_sites, n_windows)
        Values of the sites read, NaN where absent; of the others nothing is looked at.
    population : Population
        Weight, region, status and freshness of every site.
    panel : Panel
        Who is read, and how they were drawn.

    Returns
    -------
    StormMeans
        Means, NaN where no site read has the value, and the standard error of the first value's: such that mean +- 1.96
        standard errors is a 95 % interval. It is 0 where every fresh site is read, and NaN where it cannot be told: in a
        region with fewer than 5 sites read, or of which sites are pooled with others' or came after the draw.
    """
    design = _Estimator(population, panel)
    having = [design.total_having(value) for value in values]
    totals = [design.total(np.nan_to_num(value)) for value in values]
    means = [ratio(t.estimate, h.estimate) for t, h in zip(totals, having, strict=True)]
    return StormMeans(means, design.stderr(means[0], totals[0], having[0]))


@dataclass(frozen=True, slots=True)
class _Total:
    """Estimated totals of the regions and the fleet, and what each drawn site deviates from its cell and stratum."""

    estimate: Grid
    deviation: Grid


class _Estimator(Design):
    """The estimates that a design allows."""

    def total(self, value: Grid) -> _Total:
        """Estimate the totals of a value that is 0 where a site lacks it."""
        drawn = np.where(self.is_there, value[self.drawn], 0.0)
        mean = self._cell_means(drawn)
        deviation = np.where(self.is_there, drawn - pick(mean, self.cell), 0.0)
        shift = np.nan_to_num(
            ratio(self.drawn_sums(self.weight, self.stratum, deviation), self.stratum_read)
        )
        estimate = (
            self._certain(value)
            + weighted(self.cell_weight, mean)
            + weighted(self.stratum_weight, shift)
        )
        return _Total(
            np.vstack([estimate, added(estimate)[None]]),
            np.where(self.is_there, deviation - pick(shift, self.stratum), 0.0),
        )

    def total_having(self, value: Grid) -> _Total:
        """Estimate what the sites that have the value weigh; a rest of rounding is nobody."""
        found = self.total((~np.isnan(value)).astype(np.float64))
        return replace(found, estimate=np.where(found.estimate > NOBODY, found.estimate, 0.0))

    def stderr(self, mean: Grid, total: _Total, having: _Total) -> Grid:
        """Return the standard errors of means, ratios of two totals; the fleet's last."""
        n = self.population.n_regions
        groups = [*(slice(r, r + 1) for r in range(n)), slice(0, n)]
        errors = []
        for g, regions in enumerate(groups):
            deviation = total.deviation - np.nan_to_num(mean[g]) * having.deviation
            error = ratio(self._error(regions, deviation), having.estimate[g])
            is_told = self._is_told[g] if g < n else np.True_
            is_known = added(self._unread[regions]) == 0
            errors.append(np.where(is_known, 0.0, np.where(is_told, error, np.nan)))
        return np.stack(errors)

    def _error(self, regions: slice, deviation: Grid) -> Grid:
        """Return the standard error of a group's total (Särndal et al., section 6.6), widened to Student's t."""
        # Deviations are freed of their own pull on the means as in MacKinnon and White (1985, HC2,
        # doi:10.1016/0304-4076(85)90158-7); the degrees of freedom are fewer the more unequal the weights are
        # (Satterthwaite 1946, doi:10.2307/3002019).
        weight = added(self.stratum_weight[regions])
        unread = 1.0 - np.minimum(np.nan_to_num(ratio(self.n_drawn, self.n_stratum)), 1.0)
        scale = np.nan_to_num(ratio(weight, self.stratum_read)) ** 2 * unread
        share = (self.weight[:, None] * pick(self.cell_factor, self.cell)) ** 2
        share = np.where(self._is_paired, share * pick(scale, self.stratum), 0.0)
        squares: Grid = np.where(self._is_paired, deviation**2 / self._left_out, 0.0)
        alone = added(np.where(self.n_drawn > 1, 0.0, weight**2 * unread))
        typical = ratio(
            self._over_drawn(squares), self._over_drawn(self._is_paired.astype(np.float64))
        )
        rest = np.where(alone > 0, alone * typical, 0.0)
        return np.asarray(np.sqrt(self._over_drawn(squares * share) + rest) * self._widening(share))

    def _widening(self, share: Grid) -> Grid:
        """Return by how much the 95 % interval of Student's t is wider than the normal one."""
        paired = added(np.maximum(self.n_drawn - 1, 0))
        freedom = np.maximum(paired - self.n_cells + 1, 1.0)
        even = ratio(self._over_drawn(share) ** 2, self._over_drawn(share**2))
        effective = freedom * np.nan_to_num(even) / np.maximum(added(self.n_drawn), 1.0)
        effective = np.maximum(effective, FEWEST_DEGREES)
        widened: Grid = stdtrit(effective, 0.975) / _NORMAL_975
        return widened

    def _over_drawn(self, value: Grid) -> Grid:
        """Sum over the fresh sites drawn, shape (n_windows,)."""
        ones, together = np.ones(self.drawn.size), np.zeros((1, 1), dtype=np.int64)
        return np.asarray(sums_by_group(ones, together, self.is_there, 1, value)[0])

    @cached_property
    def _is_paired(self) -> NDArray[np.bool_]:
        """Which drawn sites have another one of their stratum to be compared with, shape (n_drawn, n_windows)."""
        return np.asarray(self.is_there & (pick(self.n_drawn, self.stratum) > 1))

    @cached_property
    def _left_out(self) -> Grid:
        """What is left of each drawn site's deviation when it does not take part in the means: 1 - leverage."""
        own = self.weight[:, None]
        stratum = ratio(own, pick(self.stratum_read, self.stratum))
        stands = self.stands_for[:, None]
        cell = ratio(stands, pick(self.cell_read, self.cell))
        both = ratio(stands, added(self.cell_read)[None])
        left = 1.0 - np.nan_to_num(stratum + cell - both)
        return np.asarray(np.maximum(left, LEAST_LEFT))

    @cached_property
    def _is_told(self) -> NDArray[np.bool_]:
        """Which regions are strata whole, with enough sites read, shape (n_regions, n_windows)."""
        read = self.population.is_fresh & self.panel.is_read[:, None]
        here = read & (self.population.region >= 0)[:, None]
        region = self.population.region[:, None]
        ones = np.ones(region.size)
        n_read = sums_by_group(ones, region, here, self.population.n_regions)
        pooled = added(np.moveaxis(self.stratum_weight, 1, 0)[~self.panel.is_own_region])
        late = self.region_weight(self.panel.stratum < 0)
        return np.asarray((n_read >= SMALLEST_REGION) & (pooled + late == 0))

    @cached_property
    def _unread(self) -> Grid:
        """What each region's fresh sites weigh that are not read, shape (n_regions, n_windows)."""
        return self.region_weight(~self.panel.is_read)

    def _cell_means(self, drawn: Grid) -> Grid:
        """Return the mean of each cell, of all drawn sites where nobody of a cell was drawn."""
        sums = self.drawn_sums(self.stands_for, self.cell, drawn)
        overall = ratio(added(sums), added(self.cell_read))
        return np.asarray(np.where(self.cell_read > 0, ratio(sums, self.cell_read), overall))

    def _certain(self, value: Grid) -> Grid:
        """Return the totals over the sites read with certainty, shape (n_regions, n_windows)."""
        here = self.panel.is_certain & (self.population.region >= 0)
        there = self.population.is_fresh & here[:, None]
        region, n = self.population.region[:, None], self.population.n_regions
        return sums_by_group(self.population.weight, region, there, n, value)
