import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fleet_dagster.core.robust import row_median, row_median_and_mad, trimmed_centre_and_scale

NAN = math.nan
rows = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 3), st.integers(1, 9)),
    elements=st.one_of(st.just(NAN), st.floats(-1e6, 1e6)),
)


@given(rows)
def test_medians_equal_numpys_over_what_is_present(values: NDArray[np.float64]) -> None:
    for row, found in zip(values, row_median(values), strict=True):
        present = row[~np.isnan(row)]
        expected = float(np.median(present)) if present.size else NAN
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-9, nan_ok=True)


def test_the_mad_is_the_median_distance_from_the_median() -> None:
    median, mad = row_median_and_mad(np.array([[1.0, 2.0, 4.0, 8.0, NAN], [NAN] * 5]))
    assert median == pytest.approx([3.0, NAN], nan_ok=True)
    assert mad == pytest.approx([1.5, NAN], nan_ok=True)


def test_rows_without_columns_have_no_median() -> None:
    assert np.isnan(row_median(np.empty((3, 0)))).all()


def test_outliers_do_not_move_centre_and_scale() -> None:
    rng = np.random.default_rng(1)
    clean = rng.normal(5.0, 0.1, (1, 4000))
    spoilt = clean.copy()
    spoilt[0, :200] = 500.0
    (centre,), (scale,) = trimmed_centre_and_scale(spoilt)
    assert centre == pytest.approx(5.0, abs=0.02)
    assert scale == pytest.approx(0.1, rel=0.1)


def test_a_constant_row_has_scale_zero() -> None:
    centre, scale = trimmed_centre_and_scale(np.array([[2.0, 2.0, NAN, 2.0]]))
    assert (centre.tolist(), scale.tolist()) == ([2.0], [0.0])


def test_nothing_is_trimmed_from_a_row_that_is_mostly_one_value() -> None:
    centre, scale = trimmed_centre_and_scale(np.array([[2.0, 2.0, 2.0, 9.0]]))
    assert (centre.tolist(), scale.tolist()) == ([2.0], [0.0])
