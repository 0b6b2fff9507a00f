import datetime as dt
import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fleet_dagster.core.windows import DAY, HOUR, Span
from fleet_dagster.definitions import build_defs
from fleet_dagster.jobs import purge_event_log, superseded_runs
from fleet_dagster.model.tables import SITE_TELEMETRY
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.maintenance import expired_days
from fleet_dagster_tests.dagster_layer.plants import (
    content,
    day_start,
    install,
    land,
    run,
)

FAR = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
TABLE = "site_assignment"
"""Which runs are superseded does not depend on what they compute: the cheapest table will do."""
HOURLY: dict[str, Any] = {"interval_s": 3600, "staleness_threshold_s": 4200}


@pytest.fixture
def instance(lasting_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """Return an instance with folders that old runs leave behind."""
    return lasting_instance


def pretend_old(instance: dg.DagsterInstance, *run_ids: str) -> None:
    """Move runs a week into the past, in the database that Dagster keeps them in."""
    storage = instance.run_storage
    table = "UPDATE runs SET create_timestamp = datetime('now', '-7 days') WHERE run_id = ?"
    with storage.connect() as tx:  # type: ignore[attr-defined] # the SQLite storage has it
        for run_id in run_ids:
            tx.exec_driver_sql(table, (run_id,))


def ids(instance: dg.DagsterInstance) -> set[str]:
    return {r.run_id for r in instance.get_runs()}


def test_a_run_is_superseded_once_another_materialized_all_its_partitions(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    installation = install(tmp_path, content(**HOURLY))
    first = run(installation, instance, "2026-01-01", table=TABLE)
    both = run(installation, instance, "2026-01-01", "2026-01-02", table=TABLE)
    second = run(installation, instance, "2026-01-02", table=TABLE)
    assert set(superseded_runs(instance, FAR)) == {first.run_id}
    run(installation, instance, "2026-01-01", table=TABLE)
    assert set(superseded_runs(instance, FAR)) == {first.run_id, both.run_id}
    assert second.run_id in ids(instance)


def test_young_and_unfinished_runs_are_kept(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    installation = install(tmp_path, content(**HOURLY))
    job = build_defs(installation).resolve_job_def("plant_windows")
    instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    done = instance.create_run_for_job(job, status=dg.DagsterRunStatus.SUCCESS)
    assert set(superseded_runs(instance, FAR)) == {done.run_id}
    past = dt.datetime.now(tz=dt.UTC) - dt.timedelta(days=3)
    assert not set(superseded_runs(instance, past))


def test_the_purge_leaves_what_the_ui_shows_and_nothing_else_of_old_runs(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    installation = install(tmp_path, content(**HOURLY))
    old = run(installation, instance, "2026-01-01", table=TABLE).run_id
    kept_old = run(installation, instance, "2026-01-02", table=TABLE).run_id
    new = run(installation, instance, "2026-01-01", table=TABLE).run_id
    failed = instance.create_run_for_job(
        build_defs(installation).resolve_job_def("plant_windows"),
        status=dg.DagsterRunStatus.FAILURE,
    ).run_id
    pretend_old(instance, old, kept_old, failed)
    purge = purge_event_log.execute_in_process(instance=instance)
    assert purge.success
    assert ids(instance) == {kept_old, new, purge.run_id}
    home = Path(instance.root_directory)
    left = [str(f) for folder, _, files in os.walk(home) for f in [folder, *files] if old in str(f)]
    assert left == []
    key = dg.AssetKey(["plant", TABLE])
    newest = instance.fetch_materializations(key, limit=10).records
    assert {(r.partition_key, r.run_id) for r in newest} == {
        ("2026-01-01", new),
        ("2026-01-02", kept_old),
    }


def test_a_second_purge_finds_nothing_to_do(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    installation = install(tmp_path, content(**HOURLY))
    kept = run(installation, instance, "2026-01-01", table=TABLE).run_id
    pretend_old(instance, kept)
    for _ in range(2):
        assert purge_event_log.execute_in_process(instance=instance).success
        assert kept in ids(instance)


def test_retention_expires_telemetry_by_each_fleets_own_setting(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    installation = install(
        tmp_path,
        content(telemetry_retention_days=40),
        content("other", telemetry_retention_days=3650),
    )
    land(installation, day_start(0), day_start(0) + HOUR)
    land(installation, day_start(0) + HOUR, day_start(0) + 2 * HOUR, batch="batch-2")
    today = now_us() - now_us() % DAY
    land(installation, today - HOUR, today, batch="fresh")
    land(installation, day_start(0), day_start(0) + HOUR, fleet="other", batch="other")
    defs = build_defs(installation)
    for name in ("plant_retention", "other_retention", "lake_maintenance"):
        assert defs.resolve_job_def(name).execute_in_process(instance=instance).success
    with installation.store() as store:
        assert "2026-01-01" in expired_days(store, "plant", Span(0, today))
        assert expired_days(store, "other", Span(0, today)) == []
        assert store.lake.read(
            SITE_TELEMETRY, "other", Span(0, today), time_column="timestamp"
        ).num_rows
