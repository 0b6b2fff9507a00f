"""The tail of a sum of unequal coins, against every outcome and against the binomial."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from fleet_dagster.core.poisson_binomial import onset_probabilities, poisson_binomial_tail


def test_the_tail_is_the_sum_over_all_outcomes() -> None:
    p = np.array([0.1, 0.7, 0.35, 0.02, 0.9])
    for k in range(-1, 8):
        expected = sum(
            float(np.prod(np.where(outcome, p, 1 - p)))
            for outcome in itertools.product((True, False), repeat=p.size)
            if sum(outcome) >= k
        )
        assert poisson_binomial_tail(p, k) == pytest.approx(expected, abs=1e-15)


def test_equal_probabilities_make_a_binomial_however_small_the_tail() -> None:
    p = np.full(200, 1e-3)
    for k in (1, 2, 5, 12, 200):
        assert poisson_binomial_tail(p, k) == pytest.approx(binom.sf(k - 1, 200, 1e-3), rel=1e-9)


def test_the_order_of_the_sites_does_not_matter() -> None:
    p = np.random.default_rng(3).random(50) / 20
    assert poisson_binomial_tail(p, 4) == poisson_binomial_tail(p[::-1], 4)


def test_of_no_sites_none_alarms() -> None:
    assert poisson_binomial_tail(np.zeros(0), 1) == 0.0
    assert poisson_binomial_tail(np.zeros(0), 0) == 1.0


def test_an_alarm_a_day_rarely_begins_within_ten_minutes() -> None:
    (p,) = onset_probabilities(np.array([1 / 24]), 10 / 60)
    assert p == pytest.approx(1 - np.exp(-1 / 144))
