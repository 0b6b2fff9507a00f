"""Schedules: every open day of a fleet brought up to date, and the nightly upkeep."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.jobs import purge_event_log
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.partitions import Partitions, keys_touching, microseconds
from fleet_dagster.resources import RESOURCE_KEY
from fleet_dagster.storage.store import Store

if TYPE_CHECKING:  # Dagster gives this class no public name
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

CATCH_UP_DAYS = 7
"""How far behind the schedule itself catches up; older gaps are for a backfill."""


@dataclass(frozen=True, slots=True)
class Due:
    """What a tick should do: the span behind the watermark, or the reason why there is nothing to do."""

    span: Span | None
    reason: str = ""


def due_span(*, now: int, settled_through: int | None, newest_telemetry: int | None, lateness: int) -> Due:
    """Decide what a tick owes: all from the settled watermark to now, the first tick after midnight yesterday's end too. [us]"""
    if newest_telemetry is None:
        return Due(None, "no telemetry has been landed yet: `fleet import` or `fleet simulate --land`")
    if newest_telemetry < now - lateness:
        return Due(None, f"nothing has been landed for {(now - newest_telemetry) // DAY} days: backfill to record the silence")
    start = settled_through if settled_through is not None else now - DAY
    return Due(Span(max(start, now - CATCH_UP_DAYS * DAY), now))


def windows_schedule(
    config: FleetConfig, partitions: Partitions, job: "UnresolvedAssetJobDefinition"
) -> dg.ScheduleDefinition:
    """Bring every open day of a fleet up to date every few minutes."""

    @dg.schedule(
        name=f"{config.name}_windows_schedule",
        job=job,
        cron_schedule=f"*/{config.schedule_minutes} * * * *" if config.schedule_minutes > 1 else "* * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        required_resource_keys={RESOURCE_KEY},
        description=f"Every {config.schedule_minutes} min: computes the windows of {config.name} closed since its watermark.",
    )
    def tick(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        store: Store = getattr(context.resources, RESOURCE_KEY)
        now = microseconds(context.scheduled_execution_time)
        due = due_span(
            now=now,
            settled_through=store.history.settled_through(config.name, FLEET_KPI.name),
            newest_telemetry=store.history.newest_landed(config.name),
            lateness=int(config.allowed_lateness_days * DAY),
        )
        if due.span is None:
            yield dg.SkipReason(f"fleet {config.name}: {due.reason}")
            return
        for key in keys_touching(partitions, due.span, now=now):
            yield dg.RunRequest(run_key=f"{config.name}:{key}:{now}", partition_key=key)

    return tick


def purge_schedule() -> dg.ScheduleDefinition:
    """Purge the event log at night."""
    return dg.ScheduleDefinition(job=purge_event_log, cron_schedule="40 1 * * *", default_status=dg.DefaultScheduleStatus.RUNNING)


def maintenance_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Tidy the lake every hour at a quiet minute."""
    return dg.ScheduleDefinition(job=job, cron_schedule="17 * * * *", default_status=dg.DefaultScheduleStatus.RUNNING)
