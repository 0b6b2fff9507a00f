"""How models of each kind are loaded and asked: one module a backend, imported when a slot first needs it."""

from importlib import import_module
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.outputs import Predictions
from fleet_dagster.model.errors import ModelError
from fleet_dagster.model.slots import AIModelSlot, Backend

Rows = NDArray[np.float32]
"""Inputs of one batch, shape (n_rows, n_features)."""
_MODULES: dict[Backend, tuple[str, str]] = {
    "sklearn": ("skops_file", "sklearn"),
    "onnx": ("onnx_file", "onnx"),
    "http": ("http_endpoint", "http"),
    "entry_point": ("entry_point", ""),
}
"""Each backend's module, and the extra that installs what it needs."""


class Model(Protocol):
    """A model that is ready to be asked."""

    def predict(self, rows: Rows, is_asked: NDArray[np.bool_]) -> Predictions:
        """Return predictions for all rows; of those not asked for, which fill the batch up, nobody reads them."""


def load(slot: AIModelSlot, folder: ModelFolder) -> Model:
    """Load the model of a slot.

    Raises
    ------
    ModelError
        It is not there, not what was registered, not safe to load, or its backend is not installed.
    """
    module, extra = _MODULES[slot.backend]
    try:
        backend = import_module(f"{__name__}.{module}")
    except ModuleNotFoundError as error:
        raise ModelError(
            f"model {slot.model_id!r}",
            f"backend {slot.backend!r} needs {error.name}, which is not installed",
            f"Install the extra {extra!r}: pip install 'fleet-dagster[{extra}]', in a clone .venv/bin/pip install -e '.[{extra}]' -c constraints.txt",
        ) from error
    model: Model = backend.load(slot, folder)
    return model
