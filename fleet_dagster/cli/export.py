"""`fleet export`: a table's rows as a file for other programs."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import pyarrow as pa

from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.simulation_file import FileKind, table_writer
from fleet_dagster.cli.spans import from_option, span_between, to_option
from fleet_dagster.cli.standing import standing_fleet
from fleet_dagster.cli.terminal import counted, note, progress_bar
from fleet_dagster.core.windows import Span
from fleet_dagster.model.tables import (
    FLEET_KPI,
    SITE_TELEMETRY,
    TABLES,
    Table,
    derived_tables,
    superseded,
)
from fleet_dagster.storage.restatements import earlier_rows
from fleet_dagster.storage.status import with_history
from fleet_dagster.storage.store import Store

_EXPORTED = {**TABLES, **{superseded(t).name: superseded(t) for t in derived_tables()}}
ReadRows = Callable[[Store, Table, str, Span], pa.Table]
_KINDS: dict[str, FileKind] = {".csv": "csv", ".parquet": "parquet", ".jsonl": "jsonl"}


@click.command()
@click.argument("fleet")
@click.argument("table", type=click.Choice(sorted(_EXPORTED)), metavar="TABLE")
@from_option
@to_option
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write: .csv, .parquet or .jsonl.",
)
@click.option(
    "--trial", metavar="RUN_ID", help="What a run tried out with `fleet run --as-of`, instead."
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.option(
    "--superseded",
    "is_earlier",
    is_flag=True,
    help="The rows that restated windows held before, with their revisions.",
)
@installation_options
@click.pass_obj
def export(
    place: Place,
    fleet: str,
    table: str,
    start: str,
    end: str,
    *,
    out: Path,
    trial: str | None,
    force: bool,
    is_earlier: bool,
) -> None:
    """Write a table's rows to a CSV or Parquet file.

    Rows are those of the windows that start within the span, in order of the table's key. `fleet_kpi` comes with each
    window's state (provisional, final, restated) and revision. Exit code 1 when there are no rows.
    """
    kind = _KINDS.get(out.suffix.lower())
    if kind is None:
        message = f"{out.name!r} ends in {out.suffix or 'nothing'}, expected {', '.join(_KINDS)}."
        raise click.BadParameter(message, param_hint="--out")
    if out.exists() and not force:
        message = f"{out} exists. Choose another file, or add --force."
        raise click.BadParameter(message, param_hint="--out")
    rows_of, chosen = _source(table, is_earlier=is_earlier, trial=trial)
    config = standing_fleet(place.installation(), fleet)
    span, store, n_rows = span_between(config, start, end), place.store(), 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with progress_bar(f"exporting {table}") as bar, table_writer(out, kind) as write:
        for day in span.days():
            rows = rows_of(store, chosen, fleet, day)
            if rows.num_rows:
                write(rows)
            n_rows += rows.num_rows
            bar.update(day.end - span.start, span.end - span.start)
    if not n_rows:
        out.unlink(missing_ok=True)
        advice = f"Compute them: fleet run {fleet} --from {start} --to {end}"
        missing, then = ("rows", advice)
        if is_earlier:
            missing, then = "earlier rows", "Nothing was restated."
        if trial is not None:
            missing = f"rows of a trial {trial!r}"
            then = f"Its run id is what `fleet run {fleet} ... --as-of` prints, and the run of job {fleet}_trial in the UI."
        note(f"{table} of fleet {fleet} has no {missing} from {start} to {end}. {then}")
        raise SystemExit(1)
    note(f"Wrote {counted(n_rows, 'row')} of {table} to {out}.")


def _with_history(table: str) -> Table:
    """Return a computed table, which keeps what was replaced and what was tried out."""
    kept = [t.name for t in derived_tables()]
    if table not in kept:
        message = f"{table} is not computed. Choose one of {', '.join(kept)}."
        raise click.BadParameter(message, param_hint="TABLE")
    return TABLES[table]


def _source(table: str, *, is_earlier: bool, trial: str | None) -> tuple[ReadRows, Table]:
    """Return what reads the rows asked for, and the table it reads."""
    if is_earlier and trial is not None:
        message = "--superseded and --trial exclude each other."
        raise click.UsageError(message)
    if trial is not None:
        return partial(_tried_rows, trial), _with_history(table)
    return (_earlier_rows, _with_history(table)) if is_earlier else (_rows, _EXPORTED[table])


def _tried_rows(run_id: str, store: Store, table: Table, fleet: str, day: Span) -> pa.Table:
    return _ordered(table, store.trials.rows(table, fleet, day, run_id=run_id))


def _earlier_rows(store: Store, table: Table, fleet: str, day: Span) -> pa.Table:
    return pa.Table.from_pandas(earlier_rows(store, table, fleet, day), preserve_index=False)


def _rows(store: Store, table: Table, fleet: str, day: Span) -> pa.Table:
    column = "timestamp" if table is SITE_TELEMETRY else "window_start"
    plain = _ordered(table, store.lake.read(table, fleet, day, time_column=column))
    if table is not FLEET_KPI or not plain.num_rows:
        return plain
    history = with_history(
        store, table, fleet, plain.select(["window_start", "window_end"]).to_pandas()
    )
    for name in ("state", "revision"):
        plain = plain.append_column(name, pa.Array.from_pandas(history[name]))
    return plain


def _ordered(table: Table, rows: pa.Table) -> pa.Table:
    """Return rows in order of the table's key, names spelled out."""
    column = "timestamp" if table is SITE_TELEMETRY else "window_start"
    keys = [column, *(k for k in table.key if k not in ("fleet", column))]
    plain = rows.cast(pa.schema([_plain_field(f) for f in rows.schema]))
    return plain.sort_by([(k, "ascending") for k in keys])


def _plain_field(field: pa.Field) -> pa.Field:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return pa.field(field.name, kind, field.nullable)
