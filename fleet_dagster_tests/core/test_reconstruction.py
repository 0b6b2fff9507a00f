import numpy as np
import pytest
from numpy.typing import NDArray

from fleet_dagster.core.normal_windows import LEAST_SCALE, NormalWindows, bad_hours, learn
from fleet_dagster.core.reconstruction import (
    RIDGE,
    contributions,
    errors_of,
    ratio_at,
    score_of,
)
from fleet_dagster.core.stacking import CLIP, is_judged, smoothed, stacked, standardised

N_WINDOWS, LEAD = 60, 13
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def naive_vector(u: Floats, centre: Floats, scale: Floats, window: int) -> Doubles:
    """Return one window's vector, reading by reading."""
    weights = [(1 - 2 / 11) ** age for age in range(10)]
    out = []
    for lag in range(5):
        for k in range(u.shape[1]):
            past = [(weights[a], u[window - lag - a, k]) for a in range(10)]
            seen = [(w, (x - centre[k]) / scale[k]) for w, x in past if not np.isnan(x)]
            cut = [(w, min(max(z, -50.0), 50.0)) for w, z in seen]
            out.append(sum(w * z for w, z in cut) / sum(w for w, _ in cut) if cut else 0.0)
    return np.array(out)


def sample(
    n_hours: int = 12, n_kpis: int = 3, *, seed: int = 1, n_sites: int = 2
) -> tuple[Floats, NDArray[np.int64]]:
    """Return sampled hours of KPIs that move together, and that none follows another."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n_sites, n_hours, LEAD + N_WINDOWS, 1))
    own = rng.normal(size=(n_sites, n_hours, LEAD + N_WINDOWS, n_kpis))
    readings = 0.5 + 0.05 * (common + 0.3 * own)
    return readings.astype(np.float32), np.full(n_hours, -1)


def vectors_of(readings: Floats, learnt: NormalWindows) -> Floats:
    return stacked(smoothed(standardised(readings, learnt.centre, learnt.scale)))


def error_of(readings: Floats, learnt: NormalWindows) -> Doubles:
    """Return the errors of readings (n_sites, n_windows, n_kpis)."""
    spectrum = learnt.spectrum
    vectors = vectors_of(readings, learnt)
    return errors_of(vectors, spectrum.mean, spectrum.whitening(), spectrum.is_in_model).error


def test_a_vector_is_what_it_says_reading_by_reading() -> None:
    rng = np.random.default_rng(0)
    u = rng.normal(0.5, 0.2, (1, 20, 3)).astype(np.float32)
    u[0, 3:9, 1] = np.nan
    u[0, 5, 2] = 1e6
    centre, scale = np.array([[0.5, 0.4, 0.6]], np.float32), np.array([[0.2, 0.1, 0.3]], np.float32)
    found = stacked(smoothed(standardised(u, centre, scale)))
    assert found.shape == (1, 20 - LEAD, 15)
    for i in range(found.shape[1]):
        expected = naive_vector(u[0], centre[0], scale[0], i + LEAD)
        np.testing.assert_allclose(found[0, i], expected, rtol=1e-4, atol=1e-5)


def test_what_a_neighbour_lacks_does_not_change_a_bit_of_a_site() -> None:
    z = np.random.default_rng(4).normal(size=(2, 40, 3)).astype(np.float32)
    alone = smoothed(z[:1])
    z[1, 5:30, 1] = np.nan
    np.testing.assert_array_equal(smoothed(z)[:1], alone)


def test_a_kpi_never_seen_is_absent_and_wild_readings_are_cut_off() -> None:
    u = np.array([[[1e9, -1e9, 3.0]]], np.float32)
    z = standardised(u, np.zeros((1, 3), np.float32), np.array([[1, 1, 0]], np.float32))
    np.testing.assert_array_equal(z[0, 0], [CLIP, -CLIP, np.nan])


def test_a_window_is_judged_by_at_least_ten_of_fourteen() -> None:
    has = np.ones(30, np.bool_)
    has[2:6] = False
    np.testing.assert_array_equal(is_judged(has[None])[0], np.ones(17, np.bool_))
    has[6] = False
    expected = np.array(
        [i not in range(2, 7) and has[i - 13 : i + 1].sum() >= 10 for i in range(13, 30)]
    )
    assert not expected.all()
    np.testing.assert_array_equal(is_judged(has[None])[0], expected)
    has[20] = False
    assert not is_judged(has[None])[0, 7]


def test_the_error_is_the_mahalanobis_distance_with_a_ridge() -> None:
    readings, follows = sample()
    learnt = learn(readings, follows)
    vectors = vectors_of(readings[:, 0], learnt).astype(np.float64)
    spectrum = learnt.spectrum
    for site in range(2):
        v = spectrum.directions[site].astype(np.float64)
        values = spectrum.variances[site].astype(np.float64)
        covariance = v.T @ np.diag(values + RIDGE * values.mean()) @ v
        away = vectors[site] - spectrum.mean[site]
        expected = np.sqrt(np.sum(away * np.linalg.solve(covariance, away.T).T, axis=1))
        np.testing.assert_allclose(error_of(readings[:, 0], learnt)[site], expected, rtol=1e-3)


def test_centre_scale_and_spectrum_are_those_of_the_sample() -> None:
    readings, follows = sample(seed=3)
    learnt = learn(readings, follows)
    assert learnt.is_learnt.all()
    assert (learnt.n_windows == 12 * N_WINDOWS).all()
    own = readings[:, :, LEAD:].reshape(2, -1, 3).astype(np.float64)
    np.testing.assert_allclose(learnt.centre, own.mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose(learnt.scale, own.std(axis=1), rtol=1e-3)
    vectors = vectors_of(readings[1], NormalWindowsOf(learnt, 1, 12)).reshape(-1, 15)
    away = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    values, directions = np.linalg.eigh(away.T @ away / len(away))
    along = away @ directions
    r = np.clip((along[1:] * along[:-1]).sum(axis=0) / (along**2).sum(axis=0), 0, 1)
    n_independent = np.maximum(len(away) * (1 - r) / (1 + r), 1)
    np.testing.assert_allclose(
        (values * (1 + 1 / n_independent))[::-1], learnt.spectrum.variances[1], rtol=2e-3, atol=1e-5
    )
    np.testing.assert_allclose(vectors.mean(axis=0), learnt.spectrum.mean[1], atol=1e-4)


def NormalWindowsOf(learnt: NormalWindows, site: int, n: int) -> NormalWindows:  # noqa: N802
    """Return the same model for each of a site's hours."""
    return NormalWindows(
        np.repeat(learnt.centre[site : site + 1], n, axis=0),
        np.repeat(learnt.scale[site : site + 1], n, axis=0),
        learnt.spectrum,
        learnt.error,
        learnt.is_learnt,
        learnt.n_windows,
    )


