"""`alerting`: tells people what is new every half minute, failed runs included."""

import datetime as dt
from typing import TYPE_CHECKING

import dagster as dg

from fleet_dagster.alerting.conditions import RunOutcome
from fleet_dagster.alerting.passes import Alerting
from fleet_dagster.jobs import ai_inference_job_name, windows_job_name
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import StreamError
from fleet_dagster.partitions import Partitions
from fleet_dagster.resources import RESOURCE_KEY
from fleet_dagster.storage.clock import now_us

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fleet_dagster.sensors import WindowsJob
    from fleet_dagster.storage.store import Store

EVERY_S = 30
OVERLAP_S = 600
"""Runs are looked at again for so long: a run is filed a moment after it has ended, and what is known of one changes nothing."""
FIRST_LOOK_S = 86_400
"""How far back the first tick looks for failed runs."""
MOST_RUNS = 200
"""Runs that a tick looks at, the newest."""
LONGEST_ERROR = 300
_ENDED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]
_BY_HAND = "__ASSET_JOB"
"""Dagster's name for the job of assets that were chosen in the UI, or by a backfill."""
_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def alerting_sensor(
    config: FleetConfig, _partitions: Partitions, job: "WindowsJob"
) -> dg.SensorDefinition:
    """Tell people of one fleet's alerts."""

    @dg.sensor(
        name=f"{config.name}_alerting",
        job=job,
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={RESOURCE_KEY},
        description=(
            f"Opens and resolves alerts of fleet {config.name}: incidents, regions, persistent outliers, storms, missing data, "
            "failed runs, silent AI slots. Sends what is new to the destinations in the fleet's file. It starts no runs."
        ),
    )
    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        store: Store = getattr(context.resources, RESOURCE_KEY)
        now = now_us()
        since = _since(context.cursor, now)
        try:
            found = Alerting(store, config).run(now, runs_since(context.instance, config, since))
        except StreamError as error:
            return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
        if not found.is_quiet:
            context.log.info(str(found))
        return dg.SensorResult(skip_reason=str(found), cursor=str(now))

    return tick


def runs_since(
    instance: dg.DagsterInstance, config: FleetConfig, since: dt.datetime
) -> "Sequence[RunOutcome]":
    """Return the runs of a fleet's jobs that have ended since an instant."""
    wanted = dg.RunsFilter(statuses=_ENDED, updated_after=since)
    records = instance.get_run_records(wanted, limit=MOST_RUNS)
    return [_outcome(instance, r) for r in records if _is_own(r.dagster_run, config.name)]


def _is_own(run: dg.DagsterRun, fleet: str) -> bool:
    """Tell whether a run is one of the fleet's: of its jobs, or of assets chosen by hand or by a backfill; not a trial."""
    if run.job_name in (windows_job_name(fleet), ai_inference_job_name(fleet)):
        return True
    chosen = run.asset_selection or ()
    return run.job_name == _BY_HAND and any(key.path[0] == fleet for key in chosen)


def _outcome(instance: dg.DagsterInstance, record: dg.RunRecord) -> RunOutcome:
    run = record.dagster_run
    has_failed = run.status == dg.DagsterRunStatus.FAILURE
    return RunOutcome(
        run_id=run.run_id,
        job="assets" if run.job_name == _BY_HAND else run.job_name,
        partition=_partition(run),
        ended_at=round((record.end_time or record.update_timestamp.timestamp()) * 1_000_000),
        error=_first_line(instance, run.run_id) if has_failed else None,
    )


def _partition(run: dg.DagsterRun) -> str:
    if _FIRST in run.tags:
        return f"{run.tags[_FIRST]}...{run.tags.get(_LAST, '')}"
    return run.tags.get("dagster/partition", "")


def _first_line(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return the first line of what went wrong in a run: of the step that failed first, or of the run itself."""
    words = next(_errors(instance, run_id), "it says nothing about why")
    return (words.strip().splitlines() or [""])[0][:LONGEST_ERROR]


def _errors(instance: dg.DagsterInstance, run_id: str) -> "Iterator[str]":
    for kind in (dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE):
        for entry in instance.all_logs(run_id, of_type=kind):
            event = entry.dagster_event
            error = getattr(event.event_specific_data, "error", None) if event else None
            while error is not None and error.cause is not None:
                error = error.cause
            if error is not None:
                yield error.message
            elif event is not None and event.message:
                yield event.message


def _since(cursor: str | None, now: int) -> dt.datetime:
    """Return from when on runs are looked at."""
    known = (
        int(cursor) / 1e6 - OVERLAP_S if cursor and cursor.isdigit() else now / 1e6 - FIRST_LOOK_S
    )
    return dt.datetime.fromtimestamp(known, tz=dt.UTC)
