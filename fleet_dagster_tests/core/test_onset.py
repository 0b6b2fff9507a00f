"""Where a deviation began, by hand and against a plain CUSUM."""

import numpy as np
import pytest

from fleet_dagster.core.onset import LEAST_REFERENCE, onset_of
from fleet_dagster.model.errors import ShapeError


def test_a_step_begins_in_its_first_window() -> None:
    quiet, high = [0.2, -0.5, 0.9, 0.1], [9.0, 8.0, 9.5, 8.5]
    back = onset_of(np.array([quiet + high]))
    assert back[0, 4:].tolist() == [0, 1, 2, 3]


def test_a_ramp_begins_where_it_leaves_half_its_present_size() -> None:
    ramp = np.array([[0.0, 0.0, 2.0, 4.0, 6.0, 8.0, 10.0]])
    assert onset_of(ramp)[0, -1] == 2  # half the median of 6, 8, 10 is 4: 6, 8 and 10 exceed it


def test_an_unremarkable_window_has_no_earlier_onset() -> None:
    assert not onset_of(np.zeros((3, 40))).any()


def test_windows_before_the_lookback_are_not_seen() -> None:
    lasting = np.full((1, 50), 6.0)
    assert onset_of(lasting, 30)[0, -1] == 29
    assert onset_of(lasting, 30)[0, 10] == 10


def test_a_missing_window_speaks_neither_for_nor_against() -> None:
    gap = np.array([[0.0, 0.0, 8.0, np.nan, 8.0, 8.0]])
    assert onset_of(gap)[0, -1] == 3
    assert not onset_of(np.full((2, 5), np.nan)).any()


def test_series_without_windows_have_no_onsets() -> None:
    assert onset_of(np.zeros((3, 0))).shape == (3, 0)


def test_a_series_alone_is_refused() -> None:
    with pytest.raises(ShapeError, match="n_series, n_windows"):
        onset_of(np.zeros(5))


def test_the_onset_of_a_window_does_not_depend_on_the_span() -> None:
    rng = np.random.default_rng(7)
    series = rng.standard_normal((6, 200)).cumsum(axis=1) / 4
    whole = onset_of(series, 20)
    for end in (40, 111, 200):
        part = onset_of(
            series[:, end - 22 : end], 20
        )  # two windows more tell the size 19 windows back
        assert part[:, -1].tolist() == whole[:, end - 1].tolist()


def test_it_agrees_with_a_cusum_that_is_run_from_window_to_window() -> None:
    rng = np.random.default_rng(11)
    for _ in range(200):
        start, size = int(rng.integers(5, 25)), rng.uniform(2, 12)
        series = np.concatenate([rng.standard_normal(start), size + rng.standard_normal(8)])
        reference = max(float(np.median(series[-3:])) / 2, LEAST_REFERENCE)
        expected = _last_left_zero(series - reference)
        assert onset_of(series[None])[0, -1] == expected


def _last_left_zero(excess: np.ndarray) -> int:
    """Return how many windows ago the CUSUM last left zero: Page's recursion, S = max(0, S + excess)."""
    total, left = 0.0, len(excess) - 1
    for i, value in enumerate(excess):
        if total <= 0:
            left = i
        total = max(0.0, total) + value
    return len(excess) - 1 - left if total > 0 else 0
