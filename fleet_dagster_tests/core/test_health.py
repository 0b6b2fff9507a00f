import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.core.health import (
    BANDS,
    band_of,
    compute_health_score,
    goodness,
    goodness_of_kpi,
    health_parts,
)
from fleet_dagster.model.config import Kpi
from fleet_dagster.model.errors import ShapeError
from fleet_dagster.model.profiles import HealthWeights, default_weights_energy

TWO = HealthWeights(weights=(0.5, 0.5), uptime_weight=0.3, fault_weight=0.2)
LOPSIDED = HealthWeights(weights=(3 / 4, 1 / 4, 0.0), uptime_weight=0.25, fault_weight=0.25)
NAN = math.nan


def test_a_site_with_everything_present_scores_the_weighted_sum() -> None:
    expected = 0.5 * (1 + 0.5) / 2 + 0.3 * 0.9 + 0.2 * 1
    assert compute_health_score([1.0, 0.5], TWO, 90.0, 0) == pytest.approx(expected, abs=1e-15)


def test_five_faults_leave_one_eth_of_the_fault_share() -> None:
    expected = 0.5 + 0.3 + 0.2 / math.e
    assert compute_health_score([1.0, 1.0], TWO, 100.0, 5) == pytest.approx(expected, abs=1e-15)


def test_kpi_weights_count_in_proportion() -> None:
    expected = 0.5 * (3 / 4 * 0.4 + 1 / 4 * 0.8) + 0.25 + 0.25
    score = compute_health_score([0.4, 0.8, 0.1], LOPSIDED, 100, 0)
    assert score == pytest.approx(expected, abs=1e-15)


def test_fewer_kpis_than_weights_use_the_leading_weights() -> None:
    # energy: 0.20 and 0.15 lead; 0.5 * (0.2 * 1 + 0.15 * 0) / 0.35 + 0.3 + 0.2
    score = compute_health_score([1.0, 0.0], default_weights_energy(), 100, 0)
    assert score == pytest.approx(0.5 * 0.2 / 0.35 + 0.5, abs=1e-15)


def test_arrays_of_sites_and_windows_score_element_by_element() -> None:
    rng = np.random.default_rng(1)
    values = rng.random((4, 5, 2))
    uptime, faults = rng.uniform(0, 100, (4, 5)), rng.integers(0, 9, (4, 5))
    whole = compute_health_score(values, TWO, uptime, faults)
    single = [
        compute_health_score(values[i, j], TWO, uptime[i, j], faults[i, j])
        for i in range(4)
        for j in range(5)
    ]
    assert whole.shape == (4, 5)
    assert np.array_equal(whole.ravel(), np.array(single))


def test_uptime_and_faults_broadcast_over_sites() -> None:
    scores = compute_health_score(np.ones((3, 2)), TWO, 50.0, [0, 5, 10])
    expected = [0.5 + 0.15 + 0.2 * math.exp(-f / 5) for f in (0, 5, 10)]
    assert scores == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("values", "uptime", "faults", "expected"),
    [
        ([1.0, NAN], 90.0, 0, 0.5 * 1.0 + 0.27 + 0.2),
        ([NAN, 0.2], 90.0, 0, 0.5 * 0.2 + 0.27 + 0.2),
        ([NAN, NAN], 90.0, 0, (0.27 + 0.2) / 0.5),
        ([1.0, 0.5], NAN, 0, (0.5 * 0.75 + 0.2) / 0.7),
        ([1.0, 0.5], 90.0, NAN, (0.5 * 0.75 + 0.27) / 0.8),
        ([NAN, NAN], NAN, 5, math.exp(-1)),
        ([NAN, NAN], 40.0, NAN, 0.4),
        ([0.25, 0.75], NAN, NAN, 0.5),
    ],
)
def test_what_is_missing_renormalises_the_rest(
    values: list[float], uptime: float, faults: float, expected: float
) -> None:
    assert compute_health_score(values, TWO, uptime, faults) == pytest.approx(expected, abs=1e-15)


def test_a_kpi_of_weight_zero_alone_counts_as_no_kpi() -> None:
    assert compute_health_score([NAN, NAN, 0.9], LOPSIDED, 60.0, 0) == pytest.approx(0.8, abs=1e-15)


def test_a_site_of_which_nothing_is_known_has_no_score() -> None:
    assert math.isnan(compute_health_score([NAN, NAN], TWO, NAN, NAN))


def test_uptime_and_faults_beyond_their_range_count_as_its_ends() -> None:
    assert health_parts(np.ones(2), TWO, 150.0, -3).uptime == 0.3
    assert health_parts(np.ones(2), TWO, -20.0, -3).uptime == 0.0
    assert health_parts(np.ones(2), TWO, 150.0, -3).fault == 0.2


def test_a_scalar_has_no_kpi_axis() -> None:
    with pytest.raises(ShapeError, match="kpi_values"):
        compute_health_score(0.5, TWO, 100, 0)


