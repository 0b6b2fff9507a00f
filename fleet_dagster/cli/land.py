"""`fleet import` and `fleet simulate`: telemetry from files, and files of made-up telemetry."""

from pathlib import Path
from typing import Literal

import click

from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.simulated import land_simulated, scenario_of
from fleet_dagster.cli.simulation_file import TruthBook, table_writer
from fleet_dagster.cli.spans import from_option, read_instant, span_between, to_option
from fleet_dagster.cli.terminal import counted, json_option, note, print_json, progress_bar
from fleet_dagster.ingest.importing import ImportReport, import_file
from fleet_dagster.ingest.simulator import KINDS, Kind
from fleet_dagster.ingest.simulator import simulate as simulate_span
from fleet_dagster.model.errors import SourceError
from fleet_dagster.storage.clock import now_us

_TOP_REASONS = 5
_TOP_SITES = 10


@click.command("import")
@click.argument("fleet")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--historical", is_flag=True, help="The files hold history: no snapshot is too late.")
@click.option(
    "--received-at",
    metavar="INSTANT",
    help="When the snapshots arrived, where the source does not say. [default: now]",
)
@json_option
@installation_options
@click.pass_obj
def import_(
    place: Place,
    fleet: str,
    files: tuple[Path, ...],
    *,
    historical: bool,
    received_at: str | None,
    as_json: bool,
) -> None:
    """Land telemetry from CSV, JSON Lines or Parquet files.

    A file is checked whole before anything of it is landed; one that cannot be read does not keep the others out. Rows
    that cannot be used are quarantined with the reason. A file that was landed before lands nothing, and an interrupted
    import goes on where it was. Exit code 1 when every row landed is unusable, 2 when a file cannot be read.
    """
    installation = place.installation()
    config = installation.config(fleet)
    received = read_instant(config, received_at, name="--received-at") if received_at else now_us()
    store = place.store()
    store.registry.apply(config, source=fleet)
    reports: list[ImportReport] = []
    for path in files:
        try:
            with progress_bar(f"landing {path.name}") as bar:
                report = import_file(
                    store,
                    config,
                    path,
                    received_at_us=received,
                    historical=historical,
                    progress=bar.update,
                )
        except SourceError as error:
            note(f"Error: {error}")
            continue
        reports.append(report)
        if not as_json:
            _show(report)
    if as_json:
        print_json(reports)
    else:
        _show_next(fleet, reports)
    _conclude(len(files), reports, historical=historical)


@click.command()
@click.argument("fleet")
@from_option
@to_option
@click.option("--seed", default=0, show_default=True, help="Equal seeds give equal telemetry.")
@click.option(
    "--kind", type=click.Choice(KINDS), help="Kind of sites. [default: by the KPIs' names]"
)
@click.option(
    "--faults/--no-faults", default=True, help="Plant faults and bad snapshots. [default: faults]"
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to. [default: here]",
)
@click.option(
    "--format",
    "kind_of_file",
    type=click.Choice(["parquet", "csv", "jsonl"]),
    default="parquet",
    show_default=True,
    help="Kind of file.",
)
@click.option(
    "--land", is_flag=True, help="Land the telemetry too, as received when it was simulated to be."
)
@installation_options
@click.pass_obj
def simulate(
    place: Place,
    fleet: str,
    start: str,
    end: str,
    *,
    seed: int,
    kind: Kind | None,
    faults: bool,
    out: Path | None,
    kind_of_file: Literal["parquet", "csv", "jsonl"],
    land: bool,
) -> None:
    """Make demo telemetry with planted faults, and the truth about them.

    Writes FLEET_FROM_TO.parquet and, beside it, FLEET_FROM_TO.truth.json with every planted fault. Equal seeds give equal
    telemetry, however the span is cut.
    """
    installation = place.installation()
    config = installation.config(fleet)
    span, folder = span_between(config, start, end), out or Path.cwd()
    scenario = scenario_of(config, seed=seed, kind=kind, has_faults=faults)
    store = place.store() if land else None
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{fleet}_{start}_{end}".replace(":", "")
    path, truth, n_rows, n_landed = folder / f"{stem}.{kind_of_file}", TruthBook(), 0, 0
    with progress_bar(f"simulating {fleet}") as bar, table_writer(path, kind_of_file) as write:
        for day in span.days():
            simulated = simulate_span(config, scenario, day.start, day.end)
            write(simulated.telemetry)
            truth.add(simulated.truth)
            n_rows += simulated.telemetry.num_rows
            if store is not None:
                n_landed += land_simulated(store, config, simulated, scenario=scenario, span=day)
            bar.update(day.end - span.start, span.end - span.start)
    truth.write(folder / f"{stem}.truth.json")
    note(
        f"Wrote {path} ({counted(n_rows, 'snapshot')}) and {stem}.truth.json ({counted(len(truth.events), 'planted fault')})."
    )
    if store is not None:
        note(
            f"Landed {counted(n_landed, 'snapshot')}. Next: fleet run {fleet} --from {start} --to {end}"
        )
    else:
        note(f"Land it: fleet import {fleet} {path} --historical")


