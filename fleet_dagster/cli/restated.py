"""Restated windows in the terminal: what they held before, what they hold now, and why."""

from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table as Grid

from fleet_dagster.cli.place import Place
from fleet_dagster.cli.spans import span_between
from fleet_dagster.cli.terminal import console, counted, print_json
from fleet_dagster.core.windows import DAY, SECOND, Span, union
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import FLEET_KPI, REGIONAL_HEALTH, SITE_RANKING, Table
from fleet_dagster.storage.restatements import Restatement, restatements
from fleet_dagster.storage.status import newest_end
from fleet_dagster.storage.store import Store

_SHOWN_DAYS = 7
_ROWS_SHOWN = 40


def refuse_wrong_use(
    fleet: str | None, at: str | None, start: str | None, end: str | None, *, restated: bool
) -> None:
    """Refuse options that do not go together; `at` is whatever asks for one window or site."""
    message = ""
    if restated and (fleet is None or at is not None):
        message = "--restated goes with a FLEET, and not with --at or --site. Name a span by --from and --to."
    elif (start is None) != (end is None):
        message = "Name both --from and --to."
    elif start is not None and not restated:
        message = "--from and --to go with --restated. To see one window, name an instant by --at."
    if message:
        raise click.UsageError(message)


def list_restated(
    place: Place, config: FleetConfig, start: str | None, end: str | None, *, as_json: bool
) -> None:
    """Print a fleet's restatements, for people or for machines."""
    store = place.store()
    span = _span_shown(store, config, start, end)
    found = restatements(store, config.name, span)
    if as_json:
        print_json(found)
    else:
        _show_restated(console(), config.name, found)
        _show_others(console(), store, config, span)


def _span_shown(store: Store, config: FleetConfig, start: str | None, end: str | None) -> Span:
    """Return the span that the options name; by default the last days up to the newest window."""
    if start is not None and end is not None:
        return span_between(config, start, end)
    newest = newest_end(store, FLEET_KPI, config.name) or 0
    return Span(max(0, newest - _SHOWN_DAYS * DAY), newest)


def _show_restated(screen: Console, fleet: str, found: Sequence[Restatement]) -> None:
    """Print restatements, the newest windows first."""
    n_windows = len({r.window_start for r in found})
    screen.print(f"[bold]{fleet}[/bold]  {counted(n_windows, 'window')} restated; times are UTC")
    table = Grid(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("  window", "rev", "restated at", "health", "coverage"):
        table.add_column(name, justify="right" if name == "rev" else "left", no_wrap=True)
    table.add_column("because of")
    for one in found[:_ROWS_SHOWN]:
        table.add_row(
            f"  {one.window_start:%Y-%m-%d %H:%M:%S}",
            str(one.revision),
            f"{one.restated_at:%m-%d %H:%M}",
            f"{one.earlier_health:.4f}→{one.health:.4f}",
            f"{100 * one.earlier_coverage:.0f}→{one.coverage:.0%}",
            one.why,
        )
    if found:
        screen.print(table)
    if len(found) > _ROWS_SHOWN:
        screen.print(f"  and {len(found) - _ROWS_SHOWN:,} more: see --json, or a shorter span")


def _show_others(screen: Console, store: Store, config: FleetConfig, span: Span) -> None:
    """Count the restated windows of the tables that are not listed, and say how their earlier rows are read."""
    counts = {t.name: _n_restated(store, t, config, span) for t in (REGIONAL_HEALTH, SITE_RANKING)}
    if any(counts.values()):
        said = ", ".join(f"{n:,} of {name}" for name, n in counts.items())
        screen.print(f"Also restated: {said} (fleet export {config.name} TABLE --superseded)")


def _n_restated(store: Store, table: Table, config: FleetConfig, span: Span) -> int:
    """Return how many windows of a span the commit log says were restated, each counted once."""
    entries = store.history.entries(table.name, config.name, span, kind="restate")
    restated = union([e.span.clip(span) for e in entries])
    return sum(s.end - s.start for s in restated) // (config.interval_s * SECOND)
