"""`fleet retention`: what goes when its time is over, now or as a rehearsal."""

import click
from rich.table import Table

from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.terminal import console, counted, json_option, note, print_json
from fleet_dagster.storage.clock import now_us
from fleet_dagster.streams.retention import Removed, Retention
from fleet_dagster.views.retention_table import days_text, missed_text


@click.command()
@click.argument("fleet")
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@json_option
@installation_options
@click.pass_obj
def retention(place: Place, fleet: str, *, dry_run: bool, as_json: bool) -> None:
    """Remove the days of a fleet's tables and telemetry whose retention is over.

    The schedule does so every night. How long each is kept is set in the fleet's file: `retention` and
    `telemetry_retention_days`. Cut off half-way, the next run goes on. What a consumer of a stream had not read is named.
    """
    config = place.installation().config(fleet)
    done = Retention(place.store(), config, now_us(), note).run(dry_run=dry_run)
    if as_json:
        print_json({"fleet": fleet, "dry_run": dry_run, "tables": done})
        return
    console().print(_table(done))
    for missed in (m for one in done for m in one.missed):
        note(missed_text(missed))
    n_days = sum(len(one.days) for one in done)
    would = "would go. Nothing was removed" if dry_run else "removed"
    note(f"{counted(n_days, 'day')} {would}.")


def _table(done: list[Removed]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("table", "kept", "days", "rows"):
        table.add_column(name, justify="right" if name in ("kept", "rows") else "left")
    for one in done:
        rows = (
            "later"
            if one.n_rows is None and one.days
            else f"{(one.n_rows or 0) + one.n_replaced:,}"
        )
        table.add_row(one.table, f"{one.kept_days} d", days_text(one.days), rows)
    return table
