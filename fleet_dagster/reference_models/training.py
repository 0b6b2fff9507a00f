"""From recipe to file: simulate, learn, write; and measure what was written on fleets that it has not seen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.backends import Rows, load
from fleet_dagster.reference_models import Built
from fleet_dagster.reference_models.estimators import fitted
from fleet_dagster.reference_models.files import onnx_bytes, skops_bytes
from fleet_dagster.reference_models.recipe import Answers, Recipe, Rule, Values
from fleet_dagster.reference_models.recipes import RECIPES
from fleet_dagster.reference_models.simulated_weeks import SimulatedWeek

TRAINING_SEEDS = (1, 2, 3, 4, 5, 6)
MEASURING_SEEDS = (101, 102, 103, 104)
EVERY = 5
"""Of so many windows one is learnt from, or measured on: neighbours tell the same."""
ENDINGS: Mapping[str, str] = {"sklearn": "skops", "onnx": "onnx"}
_WRITERS: Mapping[str, Callable[[Any], bytes]] = {  # Any: scikit-learn's estimators share no type
    "sklearn": skops_bytes,
    "onnx": onnx_bytes,
}


@dataclass(frozen=True)
class Sample:
    """Site-windows of several weeks: what a model is fed, what its rule of thumb is fed, and what is true."""

    rows: Rows
    rule_rows: Rows
    truth: Values
    is_focus: NDArray[np.bool_]


def train(name: str, folder: Path, weeks: Sequence[SimulatedWeek]) -> Built:
    """Train a reference model on some weeks and write its file into a folder."""
    recipe = RECIPES[name]
    learnt = sample(recipe, weeks)
    path = folder / f"{name}.{ENDINGS[recipe.backend]}"
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(
        _WRITERS[recipe.backend](fitted(recipe.estimator(), learnt.rows, learnt.truth))
    )
    part.replace(path)
    return Built(path, recipe.slot_fields)


def training_weeks() -> list[SimulatedWeek]:
    """Return the weeks that the models are trained on."""
    return [SimulatedWeek(seed) for seed in TRAINING_SEEDS]


def measuring_weeks() -> list[SimulatedWeek]:
    """Return the weeks that they are measured on."""
    return [SimulatedWeek(seed) for seed in MEASURING_SEEDS]


def sample(recipe: Recipe, weeks: Sequence[SimulatedWeek]) -> Sample:
    """Return the rows that a slot with this model would be asked about, as far as the truth is known."""
    parts = [_sample_of(recipe, week) for week in weeks]
    joined = Sample(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("rows", "rule_rows", "truth", "is_focus")
        )
    )
    is_kept = ~np.isnan(joined.truth)
    if recipe.missing == "refuse":
        is_kept &= ~np.isnan(joined.rows).any(axis=1)
    return Sample(
        joined.rows[is_kept],
        joined.rule_rows[is_kept],
        joined.truth[is_kept],
        joined.is_focus[is_kept],
    )


def learnt_rule(recipe: Recipe, learnt: Sample) -> Rule:
    """Return the rule of thumb that learns from the same rows as the model."""
    return recipe.rule(learnt.rule_rows, learnt.truth)


def measured(recipe: Recipe, path: Path, rule: Rule, weeks: Sequence[SimulatedWeek]) -> Answers:
    """Ask a written model, loaded as a slot would load it, and its rule of thumb about the rows of some weeks."""
    fresh = sample(recipe, weeks)
    digest = sha256(path.read_bytes()).hexdigest()
    model = load(recipe.slot(artifact=path.name, sha256=digest), ModelFolder(path.parent))
    said = model.predict(fresh.rows, np.ones(len(fresh.rows), dtype=np.bool_))
    return Answers(fresh.truth, said.value, said.confidence, rule(fresh.rule_rows), fresh.is_focus)


def _sample_of(recipe: Recipe, week: SimulatedWeek) -> Sample:
    site, window = week.rows(recipe.slot(), EVERY)
    is_focus = np.ones(week.blank().shape) if recipe.focus is None else recipe.focus(week)
    return Sample(
        week.inputs.matrix(recipe.features, site, window),
        week.inputs.matrix(recipe.rule_features, site, window),
        recipe.target(week)[site, window],
        is_focus[site, window] > 0,
    )
