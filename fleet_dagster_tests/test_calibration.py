"""How calibration is learnt and measured, by hand."""

import math

import pytest

from benchmarks.root_cause.calibrate import N_BINS, calibration_error, learnt, least_error
from benchmarks.root_cause.outcomes import Told
from fleet_dagster.core.confidence import Evidence

CLOSED = Evidence(1, 2.0, math.nan, 30, is_over=True)


def told(confidence: float, n_right: int, n: int) -> list[Told]:
    """Return rows of one confidence, some of which are right."""
    return [Told(CLOSED, confidence, i < n_right, "closed", is_last=True) for i in range(n)]


def test_the_error_is_the_mean_distance_of_confidence_and_share_over_bins_of_equal_size() -> None:
    exact = [row for _ in range(N_BINS) for row in told(0.75, 3, 4)]
    assert calibration_error(exact) == pytest.approx(0.0)
    off = [*told(0.2, 0, 4), *told(0.4, 2, 4), *told(0.6, 3, 4), *told(0.8, 4, 4), *told(1.0, 4, 4)]
    assert calibration_error(off) == pytest.approx((0.2 + 0.1 + 0.15 + 0.2 + 0.0) / 5)


def test_exact_confidences_show_an_error_by_chance_unless_they_are_certain() -> None:
    assert least_error(told(1.0, 20, 20)) == 0.0
    assert 0.1 < least_error(told(0.5, 10, 20)) < 0.3
    assert least_error(told(0.5, 1000, 2000)) < 0.03


def test_the_intercept_that_is_learnt_gives_the_share_that_is_right() -> None:
    weights = learnt(told(0.5, 60, 80), ("intercept",))
    assert weights["intercept"] == pytest.approx(math.log(3), abs=0.005)
