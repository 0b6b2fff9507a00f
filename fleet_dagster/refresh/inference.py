"""`ai_inference` in three steps, as the ops of a graph take them: route a span, let each slot answer, write the rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fleet_dagster.ai.answers import FAILED, Answers
from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.router import Question
from fleet_dagster.ai.slots import Override, opened
from fleet_dagster.core.windows import Span, union
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.features import MAX_REACH
from fleet_dagster.model.tables import AI_INFERENCE
from fleet_dagster.nodes.ai_inference import Routed, collected
from fleet_dagster.refresh.chunks import chunks
from fleet_dagster.refresh.node_work import NodeWork
from fleet_dagster.refresh.refresh import Block, Outcome, Refresh
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.coverage import Covered
from fleet_dagster.storage.maintenance import expired_days

LOST = "the slot's op failed; its log says why"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some windows on their way through the slots."""

    span: Span
    routed: Routed
    covered: Sequence[Covered]
    """What the rows depend on, named before anything was read."""


@dataclass(frozen=True, slots=True)
class RoutedSpan:
    """What is to be asked about a span."""

    span: Span
    chunks: tuple[Chunk, ...]
    overrides: Mapping[int, Override]
    """Slots that are changed for this run; where there are any, the run is a trial."""
    work: NodeWork
    """What the node has done so far, from its first step on."""


SlotAnswers = Sequence[Sequence[Answers]]
"""One slot's answers, chunk by chunk."""


def route_span(refresh: Refresh, span: Span, overrides: Mapping[int, Override]) -> RoutedSpan:
    """Find out which windows of a span need answers, and what each slot is asked about them.

    A trial asks about every window.
    """
    refresh.baselines(refresh.fed_span(span))
    own = replace(refresh, recompute=True) if overrides else refresh
    work = own.work("ai_inference", (AI_INFERENCE,))
    fleet, wanted = own.round((AI_INFERENCE,), span, is_first=True)
    routed = []
    for part in chunks(fleet, AI_INFERENCE, wanted):
        own.refuse(expired_days(own.store, own.name, part))
        block = Block.now(own.store, own.config, work.tally)
        covered = block.currency.pieces(AI_INFERENCE, part, landing=block.landing)
        reach = MAX_REACH if overrides else None
        routed.append(Chunk(part, own.routed(block, part, reach=reach), covered))
        own.progress("ai_model_router", part, span)
    return RoutedSpan(span, tuple(routed), overrides, work)


def ask_slot(refresh: Refresh, routed: RoutedSpan, slot_id: int) -> SlotAnswers:
    """Let one slot answer what it is asked."""
    found = []
    with opened(ModelFolder(refresh.store.models)) as slots:
        for chunk in routed.chunks:
            asked = chunk.routed.of_slot(slot_id, routed.overrides.get(slot_id))
            found.append(slots.ask(asked, chunk.routed.inputs, chunk.routed.known))
            if asked:
                refresh.progress(f"slot_{slot_id:02d}", chunk.span, routed.span)
    return found


def record_answers(
    refresh: Refresh, routed: RoutedSpan, answers: Mapping[int, SlotAnswers]
) -> Outcome:
    """Write what the slots answered; of a slot that gave nothing, that it failed. A trial's rows go to the trial table.

    A chunk that another run has brought up to date meanwhile is left as it is.
    """
    reports, wrong, computed = [], list[str](), []
    for n, chunk in enumerate(routed.chunks):
        own = [one for of_slot in answers.values() for one in of_slot[n]]
        lost = [q for q in chunk.routed.questions if q.slot.slot_id not in answers]
        rows = collected(chunk.routed, [*own, *map(_lost, lost)])
        if routed.overrides:
            table = frames.arrow_of(AI_INFERENCE, schema_of(AI_INFERENCE), refresh.name, rows)
            refresh.store.trials.append(AI_INFERENCE, table, run_id=refresh.run_id, now=now_us())
            continue
        with refresh.store.door.hold((AI_INFERENCE,), refresh.name, chunk.span) as holder:
            block = Block.now(refresh.store, refresh.config)
            if not refresh.recompute and not block.currency.stale(AI_INFERENCE, chunk.span):
                continue
            report, found = refresh.write(
                block, AI_INFERENCE, rows, chunk.covered, chunk.span, holder=holder
            )
        routed.work.tally.made(AI_INFERENCE, rows)
        reports += [report] if report else []
        wrong += found
        computed.append(chunk.span)
    refresh.store.history.coverage.settle(refresh.name, [AI_INFERENCE.name], refresh.settled_end())
    done = tuple(union(computed))
    refresh.tell(routed.work, routed.span, done, reports)
    return Outcome(AI_INFERENCE, routed.span, done, tuple(reports), tuple(wrong))


def _lost(question: Question) -> Answers:
    answers = Answers.none_yet(question)
    answers.fail(np.flatnonzero(~question.is_limited), FAILED, LOST)
    return answers
