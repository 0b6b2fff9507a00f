"""`fleet run --as-of`: settings tried out on past windows, through Dagster."""

from typing import TYPE_CHECKING, Any

import click

from fleet_dagster.cli.dagster_home import dagster_instance
from fleet_dagster.cli.place import Place
from fleet_dagster.cli.spans import read_instant, span_between
from fleet_dagster.cli.terminal import counted, note, print_json, progress_bar
from fleet_dagster.core.windows import iso
from fleet_dagster.definitions import create_fleet
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.trial_job import trial_job_name, trial_op_config

if TYPE_CHECKING:
    import dagster as dg


def try_settings(
    place: Place,
    config: FleetConfig,
    start: str | None,
    end: str | None,
    *,
    as_of: str,
    as_json: bool,
) -> None:
    """Run the trial job over a span, and say how the fleet's health would have been."""
    if start is None or end is None:
        message = "--as-of needs --from and --to."
        raise click.UsageError(message)
    span = span_between(config, start, end)
    instant = "now" if as_of == "now" else iso(read_instant(config, as_of, name="--as-of"))
    chosen = trial_op_config(config.name, start=iso(span.start), end=iso(span.end), as_of=instant)
    installation = place.installation()
    job = create_fleet(config, installation).resolve_job_def(trial_job_name(config.name))
    with dagster_instance(installation) as instance, progress_bar(f"trying out {config.name}"):
        done = job.execute_in_process(instance=instance, run_config=chosen, raise_on_error=False)
    if not done.success:
        error = next(e for e in done.all_events if e.is_step_failure).event_specific_data
        note(f"Run {done.run_id} failed: {_message(error)}")
        raise SystemExit(1)
    figures = _figures(done)
    if as_json:
        print_json({**figures, "start": iso(span.start), "end": iso(span.end)})
        return
    _tell(config, figures, span_text=f"--from {iso(span.start)} --to {iso(span.end)}")


def _figures(done: "dg.ExecuteInProcessResult") -> dict[str, Any]:  # Any: numbers and texts
    (output,) = [e for e in done.all_events if e.is_successful_output]
    metadata = output.step_output_data.metadata
    return {name: value.value for name, value in metadata.items()}


def _message(error: object) -> str:
    found = getattr(error, "error", None)
    while found is not None and found.cause is not None:
        found = found.cause
    return "no message" if found is None else " ".join(found.message.split())


def _tell(config: FleetConfig, figures: dict[str, Any], *, span_text: str) -> None:
    click.echo(
        f"Tried out {counted(int(figures['n_windows']), 'window')} with the settings as of {figures['as_of']}."
    )
    if figures["n_compared"]:
        click.echo(
            f"Fleet health would be {figures['mean_health']:.4f} on average, it stands at "
            f"{figures['mean_health_stored']:.4f}; {figures['n_different']} of {figures['n_compared']} windows differ."
        )
    note(
        f"The rows: fleet export {config.name} fleet_kpi {span_text} --trial {figures['run_id']} --out trial.csv"
    )
