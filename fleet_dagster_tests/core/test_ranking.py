import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fleet_dagster.core.ranking import (
    competition_ranks,
    detect_outlier,
    exceeds,
    long_run_mad,
    modified_z_scores,
    persistent,
)
from fleet_dagster.model.errors import ShapeError
from fleet_dagster_tests.oracles import naive_ranks, naive_z

NAN = math.nan
scores_of_a_window = st.lists(
    st.one_of(st.just(NAN), st.integers(0, 4).map(lambda i: i / 4), st.floats(0, 1)),
    min_size=1,
    max_size=20,
)


def one_window(scores: list[float]) -> NDArray[np.float64]:
    return np.array([scores], dtype=np.float64)


@given(scores_of_a_window)
def test_ranks_equal_one_plus_the_number_of_better_sites(scores: list[float]) -> None:
    assert competition_ranks(one_window(scores))[0].tolist() == naive_ranks(scores)


def test_ties_share_a_rank_and_the_next_is_skipped() -> None:
    assert competition_ranks(one_window([0.7, 0.9, 0.7, 0.1])).tolist() == [[2, 1, 2, 4]]


def test_scores_equal_to_a_billionth_tie() -> None:
    assert competition_ranks(one_window([0.5, 0.5 + 1e-11, 0.4])).tolist() == [[1, 1, 3]]


def test_windows_are_ranked_apart() -> None:
    scores = np.array([[0.1, 0.2], [0.2, 0.1], [NAN, NAN]])
    assert competition_ranks(scores).tolist() == [[2, 1], [1, 2], [0, 0]]


@given(scores_of_a_window, st.one_of(st.none(), st.floats(1e-4, 0.2)))
def test_modified_z_equals_the_book_in_every_group_size(
    scores: list[float], prior: float | None
) -> None:
    found = modified_z_scores(one_window(scores), prior)[0]
    assert found == pytest.approx(naive_z(scores, prior), rel=1e-9, abs=1e-9, nan_ok=True)


def test_a_window_is_judged_alike_alone_and_among_others() -> None:
    rng = np.random.default_rng(2)
    scores = rng.random((40, 12))
    scores[rng.random(scores.shape) < 0.4] = NAN
    prior = rng.uniform(0.01, 0.1, 40)
    together = modified_z_scores(scores, prior)
    alone = [modified_z_scores(scores[i : i + 1], prior[i])[0] for i in range(40)]
    assert together.tobytes() == np.array(alone).tobytes()


@given(st.lists(st.integers(0, 1000), min_size=3, max_size=12), st.floats(-2, 2), st.floats(0.5, 4))
def test_modified_z_without_history_ignores_shift_and_scale(
    steps: list[int], shift: float, scale: float
) -> None:
    scores = np.array([steps], dtype=np.float64) / 1000
    moved = modified_z_scores(scores * scale + shift)
    assert moved == pytest.approx(modified_z_scores(scores), rel=1e-6, abs=1e-6)


def test_eight_members_are_judged_by_the_whole_group() -> None:
    # median 0.5, MAD 0.2: 0.6745 * 0.5 / 0.2
    scores = [0.2, 0.3, 0.4, 0.5, 0.5, 0.6, 0.7, 1.0]
    assert modified_z_scores(one_window(scores))[0, -1] == pytest.approx(0.6745 * 0.5 / 0.15)


def test_four_members_are_judged_by_the_others() -> None:
    # Others of 1.0: 0.4, 0.5, 0.6, so median 0.5, MAD 0.1, factor sqrt(1 + pi / 6).
    z = modified_z_scores(one_window([0.4, 0.5, 0.6, 1.0]))[0, -1]
    assert z == pytest.approx(0.6745 * 0.5 / 0.1 / math.sqrt(1 + math.pi / 6))


def test_a_long_run_mad_steadies_a_small_one() -> None:
    scores = [0.50, 0.50, 0.50, 0.50, 0.50, 0.50, 0.50, 0.50, 0.51]
    mad = math.sqrt(50 * 0.05**2 / 59)
    z = modified_z_scores(one_window(scores), 0.05)[0, -1]
    assert z == pytest.approx(0.6745 * 0.01 / mad)


def test_mad_zero_falls_back_to_the_mean_absolute_deviation() -> None:
    scores = [0.5] * 8 + [0.9]
    z = modified_z_scores(one_window(scores))[0]
    assert z[-1] == pytest.approx(0.4 / (1.253314 * 0.4 / 9))
    assert z[:-1].tolist() == [0.0] * 8


