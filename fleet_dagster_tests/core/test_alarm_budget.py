import numpy as np
import pytest
from scipy import stats

from fleet_dagster.core.alarm_budget import (
    LASTING_WINDOWS,
    AlarmRate,
    alarm_rate,
    is_estranged,
    is_restless,
    probability_within_budget,
)
from fleet_dagster.core.reconstruction import score_of
from fleet_dagster.core.stacking import smoothed
from fleet_dagster.core.tail import ALPHA, tail_level, tail_start

N_WINDOWS = 1440


def rate_of(score: np.ndarray, threshold: float = 0.5) -> AlarmRate:
    scores = score.astype(np.float32)
    return alarm_rate(scores, scores > threshold)


def flat(*spells: tuple[int, int, int], n_sites: int = 4, high: float = 0.7) -> np.ndarray:
    """Return scores of 0.2, but for spells of a site from a window to a window."""
    score = np.full((n_sites, 100), 0.2)
    for site, first, end in spells:
        score[site, first:end] = high
    return score


def test_brief_spells_of_any_site_count_once_per_window() -> None:
    rate = rate_of(flat((0, 10, 15), (1, 12, 20)))
    assert (rate.chance_share, rate.n_lasting, rate.typical_share) == (0.1, 0, 0.0)
    assert (rate.n_windows, rate.n_sites) == (100, 4)


def test_a_lasting_spell_takes_its_site_out() -> None:
    rate = rate_of(flat((0, 10, 11 + LASTING_WINDOWS), (0, 60, 62), (1, 80, 83)))
    assert (rate.chance_share, rate.n_lasting) == (0.03, 1)


@pytest.mark.parametrize("spell", [(0, 0, 5), (0, 95, 100)])
def test_a_spell_that_is_cut_off_is_not_judged(spell: tuple[int, int, int]) -> None:
    assert rate_of(flat(spell)).chance_share == 0


def test_a_spell_too_high_for_chance_has_a_cause() -> None:
    assert rate_of(flat((0, 10, 15), high=0.95)).chance_share == 0


def test_the_typical_site_of_two_is_the_quieter() -> None:
    rate = rate_of(flat((0, 0, 100), n_sites=2))
    assert rate.typical_share == 0
    assert not is_estranged(rate)


def test_sites_and_windows_without_a_score_do_not_count() -> None:
    score = flat((0, 20, 25))
    score[3], score[:, 50:] = np.nan, np.nan
    rate = rate_of(score)
    assert (rate.n_sites, rate.n_windows, rate.chance_share) == (3, 50, 0.1)


@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (0, 5), (3, 5)])
def test_nothing_scored_is_nothing_wrong(shape: tuple[int, int]) -> None:
    rate = rate_of(np.full(shape, np.nan))
    assert rate == AlarmRate(0, 0, 0.0, 0, 0.0)
    assert not is_restless(rate)
    assert not is_estranged(rate)


def test_whole_numbers_of_independent_windows_give_the_binomial_tail() -> None:
    for hits in (1, 2, 5, 100):
        expected = stats.binom.sf(hits - 1, 100, ALPHA)
        assert probability_within_budget(hits / 100, 1400) == pytest.approx(expected, rel=1e-9)
    assert probability_within_budget(0.0, 1400) == 1


def simulated(
    seed: int,
    *,
    n_sites: int = 20,
    n_windows: int = N_WINDOWS,
    drift: float = 0.0,
    spread: float = 1.0,
) -> np.ndarray:
    """Return scores of a fleet whose errors are those of smoothed noise; levels come from a quiet month of the same."""
    rng = np.random.default_rng(seed)

    def errors(n: int, scale: float) -> np.ndarray:
        noise = scale * rng.standard_normal((n_sites, n, 6), dtype=np.float32)
        return np.asarray(np.sqrt((smoothed(noise) ** 2).sum(axis=-1)), dtype=np.float64)

    normal = errors(5760, 1.0)
    start = np.array([tail_start(e) for e in normal])
    level = start * tail_level((normal / start[:, None]).ravel(), ALPHA / n_sites, 96)
    return np.asarray(score_of(errors(n_windows, spread) + drift, level[:, None]))


@pytest.mark.parametrize("seed", range(3))
def test_a_quiet_fleet_stays_within_its_budget(seed: int) -> None:
    rate = rate_of(simulated(seed))
    assert not is_restless(rate)
    assert not is_estranged(rate)


@pytest.mark.parametrize("seed", range(3))
def test_a_fleet_that_has_become_noisier_is_restless(seed: int) -> None:
    assert is_restless(rate_of(simulated(seed, spread=1.4)))


@pytest.mark.parametrize("seed", range(3))
def test_a_fleet_that_runs_at_another_level_is_estranged(seed: int) -> None:
    assert is_estranged(rate_of(simulated(seed, drift=3.0)))


@pytest.mark.parametrize("n_sites", [2, 20])
def test_a_real_lasting_fault_of_one_site_is_no_reason_to_warn(n_sites: int) -> None:
    score = simulated(9, n_sites=n_sites)
    score[0, 300:1100] = np.maximum(score[0, 300:1100], 0.55)
    score[1, 500:520] = 0.97
    rate = rate_of(score)
    assert rate.n_lasting == 1
    assert not is_restless(rate)
    assert not is_estranged(rate)


def test_an_hour_in_which_the_whole_fleet_is_out_is_no_reason_to_warn() -> None:
    score = simulated(3)
    score[:, 600:660] = 0.8
    rate = rate_of(score)
    assert not is_restless(rate)
    assert not is_estranged(rate)


def test_a_threshold_below_the_level_is_restless() -> None:
    assert is_restless(rate_of(simulated(4), threshold=0.4))
