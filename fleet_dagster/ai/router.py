"""`ai_model_router`: which sites each slot is asked about, window by window, in event time: a replay asks the same."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.ai.inputs import SlotInputs
from fleet_dagster.core.windows import Span
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster.model.tables import ALL_DOMAINS

DECIMALS = 9
"""Scores and healths are compared rounded to so many."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a slot is asked over a run of windows; rows in order of window, then of site.

    Of a disabled slot nothing is asked: it has no rows, but stands for one row in each window.
    """

    slot: AIModelSlot
    run: Span
    window: NDArray[np.int64]
    """Windows from the start of the whole span, shape (n_rows,)."""
    site: NDArray[np.int64]
    """Sites by place, shape (n_rows,)."""
    is_limited: NDArray[np.bool_]
    """Rows beyond the rate limit, shape (n_rows,)."""


def questions(inputs: SlotInputs) -> list[Question]:
    """Return what every registered slot is asked over a span, slot by slot and run by run of equal settings."""
    found = []
    fleet, span = inputs.fleet, inputs.span
    for run in fleet.settings_runs(span.start, span.end):
        part = Span(run.start, run.end)
        found += [question(inputs, slot, part) for slot in run.version.settings.ai_models]
    return sorted(found, key=lambda q: (q.slot.slot_id, q.run.start))


def question(inputs: SlotInputs, slot: AIModelSlot, run: Span) -> Question:
    """Return what one slot is asked over a run of windows: the published site-windows of its domain, up to its rate limit."""
    nothing = np.empty(0, dtype=np.int64)
    if not slot.active:
        return Question(slot, run, nothing, nothing, nothing.astype(np.bool_))
    fleet = inputs.fleet
    part = inputs.sites.window_slice(run, fleet.interval)
    window, site = np.nonzero(_is_meant(inputs, slot)[:, part].T)
    capacity = int(slot.rate_limit_hz * fleet.config.interval_s + 1e-9)
    counts = np.bincount(window)
    is_limited = np.zeros(site.size, dtype=np.bool_)
    if counts.size and counts.max() > capacity:
        is_limited = _places(inputs, site, window + part.start, window, counts) >= capacity
    first = (run.start - inputs.span.start) // fleet.interval
    return Question(slot, run, window + first, site, is_limited)


def _is_meant(inputs: SlotInputs, slot: AIModelSlot) -> NDArray[np.bool_]:
    """Tell which site-windows a slot is meant for, shape (n_sites, n_windows) of the block."""
    published = inputs.sites.published & (inputs.regions.codes.T >= 0)
    if slot.domain == ALL_DOMAINS:
        return np.asarray(published)
    kpis = [
        grid
        for grid, kpi in zip(inputs.sites.kpis, inputs.fleet.config.kpis, strict=True)
        if kpi.domain == slot.domain
    ]
    has_any = np.zeros(published.shape, dtype=np.bool_)
    for grid in kpis:
        has_any |= ~np.isnan(grid)
    return np.asarray(published & has_any)


def _places(
    inputs: SlotInputs,
    site: NDArray[np.int64],
    at: NDArray[np.int64],
    window: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return each row's place in its window's queue: most anomalous first, then least healthy, then in order of registration."""
    score = np.round(inputs.scores["score"][site, at], DECIMALS)
    health = np.round(inputs.sites.health.score[site, at], DECIMALS)
    urgency = np.where(np.isnan(score), 1.0, -score)
    order = np.lexsort((site, np.where(np.isnan(health), 2.0, health), urgency, window))
    first = np.repeat(np.cumsum(counts) - counts, counts)
    place = np.empty(site.size, dtype=np.int64)
    place[order] = np.arange(site.size) - first
    return place


def disabled_windows(question: Question, span: Span, interval: int) -> Iterator[int]:
    """Yield the windows of a disabled slot, counted from the start of the span."""
    if not question.slot.active:
        yield from range(
            (question.run.start - span.start) // interval,
            (question.run.end - span.start) // interval,
        )
