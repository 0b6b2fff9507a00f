import numpy as np
import pytest
from scipy.stats import genpareto

from fleet_dagster.core.tail import tail_level, tail_start


def ratios(shape: float, scale: float, n: int, seed: int) -> np.ndarray:
    """Return errors of which 5 % lie above 1, with a generalised Pareto tail."""
    rng = np.random.default_rng(seed)
    body = rng.uniform(0.3, 1.0, n - n // 20)
    return np.concatenate(
        [body, 1.0 + genpareto.rvs(shape, scale=scale, size=n // 20, random_state=rng)]
    )


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.2])
def test_the_level_is_the_quantile_of_the_tail(shape: float) -> None:
    true = 1.0 + genpareto.ppf(1.0 - 1e-4 / 0.05, shape, scale=0.2)
    found = [tail_level(ratios(shape, 0.2, 100_000, seed), 1e-4, 10**9) for seed in range(8)]
    assert np.mean(found) == pytest.approx(true, rel=0.05)


def test_the_fit_agrees_with_maximum_likelihood() -> None:
    drawn = ratios(0.1, 0.3, 200_000, 1)
    shape, _, scale = genpareto.fit(drawn[drawn > 1] - 1.0, floc=0)
    expected = 1.0 + genpareto.ppf(1.0 - 1e-5 / 0.05, shape, scale=scale)
    assert tail_level(drawn, 1e-5, 10**9) == pytest.approx(expected, rel=0.05)


def test_more_than_the_tail_holds_is_a_plain_quantile_of_at_least_one() -> None:
    drawn = ratios(0.0, 0.2, 10_000, 2)
    assert tail_level(drawn, 0.2, 10**9) == 1.0
    few = np.concatenate([np.linspace(0.1, 1.0, 95), [1.5, 1.6, 1.7, 1.8, 2.0]])
    assert tail_level(few, 0.001, 10**9) == pytest.approx(np.quantile(few, 0.999))


def test_degenerate_errors_have_defined_levels() -> None:
    assert np.isnan(tail_level(np.array([np.nan, np.nan]), 0.01, 1))
    assert np.isnan(tail_start(np.array([np.nan])))
    assert tail_level(np.ones(100), 0.001, 10**9) == 1.0
    equal = np.concatenate([np.full(900, 0.5), np.full(100, 2.0)])
    assert 2.0 <= tail_level(equal, 1e-4, 10**9) <= 4.0


def test_absent_errors_and_their_order_do_not_matter() -> None:
    drawn = ratios(0.1, 0.2, 5_000, 3)
    shuffled = np.random.default_rng(4).permutation(np.append(drawn, [np.nan] * 50))
    assert tail_level(shuffled, 1e-4, 10**9) == tail_level(drawn, 1e-4, 10**9)
    assert tail_start(shuffled) == tail_start(drawn)
