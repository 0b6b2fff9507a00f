import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from fleet_dagster.assets import dashboard_sink
from fleet_dagster.assets.spec import asset_key
from fleet_dagster.core.windows import HOUR, MINUTE, Span
from fleet_dagster.live.events import Kind
from fleet_dagster.live_reports import MADE_BY, Done, Reports
from fleet_dagster.model.tables import FLEET_KPI, INGEST_STATS, SITE_TELEMETRY, derived_tables
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.dagster_layer.plants import instance_in_memory
from fleet_dagster_tests.live.days import CONFIG, Hands, Said, engine_at, running, wait_current

MORNING = at.FIRST + 6 * HOUR
TODAY = "2026-01-01"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_in_memory(tmp_path / "dagster") as opened:
        yield opened


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = at.new_home(tmp_path / "home")
    with Store.at(folder) as store:
        at.land(store, CONFIG, at.telemetry(1, step_s=600), batch_id="first")
        at.refresh_all(store, CONFIG, Span(at.FIRST, MORNING - HOUR))
    return folder


def materializations(instance: dg.DagsterInstance, name: str) -> list[dg.AssetMaterialization]:
    records = instance.fetch_materializations(asset_key(CONFIG, name), limit=50).records
    return [r.asset_materialization for r in records if r.asset_materialization]


def test_what_an_engine_has_done_is_told_to_dagster_without_a_run(
    home: Path, instance: dg.DagsterInstance
) -> None:
    @contextmanager
    def opened() -> Iterator[dg.DagsterInstance]:
        yield instance

    said = Said()
    reports = Reports(opened, lambda: Store.at(home), said, every_s=0.1)
    telling = threading.Thread(target=reports.run)
    telling.start()
    with running(engine_at(home, Hands(MORNING), said, listeners=[reports.note])) as engine:
        wait_current(engine)
        said.wait_for(Kind.REPORTED)
    reports.stop()
    telling.join(60)
    (snapshot,) = materializations(instance, dashboard_sink.NAME)[-1:]
    path = Path(str(snapshot.metadata["path"].value))
    shown = json.loads(path.read_text(encoding="utf-8"))
    assert snapshot.metadata["window_end"].value == shown["window"]["end"]
    (found,) = materializations(instance, FLEET_KPI.name)
    assert found.partition == TODAY
    told = {name: value.value for name, value in found.metadata.items()}
    assert told["made_by"] == MADE_BY
    assert told["windows_computed"] == 2
    assert told["windows_restated"] == 0
    assert told["rows_written"] == 2
    assert told["dagster/row_count"] == MORNING // (30 * MINUTE) - at.FIRST // (30 * MINUTE)
    assert told["window_end"] == "2026-01-01T06:00:00Z"
    assert materializations(instance, SITE_TELEMETRY.name)
    computed = [t.name for t in derived_tables() if materializations(instance, t.name)]
    assert {"site_kpi", "anomaly_score", "site_ranking", "regional_health"} <= set(computed)
    checks = [
        dg.AssetCheckKey(asset_key(CONFIG, FLEET_KPI.name), "fits_its_definition"),
        dg.AssetCheckKey(asset_key(CONFIG, INGEST_STATS.name), "every_snapshot_accounted_for"),
    ]
    told_of = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
    assert set(checks) <= told_of.keys()
    assert not instance.get_runs()


def test_a_dagster_that_cannot_be_reached_is_told_once_and_holds_up_no_window(home: Path) -> None:
    said = Said()

    def refuse() -> Iterator[dg.DagsterInstance]:
        raise OSError("no Dagster here")

    reports = Reports(contextmanager(refuse), lambda: Store.at(home), said, every_s=0.01)
    telling = threading.Thread(target=reports.run)
    telling.start()
    with (
        Store.at(home) as store,
        running(engine_at(home, Hands(MORNING), said, listeners=[reports.note])) as engine,
    ):
        wait_current(engine)
        told = said.wait_for(Kind.TROUBLE)
        assert store.history.coverage.newest_end(FLEET_KPI.name, at.NAME) == MORNING
    reports.stop()
    telling.join(60)
    assert not telling.is_alive()
    assert "no Dagster here" in str(told)
    assert len(said.of(Kind.TROUBLE)) == 1


def test_what_one_batch_lacks_is_told_until_that_batch_is_clean() -> None:
    first, later = Span(0, HOUR), Span(HOUR, 2 * HOUR)
    done = Done()
    done.see(first, ["a null"])
    done.see(later, [])
    assert done.violations == [(first, "a null")]
    done.see(first, [])
    assert done.violations == []


def test_rounds_that_could_not_be_told_are_counted_with_those_after_them() -> None:
    untold = Done(rows_written=2, windows_computed=1, end=HOUR, lag_s=9.0, longest_round_s=3.0)
    untold.add(Done(rows_written=3, windows_computed=1, end=2 * HOUR, lag_s=1.0))
    assert (untold.rows_written, untold.windows_computed) == (5, 2)
    assert (untold.end, untold.lag_s, untold.longest_round_s) == (2 * HOUR, 1.0, 3.0)
