"""What `make quality` measures of the anomaly score: its measures by hand, and its layout on simulated rows."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.detection import data
from benchmarks.detection.measures import Confusion, average_precision, roc_auc
from benchmarks.detection.trial import Trial, ranged_kpis, scores, trial

N_TRAINED, N_SCORED, FAULT_AT = 600, 150, 100


def noise(n: int, seed: int) -> NDArray[np.float64]:
    """Return three readings that move together."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 1)) + 0.3 * rng.normal(size=(n, 3))


@pytest.fixture(scope="module")
def plant() -> Trial:
    training = noise(N_TRAINED, 1)
    return trial({"plant": training}, ranged_kpis(training, ["a", "b", "c"]), interval_s=60)


def test_a_confusion_counts_and_divides() -> None:
    alarmed = np.array([True, True, False, False, True])
    label = np.array([True, False, True, False, True])
    found = Confusion.of(alarmed, label)
    assert found == Confusion(found=2, missed=1, false=1, quiet=1)
    assert found.f1 == pytest.approx(4 / 6)
    assert found.far_pct == 50
    assert found.mar_pct == pytest.approx(100 / 3)
    assert np.isnan(Confusion.of(alarmed[:0], label[:0]).f1)


def test_roc_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    score, label = np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, True, False, True])
    assert roc_auc(score, label) == pytest.approx((1 + 0.5 + 2) / 4)
    assert np.isnan(roc_auc(score, np.ones(4, np.bool_)))


def test_average_precision_takes_equal_scores_in_one_step() -> None:
    score, label = np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, True, False, True])
    assert average_precision(score, label) == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)
    assert average_precision(np.ones(4), label) == pytest.approx(3 / 4)
    assert np.isnan(average_precision(score, np.zeros(4, np.bool_)))


def test_each_row_comes_back_as_one_scored_window(plant: Trial) -> None:
    rows = scores(plant.evaluate({"plant": noise(N_SCORED, 2)}), "plant")
    assert len(rows) == N_SCORED
    assert (rows["state"] == "scored").all()
    assert (rows["score"] > 0.5).mean() < 0.1


def test_a_planted_break_is_scored_where_it_begins(plant: Trial) -> None:
    rows = noise(N_SCORED, 3)
    rows[FAULT_AT:, 1] += 5.0
    found = scores(plant.evaluate({"plant": rows}), "plant")["score"]
    assert (found[FAULT_AT + 1 :] > 0.5).all()
    quiet = scores(plant.evaluate({"plant": noise(N_SCORED, 3)}), "plant")["score"]
    np.testing.assert_array_equal(found[:FAULT_AT], quiet[:FAULT_AT])


def test_what_was_learnt_first_stays_in_force_for_days(plant: Trial) -> None:
    result = plant.evaluate({"plant": noise(2 * 1440 + 10, 4)})
    rows = scores(result, "plant")
    assert (rows["state"] == "scored").all()
    own = result.baseline_model[result.baseline_model["scope"] == "site"]
    assert len(own) == 3
    assert own["level"].nunique() == 1


def test_a_late_site_is_scored_from_its_first_window_on(plant: Trial) -> None:
    early = scores(plant.evaluate({"plant": noise(20, 5)}), "plant")
    late = scores(plant.evaluate({"plant": noise(20, 5)}, delay={"plant": 60}), "plant")
    np.testing.assert_array_equal(late["score"].iloc[60:], early["score"])


def test_where_the_data_is_absent_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(data, "DATA", tmp_path / "nowhere")
    assert "absent" in data.where_present(lambda: "measured")()
    monkeypatch.setattr(data, "DATA", tmp_path)
    assert data.where_present(lambda: "measured")() == "measured"
