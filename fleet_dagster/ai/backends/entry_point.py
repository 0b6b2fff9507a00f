"""Models in Python: what an installed package offers in the entry point group `fleet_dagster.models`."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.backends import Rows
from fleet_dagster.ai.outputs import Predictions, read_output
from fleet_dagster.model.errors import ModelError
from fleet_dagster.model.slots import AIModelSlot

GROUP = "fleet_dagster.models"


@dataclass(frozen=True, slots=True)
class PythonModel:
    """A function of rows."""

    function: Callable[[Rows], Any]  # Any: what other people's code returns is checked
    output: str

    def predict(self, rows: Rows, is_asked: NDArray[np.bool_]) -> Predictions:  # noqa: ARG002 - the protocol's
        """Call the function."""
        return read_output(self.function(rows), self.output, len(rows))


def load(slot: AIModelSlot, folder: ModelFolder) -> PythonModel:  # noqa: ARG001 - the backends' signature
    """Load an entry point: a function of rows, an object with `predict`, or a class of such objects."""
    name = f"model {slot.model_id!r}"
    known = {point.name: point for point in entry_points(group=GROUP)}
    if slot.artifact not in known:
        raise ModelError(
            name,
            f"no installed package offers {slot.artifact!r} as an entry point of group {GROUP!r} "
            f"(offered: {', '.join(sorted(known)) or 'none'})",
            "Install the package that does, in the environment where the pipeline runs",
        )
    made = known[slot.artifact].load()
    model = made() if isinstance(made, type) else made
    function = getattr(model, "predict", model)
    if not callable(function):
        raise ModelError(
            name,
            f"entry point {slot.artifact!r} is a {type(model).__name__}",
            "Offer a function of rows, or an object with predict",
        )
    return PythonModel(function, slot.output)
