"""Which windows that stand in the lake are no longer current, over all tables; and which were never computed."""

from collections.abc import Sequence

from fleet_dagster.core.windows import DAY, Span, gaps, union
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import (
    AI_INFERENCE,
    BASELINES,
    FLEET_CORRELATION,
    FLEET_KPI,
    SITE_TELEMETRY,
    Table,
    derived_tables,
)
from fleet_dagster.refresh.currency import Currency
from fleet_dagster.storage.maintenance import expired_days
from fleet_dagster.storage.store import Store

_FOLLOWING = (*BASELINES, FLEET_CORRELATION, AI_INFERENCE)
"""Tables that are brought up to date with others, or by a job of their own."""


def touched(store: Store, config: FleetConfig, span: Span) -> list[Span]:
    """Return the windows of a span that stand in the lake and are no longer current, of all derived tables.

    Windows that were never computed are not among them, nor are days whose telemetry has expired.
    """
    found = standing_and_stale(store, config, span)
    expired = [day for day in _days(found) if expired_days(store, config.name, day)]
    return [part for s in found for part in gaps(s, expired)]


def standing_and_stale(store: Store, config: FleetConfig, span: Span) -> list[Span]:
    """Return the same with expired days among them.

    A baseline that is no longer current shows in the rankings that it governs, and incidents are brought up to date with the
    scores of the days that they look back at.
    """
    currency = Currency(store.registry.fleet(config), store.history)
    tables = [t for t in derived_tables() if t not in _FOLLOWING]
    return union([s.clip(span) for t in tables for s in standing_part(currency, t, span)])


def never_computed(store: Store, config: FleetConfig, span: Span) -> list[Span]:
    """Return the UTC days of a span that hold telemetry and windows that were never computed."""
    start = store.registry.fleet(config).start
    landed = [Span(day, day + DAY) for day in store.lake.days(SITE_TELEMETRY, config.name)]
    inside = [d for d in landed if span.start <= d.start and d.end <= span.end and d.end > start]
    if not inside:
        return []
    hull = Span(inside[0].start, inside[-1].end)
    known = store.history.coverage.covered(FLEET_KPI.name, config.name, hull)
    stands = [c.span for c in known]
    return [d for d in inside if gaps(Span(max(d.start, start), d.end), stands)]


def shared(left: Sequence[Span], right: Sequence[Span]) -> list[Span]:
    """Return what two lists of disjoint spans in order of time have in common."""
    found, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        both = left[i].clip(right[j])
        if not both.is_empty:
            found.append(both)
        if left[i].end <= right[j].end:
            i += 1
        else:
            j += 1
    return found


def standing_part(currency: Currency, table: Table, span: Span) -> list[Span]:
    """Return the windows of one table that stand and are no longer current, among those that a span touches."""
    whole = span.to_whole(currency.grain(table))
    known = currency.history.coverage.covered(table.name, currency.fleet.name, whole)
    if not known:
        return []
    hull = Span(known[0].span.start, known[-1].span.end)
    return shared(currency.stale(table, hull), union([c.span for c in known]))


def _days(spans: Sequence[Span]) -> list[Span]:
    return [day for s in spans for day in s.to_whole(DAY).days()]
