"""Means of a fleet in a storm, against the formulas written out, a full census, and every possible sample."""

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fleet_dagster.core.panel import Panel, draw_panel
from fleet_dagster.core.storm_design import Population
from fleet_dagster.core.storm_estimate import StormMeans, storm_means
from fleet_dagster_tests.core.naive_storm import NaiveSite, NaiveStorm

SEEDS = st.integers(0, 2**32 - 1)
Grid = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A fleet in a storm over some windows; the values of all sites, read or not."""

    value: Grid
    population: Population
    panel: Panel

    @property
    def seen(self) -> Grid:
        """What an estimate may look at."""
        return np.where(self.panel.is_read[:, None], self.value, np.nan)

    def estimate(self) -> StormMeans:
        """Estimate the means."""
        return storm_means([self.seen], self.population, self.panel)

    def take(self, sites: Any, windows: Any = slice(None)) -> "Case":
        """Return some sites and windows in some order."""
        p, q = self.population, self.panel
        return Case(
            self.value[sites][:, windows],
            replace(
                p,
                weight=p.weight[sites],
                region=p.region[sites],
                status=p.status[sites][:, windows],
                is_fresh=p.is_fresh[sites][:, windows],
            ),
            replace(
                q,
                stratum=q.stratum[sites],
                is_certain=q.is_certain[sites],
                is_read=q.is_read[sites],
            ),
        )


def fleet_in_a_storm(seed: int, n_windows: int = 3, share_critical: float = 0.05) -> Case:
    """Make a fleet up: regions of all sizes, odd weights, stale, late, removed, moved and critical sites, absent values."""
    rng = np.random.default_rng(seed)
    n, n_regions = int(rng.integers(1, 90)), int(rng.integers(1, 5))
    region = np.minimum(rng.integers(0, n_regions, n), rng.integers(0, n_regions, n))
    is_late = rng.random(n) < rng.choice([0.0, 0.05])
    panel = draw_panel(
        "plant",
        f"storm-{seed}",
        site_ids=[f"S-{i}" for i in range(n)],
        regions=[None if late else f"R-{r}" for late, r in zip(is_late, region, strict=True)],
        is_critical=rng.random(n) < share_critical,
    )
    now = np.where(rng.random(n) < 0.03, rng.integers(-1, n_regions, n), region)
    mix = rng.dirichlet([2.0, 0.7, 0.5, 0.3])
    value = rng.uniform(0, 0.5, (n, n_windows))
    value[rng.random(value.shape) < rng.choice([0.0, 0.1, 0.9])] = np.nan
    population = Population(
        weight=rng.choice([0.0, 1 / 64, 0.3, 0.5, 1.0], n, p=[0.05, 0.1, 0.3, 0.3, 0.25]),
        region=now.astype(np.int64),
        n_regions=n_regions,
        status=rng.choice(4, value.shape, p=mix).astype(np.int8),
        is_fresh=rng.random(value.shape) >= rng.choice([0.0, 0.1, 0.8]),
    )
    return Case(value, population, panel)


def naive(case: Case, window: int) -> NaiveStorm:
    """Return the window's sites for the formulas."""
    p, q = case.population, case.panel
    sizes = {
        s: (int((q.stratum == s).sum()), int((q.is_read & (q.stratum == s)).sum()))
        for s in range(q.n_strata)
    }
    sites = [
        NaiveSite(
            weight=float(p.weight[i]),
            region=int(p.region[i]),
            stratum=int(q.stratum[i]),
            is_certain=bool(q.is_certain[i]),
            is_read=bool(q.is_read[i]),
            status=int(p.status[i, window]),
            design=0.0
            if q.stratum[i] < 0
            else math.prod(sizes[q.stratum[i]]) / sizes[q.stratum[i]][1] ** 2,
            value=float(case.seen[i, window]),
        )
        for i in np.flatnonzero(p.is_fresh[:, window] & (p.region >= 0))
    ]
    return NaiveStorm(sites, p.n_regions, q.is_own_region.tolist())