def test_contributions_sum_to_the_squared_error_and_name_the_culprit() -> None:
    readings, follows = sample()
    learnt = learn(readings, follows)
    readings[0, 0, 40:, 2] += 0.2
    vectors = vectors_of(readings[:, 0], learnt)[0]
    whitening = learnt.spectrum.whitening()[0]
    parts = contributions(vectors, learnt.spectrum.mean[0], whitening)
    error = error_of(readings[:, 0], learnt)[0]
    np.testing.assert_allclose(parts.sum(axis=1), error**2, rtol=1e-3, atol=1e-3)
    assert (np.argmax(parts[30:], axis=1) == 2).all()


def test_both_parts_sum_to_the_square_and_a_break_of_correlation_is_in_the_residual() -> None:
    readings, follows = sample()
    learnt = learn(readings, follows)
    spectrum = learnt.spectrum

    def parts(u: Floats) -> tuple[float, float]:
        vectors = vectors_of(u[None], NormalWindowsOf(learnt, 0, 1))
        found = errors_of(
            vectors, spectrum.mean[:1], spectrum.whitening()[:1], spectrum.is_in_model[:1]
        )
        np.testing.assert_allclose(found.error**2, found.t2 + found.q, rtol=1e-6)
        return float(found.t2[0, -1]), float(found.q[0, -1])

    together = np.full((40, 3), 0.5, np.float32)
    together[20:] += np.float32(0.15)
    apart = np.full((40, 3), 0.5, np.float32)
    apart[20:] += np.array([0.15, -0.15, 0.0], np.float32)
    t2, q = parts(together)
    assert t2 > 3 * q
    t2, q = parts(apart)
    assert q > 3 * t2


def test_nobody_is_judged_by_a_bad_hour() -> None:
    readings, follows = sample(n_hours=16)
    clean = learn(readings, follows)
    spoilt = readings.copy()
    spoilt[0, 5, LEAD + 20 : LEAD + 45, 1] += 1.0
    learnt = learn(spoilt, follows)
    is_judge = ~np.isnan(learnt.error).all(axis=2)
    np.testing.assert_array_equal(np.argwhere(~is_judge), [[0, 5]])
    assert learnt.is_learnt.all()
    assert np.nanmax(learnt.error[0]) < 1.5 * np.nanmax(clean.error[0])


