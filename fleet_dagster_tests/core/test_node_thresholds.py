import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.core.node_thresholds import MIN_LOG_MAD, judge, slowness
from fleet_dagster.core.windows import SECOND
from fleet_dagster.model.streamsight import NodeThresholds
from fleet_dagster_tests.node_reports import node_report

DEFAULT = NodeThresholds()
STEADY = np.full(12, 0.5)
SPREAD = np.array([0.25, 0.5, 1.0, 2.0, 4.0] * 5)
"""Logarithms ln 2 apart around that of 1 s: their MAD is ln 2."""


def test_a_node_with_fewer_than_twelve_reports_has_no_score() -> None:
    assert slowness(np.full(11, 0.5), 50.0) is None
    assert slowness(np.empty(0), 50.0) is None


def test_the_score_is_the_modified_z_of_the_logarithm() -> None:
    assert slowness(SPREAD, 8.0) == pytest.approx(0.6745 * 3 * np.log(2) / np.log(2))
    assert slowness(SPREAD, 1.0) == pytest.approx(0.0)
    assert slowness(SPREAD, 0.5) == pytest.approx(-0.6745)


def test_a_past_that_never_changed_has_a_spread_so_that_twice_as_slow_scores_five() -> None:
    assert slowness(STEADY, 1.0) == pytest.approx(5.0)
    assert slowness(STEADY, 0.5) == pytest.approx(0.0)
    assert pytest.approx(0.6745 * np.log(2) / 5) == MIN_LOG_MAD


def test_durations_of_nothing_score_nothing() -> None:
    assert slowness(np.zeros(20), 0.0) == pytest.approx(0.0)


@given(st.lists(st.floats(1e-3, 1e3), min_size=12, max_size=40), st.floats(1e-3, 1e3))
def test_the_score_does_not_depend_on_the_speed_of_the_machine(
    past: list[float], latest: float
) -> None:
    one, other = slowness(np.array(past), latest), slowness(np.array(past) * 7.0, latest * 7.0)
    assert one == pytest.approx(other, abs=1e-6)


@given(st.lists(st.floats(1e-3, 1e3), min_size=12, max_size=40), st.floats(1e-3, 1e3))
def test_twice_as_slow_as_usual_is_never_a_warning_alone(past: list[float], latest: float) -> None:
    usual = float(np.exp(np.median(np.log(past))))
    score = slowness(np.array(past), min(latest, 2 * usual))
    assert score is not None
    assert score <= 5.0 + 1e-9


def test_four_times_as_slow_is_a_warning_that_says_so() -> None:
    (words,) = judge(node_report(2.0), STEADY, DEFAULT).breaches
    assert words == "took 2 s a window, usual are 500 ms (anomaly score 10.0, threshold 5)"


def test_a_node_that_is_quicker_than_usual_is_no_warning() -> None:
    found = judge(node_report(0.01), STEADY, DEFAULT)
    assert found.anomaly_score is not None
    assert found.anomaly_score < -5
    assert not found.breaches


def test_less_than_a_second_more_than_usual_is_no_warning_however_high_the_score() -> None:
    found = judge(node_report(0.5, windows=1), np.full(30, 0.001), DEFAULT)
    assert found.anomaly_score is not None
    assert found.anomaly_score > 40
    assert not found.breaches


def test_each_limit_is_broken_only_beyond_it() -> None:
    limits = NodeThresholds(max_lag_s=120, max_window_duration_s=0.5, max_quarantined_pct=5)
    at_the_limit = node_report(0.5, rows_in=40, quarantined=2, lag_us=120 * SECOND)
    assert not judge(at_the_limit, np.empty(0), limits).breaches
    beyond = node_report(0.6, rows_in=39, quarantined=2, lag_us=121 * SECOND)
    assert judge(beyond, np.empty(0), limits).breaches == (
        "took 0.6 s a window (max_window_duration_s 0.5)",
        "its newest window ended 121 s ago (max_lag_s 120)",
        "5.1 % of 39 snapshots could not be used (max_quarantined_pct 5)",
    )


def test_a_report_without_windows_rows_or_lag_is_judged_too() -> None:
    empty = node_report(windows=0, rows_in=0, quarantined=0, lag_us=None)
    assert not judge(empty, np.empty(0), NodeThresholds(max_lag_s=1)).breaches