def _show(report: ImportReport) -> None:
    if not report.is_new:
        click.echo(
            f"{report.source}: {counted(report.n_rows, 'row')}, all landed before. Nothing was landed."
        )
        return
    before = report.n_rows - report.n_landed
    resumed = f" ({before:,} had been landed before)" if before else ""
    click.echo(
        f"{report.source}: {counted(report.n_landed, 'row')} landed{resumed}, {report.n_quarantined:,} of them quarantined."
    )
    for reason in report.reasons[:_TOP_REASONS]:
        click.echo(f"  {reason.n_rows:>8,}  {reason.problem}: {reason.example}")
    hidden = report.reasons[_TOP_REASONS:]
    if hidden:
        n_rows = sum(r.n_rows for r in hidden)
        click.echo(f"  {n_rows:>8,}  for {counted(len(hidden), 'other reason')}")
    if report.n_without_time:
        have, are = ("has", "is") if report.n_without_time == 1 else ("have", "are")
        click.echo(
            f"{counted(report.n_without_time, 'row')} {have} no usable time and {are} filed under the day of receipt, "
            f"{', '.join(report.receipt_days)}."
        )
    if report.unmapped_sites:
        click.echo(_unmapped(report.unmapped_sites))


def _unmapped(sites: tuple[str, ...]) -> str:
    names = ", ".join(repr(site) for site in sites[:_TOP_SITES])
    more = f" and {len(sites) - _TOP_SITES:,} more" if len(sites) > _TOP_SITES else ""
    one = len(sites) == 1
    fate = (
        "it counts as unmapped from its first snapshot on: map it in region_mappings, or fix the name"
        if one
        else "they count as unmapped from their first snapshots on: map them in region_mappings, or fix the names"
    )
    return f"{counted(len(sites), 'site')} that no mapping names: {names}{more}; {fate}."


def _show_next(fleet: str, reports: list[ImportReport]) -> None:
    days = sorted({day for report in reports for day in report.days})
    if not days:
        return
    reaches_further = any(report.new_sites or report.n_without_time for report in reports)
    span = "--all" if reaches_further else f"--from {days[0]} --to {days[-1]}"
    click.echo(f"{counted(len(days), 'day')} touched, {days[0]} to {days[-1]}.")
    click.echo(f"Next: fleet run {fleet} {span}")


def _conclude(n_files: int, reports: list[ImportReport], *, historical: bool) -> None:
    """End with the exit code that suits: files that cannot be read first, then rows that cannot be used."""
    n_failed = n_files - len(reports)
    if n_failed:
        if n_files > 1:
            note(
                f"{n_failed} of {n_files} files cannot be read, and nothing of them was landed; see above."
            )
        raise SystemExit(2)
    landed = [report for report in reports if report.is_new]
    if landed and all(report.is_unusable for report in landed):
        late = sum(r.n_rows for report in landed for r in report.reasons if r.problem == "too_late")
        mostly_late = not historical and 2 * late > sum(report.n_landed for report in landed)
        advice = (
            "If this is history, import it with --historical."
            if mostly_late
            else "Compare the reasons above with `source:` in the fleet's file, and import again."
        )
        note(f"Every row is unusable. {advice}")
        raise SystemExit(1)
