"""Tries a model out on made-up inputs before it is registered: whether it loads, answers, and keeps to its contract."""

from dataclasses import dataclass

import numpy as np

from fleet_dagster.ai.answers import NOT_A_NUMBER, OUT_OF_RANGE, PADDING
from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.runners import AskError, run_slot
from fleet_dagster.model.errors import ModelError
from fleet_dagster.model.slots import AIModelSlot

_MEND = "A model that gives no answer here gives none in a slot"


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a model returned for inputs spread over the usual range, 0 to 1."""

    n_rows: int
    lowest: float
    highest: float
    mean_confidence: float


def dry_run(slot: AIModelSlot, folder: ModelFolder) -> DryRun:
    """Ask a slot's model about one batch of made-up rows.

    Raises
    ------
    ModelError
        It has no features, cannot be loaded, gives no answer in time, or an answer that is none.
    """
    name = f"model {slot.model_id!r}"
    if not slot.features:
        raise ModelError(name, "is fed nothing", "Name its features, in the order of training")
    # golden-ratio steps spread the values of every column evenly, and differently
    steps = np.arange(1, PADDING + 1)[:, None] * (0.618034 * np.arange(1, len(slot.features) + 1))
    rows = (steps % 1.0).astype(np.float32)
    # whatever it does, it does in a process of its own
    runner = run_slot(slot.model_copy(update={"isolation": "process"}), folder)
    try:
        found = runner.ask(rows, np.ones(PADDING, dtype=np.bool_))
    except AskError as error:
        why = str(error).removeprefix(f"{name}: ")
        raise ModelError(name, f"gives no answer: {why.rstrip('.')}", _MEND) from error
    finally:
        runner.close()
    if not (np.isfinite(found.value) & ~np.isnan(found.confidence)).all():
        raise ModelError(name, NOT_A_NUMBER, "Mend it, then register it")
    if ((found.confidence < 0) | (found.confidence > 1)).any():
        raise ModelError(name, OUT_OF_RANGE, "Mend it, then register it")
    return DryRun(
        PADDING,
        float(found.value.min()),
        float(found.value.max()),
        float(found.confidence.mean()),
    )
