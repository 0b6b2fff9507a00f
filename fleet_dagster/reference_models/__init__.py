"""Six small AI models for an energy fleet, trained on the simulator: a pattern for your own, and a start without any.

They are built where they are used, not shipped: a file of one scikit-learn does not load safely in another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from fleet_dagster.model.errors import ModelError

NAMES = (
    "maintenance_predictor",
    "power_point_optimizer",
    "dispatch_scheduler",
    "fault_classifier",
    "cascade_detector",
    "carbon_validator",
)


@dataclass(frozen=True, slots=True)
class Built:
    """A model's file, and the settings of the slot that may hold it."""

    path: Path
    slot: Mapping[str, Any]  # Any: the fields of a slot are of several types


def build(name: str, folder: Path) -> Built:
    """Train a reference model and write its file into a folder: a minute or two.

    Raises
    ------
    ModelError
        There is none of that name, or a library is not installed.
    """
    if name not in NAMES:
        raise ModelError(
            f"reference model {name!r}", "does not exist", f"Choose one of {', '.join(NAMES)}"
        )
    try:
        training = import_module(f"{__name__}.training")
    except ModuleNotFoundError as error:
        raise ModelError(
            f"reference model {name!r}",
            f"needs {error.name}, which is not installed",
            "Install it: pip install 'fleet-dagster[onnx,sklearn]'",
        ) from error
    built: Built = training.train(name, folder, training.training_weeks())
    return built
