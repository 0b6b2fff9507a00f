"""Which stored windows a change has touched: what late data and settings sensors ask for."""

from fleet_dagster.core.windows import DAY, Span, gaps, union
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import Table, derived_tables
from fleet_dagster.refresh.currency import Currency
from fleet_dagster.storage.maintenance import expired_days
from fleet_dagster.storage.store import Store


def touched(store: Store, config: FleetConfig, span: Span) -> list[Span]:
    """Return the windows of a span that stand in the lake and are no longer current, of all derived tables.

    Windows that were never computed are not among them, nor are days whose telemetry has expired.
    """
    currency = Currency(store.registry.fleet(config), store.history)
    found = union([s for table in derived_tables() for s in _touched(currency, table, span)])
    expired = [day for day in _days(found) if expired_days(store, config.name, day)]
    return [part for s in found for part in gaps(s, expired)]


def _touched(currency: Currency, table: Table, span: Span) -> list[Span]:
    """Return one table's, cut to what stands: a span may be far longer than that."""
    whole = span.to_whole(currency.grain(table))
    standing = currency.history.coverage.covered(table.name, currency.fleet.name, whole)
    if not standing:
        return []
    stale = currency.stale(table, Span(standing[0].span.start, standing[-1].span.end))
    return [c.span.clip(s) for c in standing for s in stale if c.span.overlaps(s)]


def _days(spans: list[Span]) -> list[Span]:
    return [day for s in spans for day in s.to_whole(DAY).days()]
