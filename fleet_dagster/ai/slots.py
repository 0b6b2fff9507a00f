"""The models of one run: each loaded when it is first asked, and let go of at the end."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from fleet_dagster.ai.answers import FAILED, Answers, Patience, answer
from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.inputs import SlotInputs
from fleet_dagster.ai.known import Known
from fleet_dagster.ai.router import Question
from fleet_dagster.ai.runners import Runner, run_slot, said
from fleet_dagster.core.blas import on_one_thread
from fleet_dagster.model.slots import AIModelSlot

_log = logging.getLogger(__name__)
Override = Callable[[AIModelSlot], AIModelSlot]
"""Changes a slot for one run."""


@dataclass
class Slots:
    """Models by slot, and how long each has kept us waiting."""

    folder: ModelFolder
    _runners: dict[AIModelSlot, Runner] = field(default_factory=dict)
    _patience: dict[AIModelSlot, Patience] = field(default_factory=dict)

    def ask(self, asked: Sequence[Question], inputs: SlotInputs, known: Known) -> list[Answers]:
        """Ask models all the questions about a chunk of windows; never raises for what a model does."""
        with on_one_thread():
            return [self._ask(q, inputs, known) for q in asked]

    def _ask(self, asked: Question, inputs: SlotInputs, known: Known) -> Answers:
        patience = self._patience.setdefault(asked.slot, Patience())
        try:
            return answer(asked, inputs, self.runner(asked.slot), known, patience)
        except Exception as error:  # noqa: BLE001 - one slot never stops the others
            _log.exception("slot %d of fleet %s failed", asked.slot.slot_id, inputs.fleet.name)
            lost = Answers.none_yet(asked)
            lost.fail(np.flatnonzero(~asked.is_limited), FAILED, said(error))
            return lost

    def runner(self, slot: AIModelSlot) -> Runner:
        """Return the place where a slot's model runs."""
        if slot not in self._runners:
            self._runners[slot] = run_slot(slot, self.folder)
        return self._runners[slot]

    def close(self) -> None:
        """Let go of all models."""
        for runner in self._runners.values():
            runner.close()
        self._runners.clear()


@contextmanager
def opened(folder: ModelFolder) -> Iterator[Slots]:
    """Yield the models of one run."""
    slots = Slots(folder)
    try:
        yield slots
    finally:
        slots.close()
