import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fleet_dagster.core.exact import exact_sum, power_of_two_above
from fleet_dagster.core.rollup import NO_SITE, GroupSums, counts_by_group, group_sums, lowest

N_GROUPS, N_WINDOWS = 3, 4


Case = tuple[list[NDArray[np.float64]], NDArray[np.float64], NDArray[np.int64]]


@st.composite
def sites(draw: st.DrawFn) -> Case:
    """Two values with holes, weights in [0, 1] with zeros, and groups of which -1 is none."""
    n = draw(st.integers(1, 12))
    reading = st.one_of(st.just(np.nan), st.floats(-4096, 4096), st.floats(0, 1))
    values = [draw(hnp.arrays(np.float64, (n, N_WINDOWS), elements=reading)) for _ in range(2)]
    weight = st.one_of(st.just(0.0), st.floats(1e-6, 1))
    weights = draw(hnp.arrays(np.float64, n, elements=weight))
    groups = draw(hnp.arrays(np.int64, n, elements=st.integers(-1, N_GROUPS - 1)))
    return values, weights, groups


def take(case: Case, chosen: NDArray[np.int64]) -> GroupSums:
    values, weights, groups = case
    return group_sums([v[chosen] for v in values], weights[chosen], groups[chosen], N_GROUPS)


def assert_same_bits(a: GroupSums, b: GroupSums) -> None:
    for x, y in zip([*a.means(), *a.weights()], [*b.means(), *b.weights()], strict=True):
        assert x.tobytes() == y.tobytes()


@given(sites(), st.randoms(use_true_random=False))
def test_means_keep_every_bit_in_any_order_of_sites(case: Case, rng: random.Random) -> None:
    n = case[1].size
    order = np.array(rng.sample(range(n), n), dtype=np.int64)
    assert_same_bits(group_sums(*case, N_GROUPS), take(case, order))


@given(sites(), st.data())
def test_means_keep_every_bit_in_any_split_of_sites(case: Case, data: st.DataObject) -> None:
    n = case[1].size
    part = data.draw(hnp.arrays(np.int64, n, elements=st.integers(0, 2)))
    a, b, c = (take(case, np.flatnonzero(part == p)) for p in range(3))
    assert_same_bits(group_sums(*case, N_GROUPS), a + b + c)
    assert_same_bits(group_sums(*case, N_GROUPS), c + (a + b))


@given(sites())
def test_the_whole_is_all_groups_as_one(case: Case) -> None:
    values, weights, groups = case
    one = np.where(groups >= 0, 0, -1)
    assert_same_bits(group_sums(*case, N_GROUPS).whole(), group_sums(values, weights, one, 1))


@given(sites(), st.integers(-8, 0))
def test_weights_scaled_by_a_power_of_two_change_no_bit(case: Case, exponent: int) -> None:
    values, weights, groups = case
    # Whole multiples of 2**-10, so that their products stay on the grid of the exact sums.
    values = [np.rint(v) for v in values]
    weights = np.ceil(weights * 2**10) / 2**10
    before = group_sums(values, weights, groups, N_GROUPS).means()
    after = group_sums(values, weights * 2.0**exponent, groups, N_GROUPS).means()
    for a, b in zip(before, after, strict=True):
        assert a.tobytes() == b.tobytes()


@given(sites(), st.floats(1e-3, 1))
def test_weights_in_another_unit_change_means_by_less_than_a_trillionth(
    case: Case, factor: float
) -> None:
    values, weights, groups = case
    unit = [v / 4096 for v in values]
    weights = np.where(weights > 0, np.maximum(weights, 0.01), 0)
    before = group_sums(unit, weights, groups, N_GROUPS).means()
    after = group_sums(unit, weights * factor, groups, N_GROUPS).means()
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


@given(sites())
def test_means_equal_a_plain_weighted_average(case: Case) -> None:
    values, weights, groups = case
    means = group_sums(*case, N_GROUPS).means()
    for value, mean in zip(values, means, strict=True):
        for g in range(N_GROUPS):
            for w in range(N_WINDOWS):
                there = (groups == g) & ~np.isnan(value[:, w]) & (weights > 0)
                if there.any():
                    plain = np.average(value[there, w], weights=weights[there])
                    assert mean[g, w] == pytest.approx(plain, abs=1e-9, rel=1e-9)
                else:
                    assert np.isnan(mean[g, w])


def test_a_mean_lies_within_its_values() -> None:
    values = np.array([[0.1], [0.1], [0.1]])
    sums = group_sums([values], np.array([1.0, 0.3, 0.7]), np.zeros(3, dtype=np.int64), 1)
    assert sums.means()[0][0, 0] == pytest.approx(0.1, abs=1e-15)


def test_sites_of_weight_zero_do_not_move_a_mean() -> None:
    values = np.array([[0.5], [100.0]])
    sums = group_sums([values], np.array([1.0, 0.0]), np.zeros(2, dtype=np.int64), 1)
    assert sums.means()[0].tolist() == [[0.5]]


def test_a_group_without_weight_has_no_mean() -> None:
    sums = group_sums([np.ones((1, 2))], np.zeros(1), np.zeros(1, dtype=np.int64), 2)
    assert np.isnan(sums.means()[0]).all()


def test_no_site_at_all_gives_empty_groups() -> None:
    none = np.empty(0, dtype=np.int64)
    sums = group_sums([np.empty((0, 3))], np.empty(0), none, 2)
    assert np.isnan(sums.means()[0]).all()
    assert sums.weights()[0].tolist() == [[0.0] * 3] * 2


def test_an_exact_sum_survives_cancellation() -> None:
    terms = np.array([4e6, 1e-9, -4e6, 1e-9])
    total = exact_sum(terms, np.zeros(4, dtype=np.int64), 1).value[0]
    assert total == pytest.approx(2e-9, rel=1e-6)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_exact_sum_keeps_every_bit_over_terms_of_all_magnitudes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    terms = rng.uniform(-4096, 4096, 1000) * 10.0 ** -rng.integers(0, 14, 1000)
    groups = np.zeros(1000, dtype=np.int64)
    first = exact_sum(terms, groups, 1)
    for _ in range(20):
        again = exact_sum(rng.permutation(terms), groups, 1)
        assert (again.upper[0], again.lower[0]) == (first.upper[0], first.lower[0])
    assert first.value[0] == pytest.approx(math.fsum(terms), rel=1e-13, abs=1e-13)


@given(st.floats(1e-300, 1e300))
def test_the_power_of_two_is_the_next_one_up(largest: float) -> None:
    power = power_of_two_above(largest)
    assert power / 2 < largest <= power
    assert np.frexp(power)[0] == 0.5


def test_nothing_is_scaled_by_one() -> None:
    assert power_of_two_above(0.0) == 1.0


def test_counts_leave_out_sites_of_no_group() -> None:
    chosen = np.array([[True, False], [True, True], [True, True]])
    groups = np.array([0, 0, -1])
    assert counts_by_group(chosen, groups, 2).tolist() == [[2, 1], [0, 0]]


def test_the_lowest_score_names_the_first_of_equal_sites() -> None:
    scores = np.array([[0.9, np.nan], [0.5 + 1e-12, np.nan], [0.5, 0.7], [0.1, 0.1]])
    score, site = lowest(scores, np.array([0, 0, 0, 1]), 3)
    assert score[0, 1] == 0.7
    assert site.tolist() == [[1, 2], [3, 3], [NO_SITE, NO_SITE]]
    assert np.isnan(score[2]).all()