def test_bad_hours_are_the_worst_quarter_at_most() -> None:
    error = np.ones((2, 16, 10))
    error[0, 3] = 2.1
    error[0, 4, :6] = 9.0
    error[0, 5, :4] = 9.0  # less than half of the hour: its median is normal
    error[0, 6] = np.nan
    error[1, :6] = np.array([4.0, 9.0, 2.5, 8.0, 7.0, 6.0])[:, None]
    found = bad_hours(error)
    np.testing.assert_array_equal(np.flatnonzero(found[0]), [3, 4])
    np.testing.assert_array_equal(np.flatnonzero(found[1]), [1, 3, 4, 5])
    assert not bad_hours(np.full((1, 3, 5), np.nan)).any()
    assert not bad_hours(np.zeros((1, 3, 5))).any()


def test_out_of_sample_errors_are_larger_than_those_of_the_model_that_saw_them() -> None:
    readings, follows = sample(n_hours=4, n_kpis=8)
    learnt = learn(readings, follows)
    seen = error_of(readings[0], NormalWindowsAt(learnt, 0, 4))
    assert np.median(learnt.error[0]) > 1.1 * np.median(seen)


def NormalWindowsAt(learnt: NormalWindows, site: int, n: int) -> NormalWindows:  # noqa: N802
    spectrum = type(learnt.spectrum)(
        *(
            np.repeat(getattr(learnt.spectrum, name)[site : site + 1], n, axis=0)
            for name in ("mean", "variances", "directions")
        )
    )
    one = NormalWindowsOf(learnt, site, n)
    return NormalWindows(one.centre, one.scale, spectrum, one.error, one.is_learnt, one.n_windows)


def test_windows_that_look_back_into_a_fold_do_not_teach_its_model() -> None:
    """Hours in a row: judged as if each fold's followers began 13 windows later."""
    readings, _ = sample(n_hours=8)
    chain = np.arange(-1, 7)
    loose = learn(readings, np.full(8, -1))
    kept = learn(readings, chain)
    assert not np.array_equal(loose.error, kept.error)
    cut = readings.copy()
    cut[:, 1, : 2 * LEAD] = (
        np.nan
    )  # hour 1 teaches nothing in its first windows: they are not judged
    without = learn(cut, np.full(8, -1))
    np.testing.assert_allclose(kept.error[:, 0], without.error[:, 0], rtol=0.2)


@pytest.mark.parametrize("n_kpis", [1, 16])
def test_degenerate_samples_have_defined_answers(n_kpis: int) -> None:
    constant = np.full((1, 3, LEAD + N_WINDOWS, n_kpis), 0.25, np.float32)
    learnt = learn(constant, np.full(3, -1))
    np.testing.assert_allclose(learnt.scale, LEAST_SCALE)
    assert (learnt.error == 0).all()
    moved = constant[:, 0].copy()
    moved[:, 40:] += np.float32(0.01)
    assert error_of(moved, learnt)[0, -1] > 1e3
    nothing = np.full_like(constant, np.nan)
    learnt = learn(nothing, np.full(3, -1))
    assert (learnt.scale == 0).all()
    assert (learnt.n_windows == 0).all()
    assert not learnt.is_learnt.any()
    assert np.isnan(learnt.error).all()
    assert np.isfinite(learnt.spectrum.whitening()).all()


def test_more_kpis_than_rows_and_one_absent_kpi_have_defined_answers() -> None:
    readings, _ = sample(n_hours=1, n_kpis=16)
    few = readings[:, :, : LEAD + 20].copy()
    few[..., 4] = np.nan
    learnt = learn(few, np.full(1, -1))
    assert (learnt.n_windows == 20).all()
    assert (learnt.scale[:, 4] == 0).all()
    error = error_of(few[:, 0], learnt)
    assert np.isfinite(error).all()
    few[..., 4] = 7.0  # what was never seen says nothing
    np.testing.assert_array_equal(error_of(few[:, 0], learnt), error)


def test_sites_learnt_together_are_learnt_as_if_alone() -> None:
    readings, follows = sample(n_sites=5)
    together = learn(readings, follows)
    for site in range(5):
        alone = learn(readings[site : site + 1], follows)
        np.testing.assert_array_equal(alone.error[0], together.error[site])
        np.testing.assert_array_equal(
            alone.spectrum.directions[0], together.spectrum.directions[site]
        )


def test_scores_at_the_level_and_beyond() -> None:
    error = np.array([0.0, 1.0, 2.0, 3.0, np.nan, 1e9])
    level = np.full(6, 2.0)
    found = score_of(error, level)
    np.testing.assert_allclose(found, [0, 1 - 2**-0.5, 0.5, 1 - 2**-1.5, np.nan, 1.0], atol=1e-9)
    np.testing.assert_array_equal(score_of(np.array([0.0, 0.1]), np.zeros(2)), [0.0, 1.0])
    assert np.isnan(score_of(np.array([1.0]), np.array([np.nan]))[0])
    for score, ratio in ((0.5, 1.0), (0.6, 1.3219), (0.7, 1.7370)):
        assert ratio_at(score) == pytest.approx(ratio, abs=1e-4)