def whole_fleet_means(case: Case) -> Grid:
    """Return the means over all fresh sites, which an estimate does not know: regions, then the fleet."""
    p = case.population
    there = p.is_fresh & ~np.isnan(case.value)
    groups = [*(p.region == r for r in range(p.n_regions)), p.region >= 0]
    out = np.full((len(groups), case.value.shape[1]), np.nan)
    for g, w in itertools.product(range(len(groups)), range(case.value.shape[1])):
        own = there[:, w] & groups[g]
        if p.weight[own].sum() > 0:
            out[g, w] = np.average(case.value[own, w], weights=p.weight[own])
    return out


@given(SEEDS)
def test_estimates_equal_the_formulas_written_out(seed: int) -> None:
    case = fleet_in_a_storm(seed, n_windows=2)
    found = case.estimate()
    for window in range(2):
        by_hand = naive(case, window)
        groups = [*range(case.population.n_regions), None]
        means = [by_hand.mean(r) for r in groups]
        errors = [by_hand.stderr(r) for r in groups]
        np.testing.assert_allclose(found.means[0][:, window], means, rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.stderr[:, window], errors, rtol=1e-9, atol=1e-9)


@given(SEEDS)
def test_where_every_site_is_read_the_means_are_those_of_the_fleet(seed: int) -> None:
    case = fleet_in_a_storm(seed, share_critical=1.0)
    case = case.take(case.panel.is_read)  # late sites are not
    found = case.estimate()
    np.testing.assert_allclose(found.means[0], whole_fleet_means(case), rtol=0, atol=1e-12)
    assert (found.stderr == 0).all()


@given(SEEDS)
def test_bits_do_not_depend_on_how_many_windows_are_evaluated_at_once(seed: int) -> None:
    case = fleet_in_a_storm(seed, n_windows=9)
    whole = case.estimate()
    for part in (slice(0, 1), slice(1, 4), slice(4, 9)):
        own = case.take(slice(None), part).estimate()
        assert own.means[0].tobytes() == whole.means[0][:, part].tobytes()
        assert own.stderr.tobytes() == whole.stderr[:, part].tobytes()


@given(SEEDS, SEEDS)
def test_bits_do_not_depend_on_the_order_of_sites(seed: int, shuffle: int) -> None:
    case = fleet_in_a_storm(seed)
    order = np.random.default_rng(shuffle).permutation(case.population.weight.size)
    a, b = case.estimate(), case.take(order).estimate()
    assert a.means[0].tobytes() == b.means[0].tobytes()
    assert a.stderr.tobytes() == b.stderr.tobytes()


@given(SEEDS)
def test_bits_do_not_depend_on_regions_that_have_no_site(seed: int) -> None:
    case = fleet_in_a_storm(seed)
    n = case.population.n_regions
    more = replace(case, population=replace(case.population, n_regions=n + 2)).estimate()
    own = case.estimate()
    keep = [*range(n), n + 2]
    assert more.means[0][keep].tobytes() == own.means[0].tobytes()
    assert more.stderr[keep].tobytes() == own.stderr.tobytes()


@given(SEEDS)
def test_values_of_sites_that_are_not_read_are_not_looked_at(seed: int) -> None:
    case = fleet_in_a_storm(seed)
    a, b = storm_means([case.value], case.population, case.panel), case.estimate()
    assert a.means[0].tobytes() == b.means[0].tobytes()
    assert a.stderr.tobytes() == b.stderr.tobytes()


@given(SEEDS)
def test_adding_a_constant_to_every_value_adds_it_to_every_mean(seed: int) -> None:
    case = fleet_in_a_storm(seed)
    moved = replace(case, value=case.value + 0.25)
    a, b = case.estimate(), moved.estimate()
    np.testing.assert_allclose(b.means[0], a.means[0] + 0.25, rtol=0, atol=1e-9)
    np.testing.assert_allclose(b.stderr, a.stderr, rtol=1e-6, atol=1e-9)


