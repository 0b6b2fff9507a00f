"""`ai_inference`: what the fleet's models say about its sites, or why they say nothing. Routed, asked, collected."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from fleet_dagster.ai.answers import Answers
from fleet_dagster.ai.collector import collect
from fleet_dagster.ai.inputs import SlotInputs
from fleet_dagster.ai.known import Known
from fleet_dagster.ai.router import Question, question, questions
from fleet_dagster.ai.slots import Override, Slots
from fleet_dagster.core.windows import Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import feature_windows
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster.model.tables import AI_INFERENCE

UNREGISTERED = "unregistered"
"""Model of a slot that only a run's config names, unless it says more."""


@dataclass(frozen=True)
class Routed:
    """A chunk of windows on its way through the slots."""

    inputs: SlotInputs
    questions: Sequence[Question]
    known: Known

    def of_slot(self, slot_id: int, override: Override | None = None) -> list[Question]:
        """Return what one slot is asked; under an override, what the changed slot would be."""
        own = [q for q in self.questions if q.slot.slot_id == slot_id]
        if override is None:
            return own
        if not own:
            fresh = override(AIModelSlot(slot_id=slot_id, model_id=UNREGISTERED))
            return [question(self.inputs, fresh, self.inputs.span)]
        return [question(self.inputs, override(q.slot), q.run) for q in own]


def route(
    fleet: Fleet,
    site_kpi: pd.DataFrame,
    anomaly_score: pd.DataFrame,
    assignment: pd.DataFrame,
    span: Span,
    *,
    stored: pd.DataFrame | None = None,
    reach: int | None = None,
) -> Routed:
    """Find out what every slot is asked about the windows of `span`; all frames reach back by `reach` windows.

    By default these are `feature_windows`. `stored` rows of the span are taken over later where inputs and model are equal.
    """
    if reach is None:
        reach = feature_windows(fleet, span.start, span.end)
    inputs = SlotInputs.of(fleet, site_kpi, anomaly_score, assignment, span, reach=reach)
    rows = frames.empty_frame(AI_INFERENCE) if stored is None else stored
    return Routed(inputs, questions(inputs), Known.of(fleet, span, rows))


def collected(routed: Routed, answers: Sequence[Answers]) -> pd.DataFrame:
    """Return the rows of a chunk, once every slot has answered."""
    ordered = sorted(answers, key=lambda a: (a.question.slot.slot_id, a.question.run.start))
    return collect(routed.inputs, ordered)


def ai_inference(routed: Routed, slots: Slots) -> pd.DataFrame:
    """Ask every slot, one after the other, and return the rows."""
    return collected(routed, slots.ask(routed.questions, routed.inputs, routed.known))
