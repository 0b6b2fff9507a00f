"""Jobs: a fleet's windows, the upkeep of the lake, and the purge of Dagster's own event log."""

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from fleet_dagster.assets import dashboard_sink, ledger, retention
from fleet_dagster.core.windows import MINUTE, iso
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import AI_INFERENCE
from fleet_dagster.resources import RESOURCE_KEY
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.maintenance import compact, compacted_at

if TYPE_CHECKING:  # Dagster gives this class no public name
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

    from fleet_dagster.storage.store import Store

RUNS_KEPT_DAYS = 3
"""Age from which a finished run may go, if every partition it materialized has a newer materialization."""
_CHUNK = 500
_JUST_COMPACTED = 50 * MINUTE
"""Age of a compaction up to which the hourly job leaves the lake alone [us]."""
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def windows_job_name(fleet: str) -> str:
    """Return the name of the job that brings a fleet's windows up to date."""
    return f"{fleet}_windows"


def windows_job(config: FleetConfig) -> "UnresolvedAssetJobDefinition":
    """Bring every table of one fleet up to date; what the schedule and `fleet run` launch."""
    return _fleet_job(
        config,
        windows_job_name(config.name),
        (dg.AssetSelection.groups(config.name).materializable() - _asset(config, AI_INFERENCE.name))
        | _asset(config, dashboard_sink.NAME),
        f"Computes the windows of fleet {config.name} that are not current. To backfill, select assets, not this job.",
    )


def ai_inference_job_name(fleet: str) -> str:
    """Return the name of the job that asks a fleet's AI models."""
    return f"{fleet}_ai_inference"


def ai_inference_job(config: FleetConfig) -> "UnresolvedAssetJobDefinition":
    """Ask the AI models of one fleet: a job of its own, since sixteen steps cost, and a model may be slow."""
    return _fleet_job(
        config,
        ai_inference_job_name(config.name),
        _asset(config, AI_INFERENCE.name),
        f"Asks the AI models of fleet {config.name} about windows that are not current. To backfill, select the asset, not this job.",
    )


def retention_job(config: FleetConfig) -> "UnresolvedAssetJobDefinition":
    """Remove what one fleet's retention is over for; launch it with `dry_run: true` to see what would go."""
    return _fleet_job(
        config,
        f"{config.name}_retention",
        _asset(config, retention.NAME),
        f"Removes whole days of fleet {config.name} whose retention is over. Set `dry_run: true` to see what would go.",
    )


def ledger_job(config: FleetConfig) -> "UnresolvedAssetJobDefinition":
    """Record what one fleet has committed in its ledger, and have it witnessed."""
    return _fleet_job(
        config,
        f"{config.name}_ledger",
        _asset(config, ledger.NAME),
        f"Appends what fleet {config.name} has committed to its ledger, signs it, and asks its witnesses to vouch.",
    )


def _fleet_job(
    config: FleetConfig, name: str, selection: dg.AssetSelection, description: str
) -> "UnresolvedAssetJobDefinition":
    """Return a job over assets of one fleet, all in one process."""
    return dg.define_asset_job(
        name,
        selection=selection,
        description=description,
        executor_def=dg.in_process_executor,
        tags={"fleet": config.name},
    )


def _asset(config: FleetConfig, name: str) -> dg.AssetSelection:
    return dg.AssetSelection.assets(dg.AssetKey([config.name, name]))


def partitions_at_work(instance: dg.DagsterInstance, job: str) -> set[str]:
    """Return the partitions that a run of a job is already at, or waits for."""
    runs = instance.get_runs(filters=dg.RunsFilter(job_name=job, statuses=UNFINISHED))
    return {run.tags.get("dagster/partition", "") for run in runs}


def partitions_run_since(instance: dg.DagsterInstance, job: str, since: dt.datetime) -> set[str]:
    """Return the partitions that a run of a job was launched for since an instant."""
    runs = instance.get_runs(filters=dg.RunsFilter(job_name=job, created_after=since))
    return {run.tags.get("dagster/partition", "") for run in runs}


def lake_maintenance() -> dg.JobDefinition:
    """Compact and vacuum the lake, and remove trials older than a month."""

    @dg.op(name="expire_trials", required_resource_keys={RESOURCE_KEY})
    def expire(context: dg.OpExecutionContext) -> None:
        """Remove the rows of trials that are older than a month."""
        store: Store = getattr(context.resources, RESOURCE_KEY)
        tables = store.trials.expire(now=now_us())
        context.log.info("looked at %d tables of trials", len(tables))

    @dg.op(
        name="compact_lake", required_resource_keys={RESOURCE_KEY}, ins={"after": dg.In(dg.Nothing)}
    )
    def tidy(context: dg.OpExecutionContext) -> None:
        """Merge small files, write checkpoints, remove files that nothing needs any more."""
        store: Store = getattr(context.resources, RESOURCE_KEY)
        last = compacted_at(store)
        if last is not None and now_us() - last < _JUST_COMPACTED:
            context.log.info("compacted at %s already, by a live engine or by hand", iso(last))
            return
        for done in compact(store):
            context.log.info(
                "%s: %d files -> %d, %d removed",
                done.table,
                done.files_before,
                done.files_after,
                done.files_removed,
            )

    @dg.job(
        name="lake_maintenance",
        executor_def=dg.in_process_executor,
        description=lake_maintenance.__doc__,
    )
    def job() -> None:
        tidy(after=expire())

    return job


@dg.op
def purge_runs(context: dg.OpExecutionContext) -> None:
    """Delete old finished runs, keeping those that last materialized some partition."""
    instance = context.instance
    before = dt.datetime.fromtimestamp(now_us() / 1e6, tz=dt.UTC) - dt.timedelta(
        days=RUNS_KEPT_DAYS
    )
    removed = 0
    for run_id in superseded_runs(instance, before):
        instance.delete_run(run_id)
        _remove_leftovers(instance, run_id)
        removed += 1
    context.log.info("%d runs removed that ended before %s", removed, before.isoformat())


@dg.job(executor_def=dg.in_process_executor)
def purge_event_log() -> None:
    """Keep Dagster's event log small: it is never pruned otherwise."""
    purge_runs()


def superseded_runs(instance: dg.DagsterInstance, before: dt.datetime) -> Iterator[str]:
    """Yield the finished runs created before an instant that no partition's newest materialization comes from."""
    kept = _protected_runs(instance)
    finished = [
        dg.DagsterRunStatus.SUCCESS,
        dg.DagsterRunStatus.FAILURE,
        dg.DagsterRunStatus.CANCELED,
    ]
    records = instance.get_run_records(
        filters=dg.RunsFilter(created_before=before, statuses=finished)
    )
    yield from (r.dagster_run.run_id for r in records if r.dagster_run.run_id not in kept)


def _protected_runs(instance: dg.DagsterInstance) -> set[str]:
    kept: set[str] = set()
    for key in instance.all_asset_keys():
        newest = instance.event_log_storage.get_latest_storage_id_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        ids = list(newest.values())
        for i in range(0, len(ids), _CHUNK):
            wanted = dg.AssetRecordsFilter(asset_key=key, storage_ids=ids[i : i + _CHUNK])
            kept.update(
                r.run_id for r in instance.fetch_materializations(wanted, limit=_CHUNK).records
            )
    return kept


def _remove_leftovers(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove what Dagster's SQLite storage leaves of a deleted run: its event database and its outputs."""
    root = Path(instance.root_directory)
    for leftover in (root / "history" / "runs").glob(f"{run_id}.db*"):
        leftover.unlink(missing_ok=True)
    shutil.rmtree(root / "storage" / run_id, ignore_errors=True)
