"""How much of a span is computed and committed at once, table by table."""

from collections.abc import Iterator, Sequence

from fleet_dagster.core.windows import DAY, HOUR, Span, floor_to
from fleet_dagster.frames.baseline_models import domains_of
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.tables import AI_INFERENCE, ANOMALY_SCORE, FLEET_CORRELATION, Table

CHUNK_ROWS = 1_000_000
"""Rows computed and committed together: bounds memory, and keeps small fleets' commits few."""


def chunks(fleet: Fleet, table: Table, spans: Sequence[Span]) -> Iterator[Span]:
    """Cut spans into pieces of whole days, or of whole hours where a day is too much at once."""
    for span in spans:
        step = _step(fleet, table, span)
        start = span.start
        while start < span.end:
            end = min(floor_to(start, DAY if step >= DAY else HOUR) + step, span.end)
            yield Span(start, end)
            start = end


def _step(fleet: Fleet, table: Table, span: Span) -> int:
    site_windows = max(1, len(fleet.sites)) * (HOUR // fleet.interval)
    hours = max(1, CHUNK_ROWS // (site_windows * _rows_of(fleet, table, span)))
    if table is FLEET_CORRELATION:  # few rows, each made by going through the days before
        hours = max(24, hours)
    return hours // 24 * DAY or hours * HOUR


def _rows_of(fleet: Fleet, table: Table, span: Span) -> int:
    """Return how many rows a site-window has in a table, at most; a table of fewer reads site rows, one each."""
    if table is ANOMALY_SCORE:
        return len(domains_of(fleet.config))
    if table is AI_INFERENCE:
        runs = fleet.settings_runs(span.start, span.end)
        slots = (run.version.settings.ai_models for run in runs)
        return max(1, *(sum(slot.active for slot in own) for own in slots), 1)
    return 1
