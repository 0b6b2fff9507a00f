"""The reference models, on fleets small enough for a test: built, loaded as a slot loads them, and better than a rule of thumb."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.backends import load
from fleet_dagster.core.windows import HOUR, Span
from fleet_dagster.model.errors import ModelError
from fleet_dagster.model.features import unknown_sources
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster.model.yaml_file import validate_config
from fleet_dagster.nodes.baseline import UNTRAINED
from fleet_dagster.pipeline import evaluate_landed, frame_reader
from fleet_dagster.reference_models import NAMES, Built, build
from fleet_dagster.reference_models.estimators import fitted, network_value
from fleet_dagster.reference_models.files import onnx_bytes
from fleet_dagster.reference_models.recipe import Figure
from fleet_dagster.reference_models.recipes import RECIPES
from fleet_dagster.reference_models.simulated_weeks import MONDAY, SimulatedWeek
from fleet_dagster.reference_models.training import (
    learnt_rule,
    measured,
    measuring_weeks,
    sample,
    train,
    training_weeks,
)

CARDS = Path(__file__).parents[2] / "docs" / "reference" / "models"
TINY = [SimulatedWeek(1, n_days=1, n_sites=10, n_regions=2, history_days=3)]
UNSEEN = [SimulatedWeek(101, n_days=1, n_sites=10, n_regions=2, history_days=3)]


def deciding(
    name: str, built: Built, known: Sequence[SimulatedWeek], fresh: Sequence[SimulatedWeek]
) -> Figure:
    """Return the figure by which a model must beat its rule of thumb."""
    recipe = RECIPES[name]
    rule = learnt_rule(recipe, sample(recipe, known))
    answers = measured(recipe, built.path, rule, fresh)
    judged = answers if recipe.focus is None else answers.within_focus()
    return recipe.figures(judged)[0]


def test_a_model_beats_its_rule_of_thumb_on_a_fleet_that_it_has_not_seen(tmp_path: Path) -> None:
    built = train("dispatch_scheduler", tmp_path, TINY)
    assert deciding("dispatch_scheduler", built, TINY, UNSEEN).is_better


@pytest.mark.parametrize("name", ["dispatch_scheduler", "power_point_optimizer"])
def test_two_builds_write_the_same_file(name: str, tmp_path: Path) -> None:
    first, second = (train(name, tmp_path / place, TINY).path for place in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_a_network_answers_in_onnx_as_in_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    rows = rng.random((600, 4)).astype(np.float32)
    network = fitted(network_value(), rows, rows.sum(axis=1).astype(np.float64) * 50 + 200)
    session = onnxruntime.InferenceSession(onnx_bytes(network))
    (found,) = session.run(None, {"rows": rows})
    np.testing.assert_allclose(found[:, 0], network.predict(rows), rtol=1e-5)


def test_a_model_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Choose one of maintenance_predictor"):
        build("oracle", tmp_path)


def test_training_and_measuring_share_no_seed() -> None:
    assert not {w.seed for w in training_weeks()} & {w.seed for w in measuring_weeks()}


@pytest.fixture(scope="module")
def small() -> list[SimulatedWeek]:
    return [SimulatedWeek(seed, n_days=3, n_sites=10, n_regions=2) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def unseen() -> list[SimulatedWeek]:
    return [SimulatedWeek(seed, n_days=3, n_sites=10, n_regions=2) for seed in (101, 102)]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_model_beats_its_rule_of_thumb(
    name: str, small: list[SimulatedWeek], unseen: list[SimulatedWeek], tmp_path: Path
) -> None:
    found = deciding(name, train(name, tmp_path, small), small, unseen)
    assert found.is_better, found


def slot_of(slot_id: int, built: Built, folder: ModelFolder) -> dict[str, object]:
    """Return the settings of a slot that holds a built model."""
    artifact, digest = folder.add(built.path)
    return {"slot_id": slot_id, "artifact": artifact, "sha256": digest, **built.slot}


def answers_of(week: SimulatedWeek, slots: list[dict[str, object]], folder: Path) -> pd.DataFrame:
    """Return what a fleet's slots answer within an hour, as the pipeline records it."""
    content = week.config.model_dump(mode="json") | {"profile": "medium", "ai_models": slots}
    fleet = Fleet.of(validate_config(content, source="test"))
    noon = Span(MONDAY + 12 * HOUR, MONDAY + 13 * HOUR)
    read = frame_reader(week.landed())
    return evaluate_landed(fleet, read, noon, UNTRAINED, models=folder).ai_inference


def test_every_model_answers_in_a_slot(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path / "models")
    slots = [slot_of(k, train(n, tmp_path, TINY), folder) for k, n in enumerate(NAMES)]
    loaded = [load(AIModelSlot.model_validate(slot), folder) for slot in slots]
    assert len(loaded) == len(NAMES)
    rows = answers_of(UNSEEN[0], slots, folder.root)
    assert set(rows["model_id"]) == set(NAMES)
    failed = rows[(rows["outcome"] != "ok").to_numpy(np.bool_)]
    assert set(failed["error"]) <= {"an input is absent"}
    assert len(failed) < 0.1 * len(rows)
    confidence = rows["confidence"].dropna()
    assert ((confidence >= 0) & (confidence <= 1)).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_feeds_on_what_its_fleet_reports(name: str) -> None:
    recipe = RECIPES[name]
    assert not unknown_sources(recipe.features, TINY[0].config.kpi_names)
    assert recipe.slot().model_id == name


@pytest.mark.parametrize("name", NAMES)
def test_the_card_of_a_model_says_what_its_recipe_does(name: str) -> None:
    recipe, text = RECIPES[name], (CARDS / f"{name}.md").read_text(encoding="utf-8")
    said = [recipe.predicts, recipe.label, recipe.rule_words, recipe.focus_words, *recipe.advice]
    assert not [line for line in (*said, *recipe.features) if line not in text], "run: make models"