@pytest.mark.parametrize("n", [3, 5, 8, 30])
def test_identical_scores_hold_no_outlier(n: int) -> None:
    assert modified_z_scores(one_window([0.7] * n)).tolist() == [[0.0] * n]
    assert not detect_outlier(0.7, [0.7] * (n - 1), 0.1)


@pytest.mark.parametrize("scores", [[0.1], [0.1, 0.9], [0.1, 0.9, NAN, NAN]])
def test_fewer_than_three_members_have_no_modified_z(scores: list[float]) -> None:
    assert np.isnan(modified_z_scores(one_window(scores), 0.05)).all()


def test_one_score_far_from_its_peers_is_an_outlier() -> None:
    peers = [0.80, 0.81, 0.79, 0.82, 0.80, 0.78, 0.81, 0.80]
    assert detect_outlier(0.2, peers, 3.5) is True
    assert detect_outlier(0.805, peers, 3.5) is False


def test_several_scores_are_judged_one_by_one_against_the_same_peers() -> None:
    rng = np.random.default_rng(3)
    peers = rng.normal(0.8, 0.02, 9)
    scores = np.array([0.8, 0.2, NAN, 0.95, 0.79])
    together = detect_outlier(scores, peers, 3.5, prior_mad=0.02)
    alone = [detect_outlier(float(s), peers, 3.5, prior_mad=0.02) for s in scores]
    assert isinstance(together, np.ndarray)
    assert together.tolist() == alone == [False, True, False, True, False]


def test_detect_outlier_sees_what_the_group_sees() -> None:
    rng = np.random.default_rng(4)
    group = rng.normal(0.7, 0.05, (20, 6))
    z = modified_z_scores(group, 0.04)
    for row, expected in zip(group, exceeds(z, 1.5), strict=True):
        found = [
            detect_outlier(float(row[i]), np.delete(row, i), 1.5, prior_mad=0.04) for i in range(6)
        ]
        assert found == expected.tolist()


def test_absent_peers_are_left_out() -> None:
    peers = [0.8, NAN, 0.81, 0.79, NAN]
    assert detect_outlier(0.1, peers, 3.5) == detect_outlier(0.1, [0.8, 0.81, 0.79], 3.5) is True


@pytest.mark.parametrize("peers", [[], [0.9], [0.9, NAN, NAN]])
def test_fewer_than_two_peers_name_no_outlier(peers: list[float]) -> None:
    assert detect_outlier(0.1, peers, 0.5) is False


def test_scores_and_peers_of_other_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match="score"):
        detect_outlier(np.zeros((2, 2)), [0.1, 0.2], 3.0)
    with pytest.raises(ShapeError, match="peers"):
        detect_outlier(0.1, np.zeros((2, 2)), 3.0)


def test_the_threshold_itself_is_no_outlier() -> None:
    z = np.array([2.0, 2.0 + 1e-11, 2.0 + 1e-8, -2.1, NAN])
    assert exceeds(z, 2.0).tolist() == [False, False, True, True, False]


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_a_flag_persists_in_three_of_the_last_five_windows(flags: list[bool]) -> None:
    found = persistent(np.array([flags]).T, at_least=3, of=5)[:, 0].tolist()
    assert found == [sum(flags[max(0, i - 4) : i + 1]) >= 3 for i in range(len(flags))]


@pytest.mark.parametrize("n", [4, 7, 8, 40])
def test_the_long_run_mad_finds_the_spread_of_gaussian_members(n: int) -> None:
    rng = np.random.default_rng(n)
    mad = long_run_mad(rng.normal(0.7, 0.05, (4000, n)))
    assert mad == pytest.approx(0.6745 * 0.05, rel=0.08)


def test_the_long_run_mad_is_unknown_below_three_members() -> None:
    assert math.isnan(long_run_mad(np.full((5, 2), 0.5)))
    assert math.isnan(long_run_mad(np.full((5, 4), NAN)))


def test_the_long_run_mad_ignores_who_moves_as_one() -> None:
    rng = np.random.default_rng(5)
    own = rng.normal(0, 0.01, (500, 10))
    common = rng.normal(0, 0.2, (500, 1))
    assert long_run_mad(own + common) == pytest.approx(long_run_mad(own), rel=1e-9)