def simple(
    sizes: tuple[int, ...],
    n_read: int,
    *,
    statuses: NDArray[np.int8] | None = None,
    value: Grid | None = None,
) -> Case:
    """Return regions of the given sizes, each a stratum of its own, of which the first few sites are read."""
    region = np.repeat(np.arange(len(sizes)), sizes)
    place = np.concatenate([np.arange(size) for size in sizes])
    n = region.size
    panel = Panel(
        stratum=region,
        is_certain=np.zeros(n, dtype=np.bool_),
        is_read=place < n_read,
        is_own_region=np.array([True] * len(sizes) + [False]),
    )
    population = Population(
        weight=np.ones(n),
        region=region,
        n_regions=len(sizes),
        status=np.zeros((n, 1), np.int8) if statuses is None else statuses[:, None],
        is_fresh=np.ones((n, 1), dtype=np.bool_),
    )
    shown = np.linspace(0.1, 0.5, n) if value is None else value
    return Case(shown[:, None], population, panel)


def every_sample(case: Case, n_read: int) -> list[StormMeans]:
    """Return the estimates from every panel that could have been drawn."""
    strata = [np.flatnonzero(case.panel.stratum == s) for s in range(case.population.n_regions)]
    found = []
    for chosen in itertools.product(*(itertools.combinations(m.tolist(), n_read) for m in strata)):
        is_read = np.isin(np.arange(case.value.size), np.concatenate(chosen))
        found.append(replace(case, panel=replace(case.panel, is_read=is_read)).estimate())
    return found


def test_over_every_possible_sample_the_mean_is_right_on_average() -> None:
    case = simple((6, 5), 2, value=np.random.default_rng(7).uniform(0, 0.5, 11))
    means = np.array([m.means[0][:, 0] for m in every_sample(case, 2)])
    assert len(means) == math.comb(6, 2) * math.comb(5, 2)
    # Status tells nothing apart here, so each region's estimate is the mean of its sample plus nothing.
    np.testing.assert_allclose(means.mean(axis=0), whole_fleet_means(case)[:, 0], atol=1e-12)


def test_over_every_possible_sample_the_squared_standard_error_is_right_on_average() -> None:
    case = simple((7, 7), 3, value=np.random.default_rng(8).uniform(0, 0.5, 14))
    found = every_sample(case, 3)
    means = np.array([m.means[0][-1, 0] for m in found])
    errors = np.array([m.stderr[-1, 0] for m in found])
    # Four degrees of freedom: t(0.975) = 2.776445 where the normal distribution has 1.959964.
    assert (errors**2).mean() / (2.776445 / 1.959964) ** 2 == pytest.approx(means.var(), rel=1e-5)


def test_status_takes_out_what_the_panels_share_of_bad_sites_gets_wrong() -> None:
    statuses = np.array([0, 2] * 50, dtype=np.int8)
    value = np.where(statuses == 0, 0.5, 0.1)
    panel_of_bad_luck = simple((100,), 20, statuses=statuses, value=value)
    order = np.argsort(statuses, kind="stable")
    order = np.concatenate([order[:15], order[-5:], order[15:-5]])  # reads 15 good and 5 bad
    case = panel_of_bad_luck.take(order)
    case = replace(case, panel=replace(case.panel, is_read=np.arange(100) < 20))
    found = case.estimate()
    assert found.means[0][-1, 0] == pytest.approx(0.3)  # as it is in all 100, not 0.4
    assert found.stderr[-1, 0] == pytest.approx(0.0, abs=1e-12)


def test_a_rare_status_shares_its_mean_with_the_next_better_one() -> None:
    statuses = np.array([0] * 60 + [2] * 3, dtype=np.int8)
    case = simple((63,), 30, statuses=statuses, value=np.full(63, 0.4))
    # None of the three is read: 1.4 of them were to be expected in the panel, so they count as the others.
    assert case.estimate().means[0][-1, 0] == pytest.approx(0.4)


def test_a_status_nobody_of_which_was_drawn_counts_as_the_mean_of_all_drawn() -> None:
    statuses = np.array([0] * 20 + [1] * 40, dtype=np.int8)
    value = np.where(statuses == 0, 0.5, 0.1)
    case = simple((60,), 20, statuses=statuses, value=value)  # expected: 13 degraded, drawn: none
    assert case.estimate().means[0][-1, 0] == pytest.approx(0.5)


def test_a_region_with_fewer_than_five_sites_read_has_no_standard_error() -> None:
    four, five = simple((40, 40), 4).estimate(), simple((40, 40), 5).estimate()
    assert np.isnan(four.stderr[:2]).all()
    assert (five.stderr[:2] > 0).all()
    assert four.stderr[2, 0] > 0
    assert not np.isnan(four.means[0]).any()