def test_more_kpis_than_weights_are_refused() -> None:
    with pytest.raises(ShapeError, match="at most 2 KPIs"):
        compute_health_score([0.5, 0.5, 0.5], TWO, 100, 0)


parts_of_one = st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda p: sum(p) <= 1)
maybe = st.one_of(st.just(NAN), st.floats(-1e6, 1e6))


@given(parts_of_one, st.lists(maybe, min_size=1, max_size=16), maybe, maybe)
def test_health_and_its_parts_stay_within_bounds_and_add_up(
    shares: tuple[float, float], values: list[float], uptime: float, faults: float
) -> None:
    weights = HealthWeights(
        weights=(0.1,) * len(values), uptime_weight=shares[0], fault_weight=shares[1]
    )
    parts = health_parts(np.array(values), weights, uptime, faults)
    each = np.array([parts.kpi, parts.uptime, parts.fault])
    if np.isnan(parts.score):
        assert np.isnan(each).all()
        return
    assert ((each >= 0) & (each <= 1 + 1e-12)).all()
    assert 0 <= parts.score <= 1
    assert parts.score == pytest.approx(each.sum(), abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2), st.integers(0, 1))
def test_a_better_kpi_never_lowers_health(values: list[float], which: int) -> None:
    better = list(values)
    better[which] = min(1.0, better[which] + 0.1)
    assert compute_health_score(better, TWO, 80, 1) >= compute_health_score(values, TWO, 80, 1)


def test_higher_is_better_clips_to_the_range() -> None:
    kpi = Kpi(name="power", direction="higher")
    found = goodness_of_kpi(np.array([-1.0, 0.0, 0.25, 1.0, 3.0, NAN]), kpi)
    assert found == pytest.approx([0, 0, 0.25, 1, 1, NAN], nan_ok=True)


def test_lower_is_better_mirrors_it() -> None:
    kpi = Kpi(name="vibration", direction="lower")
    found = goodness_of_kpi(np.array([-1.0, 0.0, 0.25, 1.0, 3.0, NAN]), kpi)
    assert found == pytest.approx([1, 1, 0.75, 0, 0, NAN], nan_ok=True)


def test_a_band_is_a_trapezoid_around_its_target() -> None:
    kpi = Kpi(name="t", lo=0, hi=100, direction="band", target_lo=40, target_hi=60)
    u = np.array([-0.1, 0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0, 1.1, NAN])
    expected = [0, 0, 0.5, 1, 1, 1, 0.5, 0, 0, NAN]
    assert goodness_of_kpi(u, kpi) == pytest.approx(expected, nan_ok=True)


def test_a_band_touching_lo_has_no_slope_there() -> None:
    kpi = Kpi(name="t", lo=10, hi=20, direction="band", target_lo=10, target_hi=15)
    u = np.array([-1e-9, 0.0, 0.25, 0.5, 0.75, 1.0])
    assert goodness_of_kpi(u, kpi) == pytest.approx([0, 1, 1, 1, 0.5, 0])


def test_a_band_touching_hi_has_no_slope_there() -> None:
    kpi = Kpi(name="t", lo=10, hi=20, direction="band", target_lo=15, target_hi=20)
    u = np.array([0.0, 0.25, 0.5, 1.0, 1.0 + 1e-9])
    assert goodness_of_kpi(u, kpi) == pytest.approx([0, 0.5, 1, 1, 0])


def test_a_band_of_the_whole_range_is_all_or_nothing() -> None:
    kpi = Kpi(name="t", lo=10, hi=20, direction="band", target_lo=10, target_hi=20)
    u = np.array([-0.01, 0.0, 0.5, 1.0, 1.01])
    assert goodness_of_kpi(u, kpi) == pytest.approx([0, 1, 1, 1, 0])


def test_a_point_target_is_a_triangle() -> None:
    kpi = Kpi(name="t", lo=0, hi=10, direction="band", target_lo=5, target_hi=5)
    assert goodness_of_kpi(np.array([0.25, 0.5, 0.75]), kpi) == pytest.approx([0.5, 1, 0.5])


def test_goodness_takes_each_kpis_own_direction() -> None:
    kpis = (Kpi(name="a", direction="higher"), Kpi(name="b", direction="lower"))
    assert goodness(np.array([[0.2, 0.2]]), kpis).tolist() == [[0.2, 0.8]]


def test_goodness_of_another_number_of_kpis_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"expected \(\.\.\., 1\)"):
        goodness(np.zeros((4, 2)), (Kpi(name="a"),))


def test_bands_begin_at_their_limits_rounded_to_a_billionth() -> None:
    scores = np.array([1.0, 0.8, 0.8 - 1e-12, 0.799, 0.5, 0.4999, 0.0])
    names = [BANDS[i][1] for i in band_of(scores)]
    assert names == ["healthy"] * 3 + ["degraded"] * 2 + ["critical"] * 2
