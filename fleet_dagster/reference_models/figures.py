"""What a model is judged by: figures of what it said and of what was true, beside those of the rule of thumb."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    mean_absolute_error,
    mean_pinball_loss,
    roc_auc_score,
)

from fleet_dagster.reference_models.recipe import Answers, Figure, Values

ACCEPTED = 0.7
"""Confidence from which the answers of classifiers are accepted."""
_LIKELY = 0.5
Measure = Callable[[Values, Values], float]
"""Compares what was true with what was said."""


def of_probabilities(answers: Answers) -> list[Figure]:
    """Judge probabilities; of a rule of thumb it is only asked that it puts the right rows first."""
    is_true, is_said = answers.truth > 0, answers.value >= _LIKELY
    return [
        _both("average precision", average_precision_score, answers),
        _both("area under the ROC curve", roc_auc_score, answers),
        _alone("precision from 0.5 on", _share(is_true[is_said])),
        _alone("recall from 0.5 on", _share(is_said[is_true])),
        _alone("Brier score", brier_score_loss(answers.truth, answers.value)),
        _alone("share accepted", _share(answers.confidence >= ACCEPTED)),
    ]


def of_classes(answers: Answers) -> list[Figure]:
    """Judge classes: each counts alike, however rare it is."""
    is_accepted, is_right = answers.confidence >= ACCEPTED, answers.truth == answers.value
    return [
        _both("balanced accuracy", balanced_accuracy_score, answers),
        _both("F1, mean over the classes", _mean_f1, answers),
        _both("accuracy", lambda truth, said: _share(truth == said), answers),
        _alone("share accepted", _share(is_accepted)),
        _alone("accuracy of those accepted", _share(is_right[is_accepted])),
    ]


def of_values(answers: Answers, *, unit: str, scale: float) -> list[Figure]:
    """Judge values by how far off they are."""
    name = f"mean absolute error, {unit}"
    return [_both(name, _scaled(mean_absolute_error, scale), answers, is_higher_better=False)]


def of_lower_quantiles(answers: Answers, share: float, *, unit: str, scale: float) -> list[Figure]:
    """Judge values that only a share of what comes lies below."""

    def pinball(truth: Values, said: Values) -> float:
        return float(mean_pinball_loss(truth, said, alpha=share))

    def kept(truth: Values, said: Values) -> float:
        return _share(truth >= said)

    def promised(_truth: Values, said: Values) -> float:
        return float(np.mean(said))

    return [
        _both(f"pinball loss, {unit}", _scaled(pinball, scale), answers, is_higher_better=False),
        _both(f"share kept ({1 - share:g} is promised)", kept, answers),
        _both(f"promised on average, {unit}", _scaled(promised, scale), answers),
    ]


def _both(
    name: str, measure: Measure, answers: Answers, *, is_higher_better: bool = True
) -> Figure:
    model = float(measure(answers.truth, answers.value))
    rule = float(measure(answers.truth, answers.rule))
    return Figure(name, model, rule, is_higher_better)


def _alone(name: str, value: float) -> Figure:
    return Figure(name, float(value), np.nan)


def _scaled(measure: Measure, scale: float) -> Measure:
    return lambda truth, said: scale * measure(truth, said)


def _share(which: NDArray[Any]) -> float:  # Any: truths or choices
    return float(np.mean(which)) if which.size else np.nan


def _mean_f1(truth: Values, said: Values) -> float:
    return float(f1_score(truth, said, average="macro"))
