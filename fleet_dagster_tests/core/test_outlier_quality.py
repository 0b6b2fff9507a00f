"""Detection quality on Gaussian groups from listed seeds; `make quality` measures the same more finely."""

import pytest

from benchmarks.outliers import LEAST_FOUND, SHIFTED_SIZES, SIZES, false_flags, found_shifts

SEEDS = (11, 23, 47)
MEMBERS = 100_000
MARGIN = 0.02
"""Three standard errors at 3.5 sigma. [points]"""


@pytest.mark.parametrize("n", SIZES)
def test_healthy_members_are_hardly_flagged_more_than_gaussian_tails_say(n: int) -> None:
    for found in false_flags((n,), SEEDS, MEMBERS):
        assert found.known <= found.limit + MARGIN, found


@pytest.mark.parametrize("n", SIZES)
def test_a_long_run_mad_learnt_from_history_serves_as_well(n: int) -> None:
    for found in false_flags((n,), SEEDS, MEMBERS):
        assert found.learnt <= found.limit + MARGIN, found


@pytest.mark.parametrize("n", SHIFTED_SIZES)
def test_a_member_shifted_by_six_sigma_is_found(n: int) -> None:
    for _, found in found_shifts((n,), SEEDS, 5_000):
        assert found >= LEAST_FOUND
