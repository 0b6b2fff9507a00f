"""Schedules: every open day of a fleet brought up to date, and the nightly upkeep."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from fleet_dagster.jobs import UNFINISHED, partitions_at_work, purge_event_log
from fleet_dagster.ledger.state import ledger_state
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.partitions import Partitions, keys_touching, microseconds, span_of
from fleet_dagster.refresh.due import CATCH_UP_DAYS, Ask, Due, left_by_live, owed, owed_answers
from fleet_dagster.resources import RESOURCE_KEY
from fleet_dagster.run_requests import storm_in, windows_run

if TYPE_CHECKING:  # Dagster gives this class no public name
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

    from fleet_dagster.storage.store import Store


def windows_schedule(
    config: FleetConfig, partitions: Partitions, job: "UnresolvedAssetJobDefinition"
) -> dg.ScheduleDefinition:
    """Bring every open day of a fleet up to date every few minutes."""

    @dg.schedule(
        name=f"{config.name}_windows_schedule",
        job=job,
        cron_schedule=_every(config.schedule_minutes),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        required_resource_keys={RESOURCE_KEY},
        description=(
            f"Computes the windows of fleet {config.name} that closed, or that late telemetry touched, "
            f"in the last {CATCH_UP_DAYS} days. One run for each partition that has any."
        ),
    )
    def tick(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        def request(store: "Store", key: str, now: int) -> dg.RunRequest:
            storm = storm_in(store, config, span_of(partitions, key))
            return windows_run(config, key, run_key=f"{config.name}:{key}:{now}", storm=storm)

        yield from _requests(context, config, partitions, job.name, ask=owed, request=request)

    return tick


def ai_inference_schedule(
    config: FleetConfig, partitions: Partitions, job: "UnresolvedAssetJobDefinition"
) -> dg.ScheduleDefinition:
    """Ask a fleet's AI models about the windows that the windows schedule has brought up to date."""

    @dg.schedule(
        name=f"{config.name}_ai_inference_schedule",
        job=job,
        cron_schedule=_every(config.schedule_minutes, after=min(2, config.schedule_minutes - 1)),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        required_resource_keys={RESOURCE_KEY},
        description=(
            f"Asks the AI models of fleet {config.name} about the windows of the last {CATCH_UP_DAYS} days that have no answers, "
            "or whose inputs, models or settings have changed. Which models there are is looked up at each run."
        ),
    )
    def tick(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        def request(_store: "Store", key: str, now: int) -> dg.RunRequest:
            return dg.RunRequest(run_key=f"{config.name}:ai:{key}:{now}", partition_key=key)

        yield from _requests(
            context, config, partitions, job.name, ask=owed_answers, request=request
        )

    return tick


def _requests(
    context: dg.ScheduleEvaluationContext,
    config: FleetConfig,
    partitions: Partitions,
    job: str,
    *,
    ask: Ask,
    request: "Callable[[Store, str, int], dg.RunRequest]",
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Yield a request for each partition that holds what is owed and that no run is at, or why there is none."""
    store: Store = getattr(context.resources, RESOURCE_KEY)
    now = microseconds(context.scheduled_execution_time)
    found = left_by_live(store, config, now, ask=ask)
    free = _free(context.instance, config, partitions, job=job, found=found, now=now)
    if isinstance(free, dg.SkipReason):
        yield free
        return
    for key in free:
        yield request(store, key, now)


def _free(
    instance: dg.DagsterInstance,
    config: FleetConfig,
    partitions: Partitions,
    *,
    job: str,
    found: Due,
    now: int,
) -> list[str] | dg.SkipReason:
    """Return the partitions that hold what is owed and that no run is at, or why there is none."""
    keys = [k for span in found.spans for k in keys_touching(partitions, span, now=now)]
    busy = partitions_at_work(instance, job)
    free = [k for k in dict.fromkeys(keys) if k not in busy]
    reason = found.reason or _nothing_free(config, sorted(busy & set(keys)))
    return free or dg.SkipReason(f"fleet {config.name}: {reason}")


def _nothing_free(config: FleetConfig, running: Sequence[str]) -> str:
    if running:
        return f"still running: {', '.join(running)}"
    return f"no partition holds the windows that are not current (first day {config.start_date}, last day {config.end_date})"


def ledger_schedule(
    config: FleetConfig, job: "UnresolvedAssetJobDefinition"
) -> dg.ScheduleDefinition:
    """Record in a fleet's ledger what the windows schedule has brought up to date."""

    @dg.schedule(
        name=f"{config.name}_ledger_schedule",
        job=job,
        cron_schedule=_every(config.schedule_minutes, after=min(3, config.schedule_minutes - 1)),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        required_resource_keys={RESOURCE_KEY},
        description=(
            f"Records what fleet {config.name} has committed in its ledger, and asks its witnesses again if too few have vouched. "
            "It rests until the fleet has keys: `fleet keys init`."
        ),
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        store: Store = getattr(context.resources, RESOURCE_KEY)
        state = ledger_state(store, config)
        if not state.has_begun:
            return dg.SkipReason(f"no keys yet. Make some: `fleet keys init {config.name}`")
        lacks_witnesses = state.n_needed > 0 and state.size > 0 and not state.is_witnessed
        if not state.n_pending and not lacks_witnesses:
            return dg.SkipReason("everything is recorded, and enough witnesses have vouched")
        if context.instance.get_runs(filters=dg.RunsFilter(job_name=job.name, statuses=UNFINISHED)):
            return dg.SkipReason("a run is at it")
        now = microseconds(context.scheduled_execution_time)
        return dg.RunRequest(run_key=f"{config.name}:ledger:{now}")

    return tick


def retention_schedule(
    config: FleetConfig, job: "UnresolvedAssetJobDefinition"
) -> dg.ScheduleDefinition:
    """Remove what a fleet's retention is over for, at night."""
    return dg.ScheduleDefinition(
        name=f"{config.name}_retention_schedule",
        job=job,
        cron_schedule="25 2 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Every night: removes the days of fleet {config.name} whose retention is over, and merges its commit log.",
    )


def purge_schedule() -> dg.ScheduleDefinition:
    """Purge the event log at night."""
    return dg.ScheduleDefinition(
        job=purge_event_log,
        cron_schedule="40 1 * * *",
        description="Every night: removes old runs from Dagster's event log, which is never pruned otherwise.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def maintenance_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Tidy the lake every hour at a quiet minute."""
    return dg.ScheduleDefinition(
        job=job,
        cron_schedule="17 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every hour: merges small files of the lake, and removes files that nothing needs any more.",
    )


def _every(minutes: int, *, after: int = 0) -> str:
    """Return the cron schedule of every so many minutes, a few minutes after the hour."""
    if minutes == 60:  # noqa: PLR2004 - an hour
        return f"{after} * * * *"
    return f"{after}-59/{minutes} * * * *" if after else f"*/{minutes} * * * *"
