"""`Recipe`: what a reference model is made of, and what its card says; `Answers`: what it is judged by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.ai.backends import Rows
from fleet_dagster.ai.inputs import Grid
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster.model.tables import ALL_DOMAINS
from fleet_dagster.reference_models.simulated_weeks import SimulatedWeek

Values = NDArray[np.float64]
"""One number a row."""
Rule = Callable[[Rows], Values]
"""A rule of thumb: what it says of each row."""


class Estimator(Protocol):
    """A model of scikit-learn that is yet to be fitted."""

    def fit(self, x: Rows, y: Values) -> Any:  # Any: itself
        """Learn."""

    def predict(self, x: Rows) -> Values:
        """Return values or classes."""


@dataclass(frozen=True)
class Answers:
    """What a model and a rule of thumb said of the same rows, and what was true."""

    truth: Values
    value: Values
    confidence: Values
    rule: Values
    is_focus: NDArray[np.bool_]

    def within_focus(self) -> "Answers":
        """Return the rows that matter most."""
        kept = self.is_focus
        return Answers(
            self.truth[kept],
            self.value[kept],
            self.confidence[kept],
            self.rule[kept],
            self.is_focus[kept],
        )


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a model beside that of the rule of thumb; NaN where it says nothing."""

    name: str
    model: float
    rule: float
    is_higher_better: bool = True

    @property
    def is_better(self) -> bool:
        """Whether the model beats the rule of thumb."""
        return self.model > self.rule if self.is_higher_better else self.model < self.rule


@dataclass(frozen=True)
class Recipe:
    """How a reference model is made, measured and described."""

    name: str
    title: str
    predicts: str
    """What it returns."""
    label: str
    """What it was taught, exactly."""
    advice: Sequence[str]
    """When not to use it, and what to know."""
    features: tuple[str, ...]
    output: Literal["value", "probability", "class"]
    estimator: Callable[[], Estimator]
    target: Callable[[SimulatedWeek], Grid]
    """What is true of each site-window; NaN where it is not known."""
    figures: Callable[[Answers], list[Figure]]
    """The first decides whether the model beats the rule of thumb."""
    rule_words: str
    rule_features: tuple[str, ...]
    rule: Callable[[Rows, Values], Rule]
    """Learns a rule of thumb from the rows that the model learns from."""
    backend: Literal["sklearn", "onnx"] = "sklearn"
    domain: str = ALL_DOMAINS
    missing: Literal["refuse", "pass"] = "pass"
    confidence_threshold: float = 0.7
    focus: Callable[[SimulatedWeek], Grid] | None = None
    """Where site-windows that matter most are not 0."""
    focus_words: str = ""
    version: str = "1"

    @property
    def slot_fields(self) -> dict[str, Any]:  # Any: the fields of a slot are of several types
        """Return the settings of a slot that holds this model."""
        return {
            "model_id": self.name,
            "version": self.version,
            "domain": self.domain,
            "backend": self.backend,
            "features": list(self.features),
            "output": self.output,
            "missing": self.missing,
            "confidence_threshold": self.confidence_threshold,
        }

    def slot(self, **more: Any) -> AIModelSlot:  # Any: the fields of a slot are of several types
        """Return slot 0 with this model."""
        return AIModelSlot.model_validate({"slot_id": 0, **self.slot_fields, **more})
