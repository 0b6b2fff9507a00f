"""What slots answered, for people and machines."""

import click
import pandas as pd
from rich.table import Table

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.dry_run import DryRun
from fleet_dagster.ai.slots import opened
from fleet_dagster.cli.terminal import console, note, print_json
from fleet_dagster.core.windows import HOUR, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.features import MAX_REACH
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster.model.tables import SITE_KPI
from fleet_dagster.nodes.ai_inference import collected
from fleet_dagster.refresh.refresh import Block, Refresh
from fleet_dagster.storage.store import Store

_SHOWN = 12
_COLUMNS = ("window_start", "site_id", "prediction", "confidence", "accepted", "outcome", "error")


def newest_answers(store: Store, config: FleetConfig, slot: AIModelSlot) -> pd.DataFrame:
    """Return what a slot answers about the newest computed hour; nothing is written."""
    end = store.history.coverage.newest_end(SITE_KPI.name, config.name)
    if not end:
        return pd.DataFrame(columns=list(_COLUMNS))
    refresh = Refresh(store, config)
    span = Span(max(0, end - HOUR), end)
    routed = refresh.routed(Block.now(store, config), span, reach=MAX_REACH, stored=False)
    asked = routed.of_slot(slot.slot_id, lambda _one: slot)
    with opened(ModelFolder(store.models)) as slots:
        return collected(routed, slots.ask(asked, routed.inputs, routed.known))


def show_answers(
    slot: AIModelSlot, done: DryRun | None, rows: pd.DataFrame, *, as_json: bool
) -> None:
    """Show what a slot answered; ends with exit code 1 where it answered nothing it was asked."""
    counts = {str(name): int(n) for name, n in rows["outcome"].astype("str").value_counts().items()}
    errors = sorted(set(rows["error"].dropna().astype("str")))
    if as_json:
        print_json({"slot": slot.slot_id, "dry_run": done, "outcomes": counts, "errors": errors})
    elif rows.empty:
        note("No window is computed yet: it was tried out on made-up inputs only.")
    else:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for name in _COLUMNS:
            table.add_column(name.replace("_", " "))
        for row in rows.tail(_SHOWN)[list(_COLUMNS)].itertuples(index=False):
            table.add_row(*("-" if pd.isna(cell) else _cell(cell) for cell in row))
        console().print(table)
        outcomes = ", ".join(f"{n:,} {name}" for name, n in counts.items())
        click.echo(f"Slot {slot.slot_id} ({slot.model_id} {slot.version}), newest hour: {outcomes}")
        for error in errors:
            click.echo(f"  {error}")
    if len(rows) and slot.active and not counts.get("ok"):
        raise SystemExit(1)


def _cell(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.6g}"
    if isinstance(cell, pd.Timestamp):
        return f"{cell:%Y-%m-%d %H:%M:%S}"
    return str(cell)
