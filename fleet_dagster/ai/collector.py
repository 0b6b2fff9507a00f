"""Answers as rows of `ai_inference`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.ai.answers import DISABLED, FAILED, OK, TIMED_OUT, Answers, model_digest
from fleet_dagster.ai.inputs import SlotInputs
from fleet_dagster.ai.known import hex_of
from fleet_dagster.ai.router import Question, disabled_windows
from fleet_dagster.core.windows import Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster.model.tables import AI_INFERENCE, OUTCOMES


def collect(inputs: SlotInputs, answers: Sequence[Answers]) -> pd.DataFrame:
    """Return one row for each site-window asked for, and one a window for each disabled slot, in order of window."""
    parts = [_with_disabled(own, inputs.span, inputs.fleet.interval) for own in answers]
    if not parts:
        return frames.empty_frame(AI_INFERENCE)
    slots = [own.question.slot for own in answers]
    which = np.repeat(np.arange(len(parts)), [len(p.question.site) for p in parts])
    window, site = (_joined(parts, name) for name in ("window", "site"))
    order = np.argsort(
        window, kind="stable"
    )  # the answers come slot by slot, each by window and site
    which, window, site = which[order], window[order], site[order]
    outcome = np.concatenate([p.outcome for p in parts])[order]
    prediction, confidence, latency, digest = (
        np.concatenate([getattr(p, n) for p in parts])[order]
        for n in ("prediction", "confidence", "latency_us", "input_digest")
    )
    errors = list(dict.fromkeys(error for p in parts for error in p.errors))
    error = np.concatenate([_renumbered(p, errors) for p in parts])[order]
    is_site = site >= 0
    starts = inputs.span.start + window * inputs.fleet.interval
    region = np.where(
        is_site, inputs.regions.codes[window + inputs.reach, site], len(inputs.regions.vocabulary)
    )
    threshold = _of_slots(slots, "confidence_threshold")[which]
    models = [model_digest(slot) for slot in slots]
    has_input = np.isin(outcome, (OK, FAILED, TIMED_OUT)) & (digest != 0)
    columns = {
        "window_start": frames.stamps(starts),
        "window_end": frames.stamps(starts + inputs.fleet.interval),
        "slot_id": _of_slots(slots, "slot_id")[which].astype(np.int8),
        "site_id": frames.names(
            np.where(is_site, site, len(inputs.fleet.sites)),
            [*(s.site_id for s in inputs.fleet.sites), ""],
        ),
        "region_id": frames.names(region, [*inputs.regions.vocabulary, ""]),
        "model_id": _named([slot.model_id for slot in slots], which),
        "version": _named([slot.version for slot in slots], which),
        "prediction": prediction,
        "confidence": confidence,
        "accepted": (outcome == OK) & (confidence >= threshold),
        "outcome": frames.names(outcome.astype(np.int64), OUTCOMES),
        "error": frames.names(error.astype(np.int64), errors),
        "latency_us": pd.array(np.where(latency < 0, 0, latency), dtype="Int64").copy(),
        "input_digest": hex_of(digest, ~has_input),
        "model_digest": _named(models, np.where(is_site, which, -1)),
    }
    columns["latency_us"][latency < 0] = pd.NA
    return frames.frame_of(AI_INFERENCE, columns)


def _with_disabled(answers: Answers, span: Span, interval: int) -> Answers:
    """Return answers with the rows of a slot that is disabled; the site is then -1."""
    own = answers.question
    windows = np.fromiter(disabled_windows(own, span, interval), dtype=np.int64)
    if not windows.size:
        return answers
    stand_in = Question(
        own.slot, own.run, windows, np.full(windows.size, -1), np.zeros(windows.size, np.bool_)
    )
    silent = Answers.none_yet(stand_in)
    silent.outcome[:] = DISABLED
    return silent


def _joined(parts: Sequence[Answers], name: str) -> NDArray[np.int64]:
    return np.concatenate([getattr(p.question, name) for p in parts])


def _of_slots(slots: Sequence[AIModelSlot], name: str) -> NDArray[np.float64]:
    return np.array([getattr(slot, name) for slot in slots], dtype=np.float64)


def _named(names: Sequence[str], which: NDArray[np.int64]) -> pd.Categorical:
    vocabulary = list(dict.fromkeys(names))
    codes = np.array([*(vocabulary.index(name) for name in names), -1], dtype=np.int64)
    return frames.names(codes[which], vocabulary)


def _renumbered(part: Answers, errors: Sequence[str]) -> NDArray[np.int64]:
    codes = np.array([*(errors.index(error) for error in part.errors), -1], dtype=np.int64)
    return codes[part.error]