def test_a_small_region_whose_read_sites_are_equal_is_still_not_known() -> None:
    found = simple((40, 40), 2, value=np.full(80, 0.5)).estimate()
    assert np.isnan(found.stderr[:2]).all()


def test_a_region_of_pooled_sites_has_no_standard_error() -> None:
    case = simple((40, 40), 6)
    pooled = replace(case.panel, is_own_region=np.array([True, False, False]))
    found = replace(case, panel=pooled).estimate()
    assert found.stderr[0, 0] > 0
    assert np.isnan(found.stderr[1, 0])


def test_a_region_of_sites_that_came_after_the_draw_has_a_mean_but_no_standard_error() -> None:
    case = simple((40, 3), 8)
    is_late = case.population.region == 1
    panel = replace(
        case.panel,
        stratum=np.where(is_late, -1, 0),
        is_read=case.panel.is_read & ~is_late,
        is_own_region=np.array([True, False]),
    )
    found = replace(case, panel=panel).estimate()
    assert found.means[0][1, 0] == pytest.approx(case.value[:8].mean())
    assert np.isnan(found.stderr[1, 0])
    assert found.stderr[2, 0] > found.stderr[0, 0] * 0.9


def test_where_nobody_drawn_is_fresh_nothing_is_known() -> None:
    case = simple((40,), 4)
    is_fresh = ~case.panel.is_read[:, None]
    found = replace(case, population=replace(case.population, is_fresh=is_fresh)).estimate()
    assert np.isnan(found.means[0]).all()
    assert np.isnan(found.stderr).all()


def test_where_nobody_is_fresh_there_is_no_mean_and_nothing_left_to_err_about() -> None:
    case = simple((40,), 4)
    is_fresh = np.zeros((40, 1), dtype=np.bool_)
    found = replace(case, population=replace(case.population, is_fresh=is_fresh)).estimate()
    assert np.isnan(found.means[0]).all()
    assert (found.stderr == 0).all()


def test_one_drawn_of_each_stratum_gives_means_but_no_standard_error() -> None:
    found = simple((30, 30), 1).estimate()
    assert not np.isnan(found.means[0]).any()
    assert np.isnan(found.stderr).all()


def test_a_stratum_with_one_drawn_is_taken_to_vary_like_the_others() -> None:
    case = simple((30, 30), 6)
    lone = case.panel.is_read & (np.arange(60) <= 30)
    found = replace(case, panel=replace(case.panel, is_read=lone)).estimate()
    even = case.estimate()
    assert found.stderr[-1, 0] > even.stderr[-1, 0]


def test_a_value_that_no_site_read_has_has_no_mean() -> None:
    case = simple((40,), 5)
    value = np.where(case.panel.is_read[:, None], np.nan, case.value)
    found = replace(case, value=value).estimate()
    assert np.isnan(found.means[0]).all()
    assert np.isnan(found.stderr).all()


def test_what_is_left_of_rounding_is_no_mean() -> None:
    # In the second window the sites read of one region lack the value, and no other site makes up for it.
    case = fleet_in_a_storm(1332068)
    by_hand = naive(case, 1)
    assert 0 < by_hand.total(1, present=True) < 1e-15
    assert np.isnan(case.estimate().means[0][1, 1])


def test_a_fleet_without_sites_and_a_span_without_windows_have_no_estimates() -> None:
    case = simple((40,), 5)
    nobody = case.take(slice(0, 0)).estimate()
    assert np.isnan(nobody.means[0]).all()
    never = case.take(slice(None), slice(0, 0)).estimate()
    assert never.means[0].shape == never.stderr.shape == (2, 0)


def test_several_values_are_estimated_as_if_each_came_alone() -> None:
    case = fleet_in_a_storm(3)
    other = np.where(case.panel.is_read[:, None], 7.0 * case.value**2, np.nan)
    both = storm_means([case.seen, other], case.population, case.panel)
    alone = storm_means([other], case.population, case.panel)
    assert both.means[1].tobytes() == alone.means[0].tobytes()
    assert both.stderr.tobytes() == case.estimate().stderr.tobytes()
