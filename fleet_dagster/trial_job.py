"""The job that tries settings out on past windows, without touching what stands."""

import datetime as dt
from dataclasses import fields
from typing import TYPE_CHECKING

import dagster as dg

from fleet_dagster.core.windows import Span, iso
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.refresh.trial import try_out
from fleet_dagster.resources import RESOURCE_KEY
from fleet_dagster.storage.clock import now_us

if TYPE_CHECKING:
    from fleet_dagster.storage.store import Store


def trial_job_name(fleet: str) -> str:
    """Return the name of the job that tries settings out."""
    return f"{fleet}_trial"


def trial_op_config(fleet: str, *, start: str, end: str, as_of: str) -> dict[str, object]:
    """Return the run config of a trial."""
    chosen = {"start": start, "end": end, "as_of": as_of}
    return {"ops": {trial_job_name(fleet) + "_windows": {"config": chosen}}}


def trial_job(config: FleetConfig) -> dg.JobDefinition:
    """Compute windows as if the settings of one instant had always been; the rows go to the trial tables."""

    @dg.op(
        name=trial_job_name(config.name) + "_windows",
        required_resource_keys={RESOURCE_KEY},
        config_schema={
            "start": dg.Field(str, description="First instant: 2026-01-31T00:00:00Z."),
            "end": dg.Field(str, description="Instant at which the span ends."),
            "as_of": dg.Field(
                str,
                default_value="now",
                description="Instant whose settings are tried out, or now.",
            ),
        },
        tags={"fleet": config.name},
    )
    def windows(context: dg.OpExecutionContext) -> None:
        """Evaluate the span under one version of the settings."""
        store: Store = getattr(context.resources, RESOURCE_KEY)
        given: dict[str, str] = context.op_config
        as_of = now_us() if given["as_of"] == "now" else _instant(given["as_of"])
        span = Span(_instant(given["start"]), _instant(given["end"]))
        report = try_out(
            store,
            config,
            span,
            as_of=as_of,
            run_id=context.run_id,
            progress=lambda day, _span: context.log.info("%s tried out", iso(day.start)),
        )
        figures = {f.name: getattr(report, f.name) for f in fields(report) if f.name != "span"}
        context.add_output_metadata({**figures, "as_of": iso(as_of)})

    @dg.job(
        name=trial_job_name(config.name),
        executor_def=dg.in_process_executor,
        description=(
            f"Tries out on past windows of fleet {config.name} what they would be with the settings of one instant. "
            "Nothing that stands is touched."
        ),
        tags={"fleet": config.name},
    )
    def job() -> None:
        windows()

    return job


def _instant(text: str) -> int:
    """Return an instant [us]; without an offset it is UTC."""
    try:
        stamp = dt.datetime.fromisoformat(text)
        utc = stamp if stamp.tzinfo else stamp.replace(tzinfo=dt.UTC)
        return round(utc.timestamp() * 1_000_000)
    except ValueError as error:
        raise dg.Failure(
            f"{text!r} is no instant. Write it as 2026-01-31T00:00:00Z", allow_retries=False
        ) from error
