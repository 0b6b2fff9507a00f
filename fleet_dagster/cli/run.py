"""`fleet run`: a fleet's windows computed through Dagster, in this process."""

import click

from fleet_dagster.cli.backfill import (
    BackfillReport,
    backfill,
    partitions_between,
    partitions_with_telemetry,
)
from fleet_dagster.cli.dagster_home import dagster_instance
from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.spans import optional_from, optional_to, span_between
from fleet_dagster.cli.terminal import counted, json_option, note, print_json, progress_bar
from fleet_dagster.cli.trial import try_settings
from fleet_dagster.model.rules import doubts
from fleet_dagster.storage.clock import now_us


@click.command()
@click.argument("fleet")
@optional_from
@optional_to
@click.option("--all", "everything", is_flag=True, help="Every day that has telemetry.")
@click.option(
    "--recompute", is_flag=True, help="Compute windows even where they are proven current."
)
@click.option(
    "--as-of",
    metavar="INSTANT|now",
    help="Try out the settings of this instant on all windows: rows go to the trial tables, what stands is not touched.",
)
@json_option
@installation_options
@click.pass_obj
def run(
    place: Place,
    fleet: str,
    start: str | None,
    end: str | None,
    *,
    everything: bool,
    recompute: bool,
    as_of: str | None,
    as_json: bool,
) -> None:
    """Compute a fleet's windows through Dagster, and wait.

    The partitions that the span touches are materialized in runs of up to ten days; the runs are in the UI. Windows that
    are current are left alone. Each window is computed with the settings in force then, unless --as-of says otherwise. Exit code 1 when a run fails, with the step and its message.
    """
    installation = place.installation()
    config = installation.config(fleet)
    store = place.store()
    if as_of is not None:
        try_settings(place, config, start, end, as_of=as_of, as_json=as_json)
        return
    if everything and start is None and end is None:
        keys = partitions_with_telemetry(store, config, now=now_us())
    elif start is not None and end is not None and not everything:
        keys = partitions_between(config, span_between(config, start, end), now=now_us())
    else:
        message = "Name either both --from and --to, or --all."
        raise click.UsageError(message)
    for _, doubt in doubts(config):
        note(f"Fleet {fleet}: {doubt}")
    store.registry.apply(config, source=fleet)
    n_done, last = 0, ""
    try:
        with dagster_instance(installation) as instance, progress_bar(f"computing {fleet}") as bar:

            def show(done: int, total: int, key: str) -> None:
                nonlocal n_done, last
                n_done, last = done, key
                bar.update(done, total)

            report = backfill(
                installation, instance, config, keys, recompute=recompute, progress=show
            )
    except KeyboardInterrupt:
        through = f", through {last}" if last else ""
        note(
            f"Interrupted: {n_done} of {counted(len(keys), 'partition')} done{through}. Run the same command again to go on."
        )
        raise SystemExit(130) from None
    if as_json:
        print_json(report)
    _conclude(fleet, report, recompute=recompute, is_quiet=as_json)


def _conclude(fleet: str, report: BackfillReport, *, recompute: bool, is_quiet: bool) -> None:
    if report.failure is not None:
        note(
            f"Run {report.failure.run_id} failed in {report.failure.step}: {report.failure.message}"
        )
        note(f"{report.n_done} of {counted(len(report.partitions), 'partition')} done.")
        raise SystemExit(1)
    if not is_quiet:
        click.echo(f"{_outcome(report, recompute=recompute)}. See: fleet status {fleet}")


def _outcome(report: BackfillReport, *, recompute: bool) -> str:
    partitions, rows = counted(report.n_done, "partition"), counted(report.rows_written, "row")
    if recompute:
        changed = f"{rows} changed" if report.rows_written else "no row differs"
        return f"Recomputed {partitions}, {changed}"
    written = f"{rows} written" if report.rows_written else "everything was current"
    return f"{partitions} done, {written}"
