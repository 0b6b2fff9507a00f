import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from fleet_dagster.core.windows import Span
from fleet_dagster.definitions import build_defs
from fleet_dagster.jobs import windows_job_name
from fleet_dagster.model.node_report import NODES
from fleet_dagster.model.tables import SITE_ASSIGNMENT
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.installation import Installation
from fleet_dagster.storage.store import Store
from fleet_dagster.telemetry.observer import Observer
from fleet_dagster_tests.dagster_layer.plants import (
    content,
    day_start,
    days,
    install,
    instance_in_memory,
    land,
    metadata,
    run,
)

DAY = Span(day_start(0), day_start(1))
KEY = dg.AssetKey(["plant", "site_assignment"])
CHECK = "within_its_thresholds"
HELD_S = 4.0
RUN = "5e3f0f0e-0000-4000-8000-000000000001"


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    found = install(tmp_path, content())
    land(found, DAY.start, DAY.end)
    return found


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_in_memory(tmp_path / "dagster") as opened:
        yield opened


def test_every_node_of_a_run_reports_as_metadata_and_as_a_check(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    result = run(installation, instance, *days(0, 0))
    assert result.success
    checked = {
        e.asset_key.path[-1]: e
        for e in result.get_asset_check_evaluations()
        if e.check_name == CHECK
    }
    assert set(checked) == {
        "site_assignment",
        "baseline",
        "site_kpi",
        "anomaly_score",
        "fleet_correlation",
        "fleet_kpi",
        "regional_health",
        "site_ranking",
    }
    assert all(e.passed for e in checked.values())
    (own,) = metadata(instance, "site_kpi").values()
    assert own["rows_in"] > own["rows_quarantined"] > 0
    assert own["rows_out"] > 0
    assert own["window_duration_s"] > 0
    assert own["lag_s"] > 0
    with installation.store() as store:
        stored = store.node_reports.newest("plant")
    assert set(stored) >= set(NODES) - {"ai_inference", "baseline"}
    assert {one.report.source for one in stored.values()} == {"run"}
    assert {one.report.run_id for one in stored.values()} == {result.run_id}


def test_a_planted_slowdown_of_one_node_warns_in_its_check_and_no_other(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    with installation.store() as store:
        live_through_quick_days(store, installation, 15)
        with held(store, instance):
            result = mapped(installation, instance, run_id=RUN)
    (found,) = [e for e in result.get_asset_check_evaluations() if e.check_name == CHECK]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert re.match(r"took [\d.]+ m?s a window, usual are [\d.]+ ms \(", str(found.description))
    assert float(str(found.metadata["anomaly_score"].value)) > 5
    (own,) = metadata(instance, "site_assignment").values()
    assert own["duration_anomaly_score"] > 5
    assert own["node_duration_s"] > HELD_S / 2
    after = mapped(installation, instance)
    (found,) = [e for e in after.get_asset_check_evaluations() if e.check_name == CHECK]
    assert found.passed


def live_through_quick_days(store: Store, installation: Installation, n_times: int) -> None:
    """Do the node's work on the same day again and again, as runs do."""
    config = installation.config("plant")
    observer = Observer(store, config)
    for _ in range(n_times):
        Refresh(store, config, recompute=True, observe=observer, source="run").site_assignment(DAY)


def mapped(
    installation: Installation, instance: dg.DagsterInstance, *, run_id: str | None = None
) -> dg.ExecuteInProcessResult:
    """Run region_mapper alone, for one day."""
    job = build_defs(installation).resolve_job_def(windows_job_name("plant"))
    return job.execute_in_process(
        instance=instance,
        run_id=run_id,
        partition_key=days(0, 0)[0],
        asset_selection=[KEY],
        tags={"fleet/recompute": "true"},
    )


@contextmanager
def held(store: Store, instance: dg.DagsterInstance) -> Iterator[None]:
    """Keep the node's table from being written until a while after its step began, as another writer would."""
    begun, at_work = threading.Event(), threading.Event()

    def look(entry: dg.EventLogEntry) -> None:
        if entry.dagster_event is not None and entry.dagster_event.is_step_start:
            at_work.set()

    instance.add_event_listener(RUN, look)

    def hold() -> None:
        with store.door.hold((SITE_ASSIGNMENT,), "plant", DAY):
            begun.set()
            at_work.wait(60)
            time.sleep(HELD_S)

    other = threading.Thread(target=hold)
    other.start()
    begun.wait(10)
    yield
    other.join()
