import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as classic_families

from fleet_dagster.core.windows import DAY, HOUR, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import ANOMALY_SCORE, FLEET_KPI, REGION_KPI, SITE_KPI
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.leases import Leases
from fleet_dagster.storage.status import fleet_status
from fleet_dagster.storage.store import Store
from fleet_dagster.telemetry.exposition import OPENMETRICS
from fleet_dagster.telemetry.metrics import METRICS
from fleet_dagster.telemetry.observer import Observer
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.node_reports import node_report
from fleet_dagster_tests.telemetry.busy_fleet import (
    MORNING,
    NOW,
    busy,
    busy_store,
    compute,
    exposition,
    families,
    figures,
    series,
)

CONFIG = at.coarse()
Figures = dict[tuple[str, ...], float]
UNSCORED = {"fleet_anomalous_sites", "fleet_site_anomaly_score", "fleet_node_anomaly_score"}
"""Absent of a fleet that is a day old: nothing is scored, and no node has a past."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> FleetConfig:
    return busy(tmp_path_factory.mktemp("witness"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, config: FleetConfig) -> Iterator[Store]:
    with busy_store(tmp_path_factory.mktemp("home"), config) as opened:
        yield opened


@pytest.fixture(scope="module")
def text(store: Store, config: FleetConfig) -> bytes:
    return exposition(store, config).text(OPENMETRICS)[0]


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Store]:
    """Open a store with a day of telemetry of which nothing is computed."""
    with Store.at(at.new_home(tmp_path)) as opened:
        at.land(opened, CONFIG, at.telemetry(1, step_s=600), batch_id="first")
        yield opened


def test_it_parses_as_openmetrics_and_has_every_metric_that_is_declared(text: bytes) -> None:
    found = {f.name: f for f in families(text.decode())}
    assert set(found) | UNSCORED == set(METRICS)
    for name, family in found.items():
        declared = METRICS[name]
        assert (family.type, family.documentation) == (declared.kind, declared.meaning)
        assert family.unit == declared.unit
        for one in family.samples:
            assert one.name in declared.series
            assert set(one.labels) - {"le"} == set(declared.labels)


def test_it_parses_as_the_classic_text_too(store: Store, config: FleetConfig) -> None:
    body, content_type = exposition(store, config).text("text/plain")
    assert content_type.startswith("text/plain; version=")
    names = {s.name for f in classic_families(body.decode()) for s in f.samples}
    assert {"fleet_health", "fleet_node_rows_in_total"} <= names


def test_figures_of_the_newest_window_are_those_of_the_tables(
    store: Store, config: FleetConfig, text: bytes
) -> None:
    found, status = series(text), fleet_status(store, "plant")
    assert status is not None
    assert found["fleet_health",] == status.health
    assert found["fleet_coverage",] == status.coverage
    assert {s: found["fleet_sites", s] for s in status.sites} == dict(status.sites)
    for region in status.regions:
        assert found["fleet_region_health", region.region_id] == region.health
    assert found["fleet_ingestion_mode", "full"] == 1
    assert found["fleet_ingestion_mode", "storm"] == 0
    assert found["fleet_window_age_seconds",] == found["fleet_node_lag_seconds", "site_ingest"]
    assert found["fleet_window_age_seconds",] == 1800
    assert found["fleet_interval_seconds",] == config.interval_s
    asked = sum(v for k, v in found.items() if k[0] == "fleet_slot_outcomes")
    assert asked > 0


def test_figures_of_nodes_are_the_totals_of_their_reports(store: Store, text: bytes) -> None:
    found = series(text)
    for total in store.node_reports.totals("plant"):
        for name in ("reports", "windows", "rows_in", "rows_out", "shed", "quarantined"):
            assert found[f"fleet_node_{name}_total", total.node] == getattr(total, name)
        name = "fleet_node_window_duration_seconds"
        assert found[f"{name}_count", total.node] == total.windows
        assert found[f"{name}_sum", total.node] == total.duration_us / 1e6
        assert found[f"{name}_bucket", "+Inf", total.node] == total.windows


def test_the_ledger_tells_that_nobody_vouches_for_it(text: bytes) -> None:
    found = series(text)
    assert found["fleet_ledger_entries",] > 12
    assert found["fleet_ledger_unwitnessed_entries",] == found["fleet_ledger_entries",]
    assert found["fleet_ledger_pending_entries",] == 0


def test_sites_have_series_only_where_that_is_wanted(
    store: Store, config: FleetConfig, text: bytes
) -> None:
    rows = at.rows_of(store, SITE_KPI, Span(MORNING.end - HOUR // 2, MORNING.end))
    found = series(text)
    for row in rows.to_dict("records"):
        assert found["fleet_site_status", row["region_id"], row["site_id"]] == row["status"]
    plain = config.model_copy(update={"streamsight": CONFIG.streamsight})
    assert not [key for key in figures(store, plain) if key[0].startswith("fleet_site_")]


def test_windows_of_streams_are_counted_once_however_often_it_is_asked(quiet: Store) -> None:
    compute(quiet, CONFIG)
    seen = exposition(quiet, CONFIG)
    with ThreadPoolExecutor(4) as askers:
        list(askers.map(lambda _n: exposition(quiet, CONFIG).text(), range(4)))
    for _ in range(2):
        found = series(seen.text(OPENMETRICS)[0])
        assert found["fleet_stream_windows_total", "append", "fleet_kpi_stream"] == 12
        assert found["fleet_stream_lag_entries", "streamsight", "fleet_kpi_stream"] == 0


def test_windows_that_late_telemetry_changes_are_counted_as_restated(quiet: Store) -> None:
    compute(quiet, CONFIG)
    before = figures(quiet, CONFIG)
    late = at.snapshots("MX-0002", [MORNING.start + HOUR + 1], CONFIG, share=0.9)
    at.land(quiet, CONFIG, late, batch_id="late", historical=True)
    compute(quiet, CONFIG)
    found = figures(quiet, CONFIG)
    assert ("fleet_stream_windows_total", "restate", "fleet_kpi_stream") not in before
    assert found["fleet_stream_windows_total", "restate", "fleet_kpi_stream"] >= 1
    assert found["fleet_stream_windows_total", "append", "fleet_kpi_stream"] == 12


def test_a_figure_follows_what_is_committed_and_counters_never_fall(quiet: Store) -> None:
    seen = exposition(quiet, CONFIG)
    last: Figures = {}
    for hour in range(1, 4):
        compute(quiet, CONFIG, Span(MORNING.start, MORNING.start + hour * HOUR))
        found = series(seen.text(OPENMETRICS)[0])
        status = fleet_status(quiet, "plant")
        assert status is not None
        assert found["fleet_health",] == status.health
        for key, value in last.items():
            if key[0].endswith(("_total", "_bucket", "_count", "_created")):
                assert found[key] >= value
        last = found
    assert last["fleet_node_windows_total", "fleet_aggregator"] == 6


def test_a_planted_slowdown_shows_in_the_figures_of_its_node_and_of_no_other(quiet: Store) -> None:
    compute(quiet, CONFIG)
    for _ in range(15):
        quiet.node_reports.record(
            node_report(0.005, 12, source="live"), CONFIG.streamsight.thresholds
        )
    held = threading.Event()

    def hold() -> None:
        with quiet.door.hold((FLEET_KPI, REGION_KPI), "plant", Span(at.FIRST, at.FIRST + DAY)):
            held.set()
            time.sleep(2.0)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(10)
    observer = Observer(quiet, CONFIG)
    Refresh(quiet, CONFIG, recompute=True, observe=observer, source="live").fleet_aggregator(
        MORNING
    )
    other.join()
    found = figures(quiet, CONFIG)
    assert found["fleet_node_duration_seconds", "fleet_aggregator"] > 1.0
    assert found["fleet_node_anomaly_score", "fleet_aggregator"] > 5
    breached = {k[1] for k, v in found.items() if k[0] == "fleet_node_breached" and v}
    assert breached == {"fleet_aggregator"}
    assert found["fleet_node_breaches_total", "fleet_aggregator"] == 1


def test_a_fleet_without_any_telemetry_has_only_what_is_known(tmp_path: Path) -> None:
    with Store.at(at.new_home(tmp_path)) as empty:
        found = figures(empty, CONFIG)
    assert found["fleet_scrape_failed",] == 0
    assert found["fleet_storm",] == 0
    assert ("fleet_health",) not in found
    assert ("fleet_window_age_seconds",) not in found


def test_a_fleet_whose_tables_cannot_be_read_says_so_and_the_others_go_on(quiet: Store) -> None:
    compute(quiet, CONFIG)
    other = CONFIG.model_copy(update={"name": "harbour"})
    for file in (Path(quiet.lake.root) / "fleet_kpi").rglob("*.parquet"):
        file.unlink()
    body, _ = exposition(quiet, CONFIG, other).text(OPENMETRICS)
    failed = {
        one.labels["fleet"]: one.value
        for family in families(body.decode())
        for one in family.samples
        if one.name == "fleet_scrape_failed"
    }
    assert failed == {"plant": 1, "harbour": 0}


def test_only_the_fleets_that_one_may_see_are_told(quiet: Store) -> None:
    other = CONFIG.model_copy(update={"name": "harbour"})
    body, _ = exposition(quiet, CONFIG, other).text(OPENMETRICS, fleets={"harbour"})
    assert b'fleet="harbour"' in body
    assert b"plant" not in body


def test_names_of_regions_may_hold_signs_that_mean_something_in_the_text(tmp_path: Path) -> None:
    odd = "Halle Süd {region=1}, = 2 # 3"
    sites = [
        {**m.model_dump(), "region_id": odd if n == 0 else m.region_id}
        for n, m in enumerate(CONFIG.region_mappings)
    ]
    config = FleetConfig.model_validate({**CONFIG.model_dump(), "region_mappings": sites})
    with Store.at(at.new_home(tmp_path)) as own:
        at.land(own, config, at.telemetry(1, step_s=600), batch_id="first")
        compute(own, config, Span(MORNING.start, MORNING.start + HOUR))
        assert ("fleet_region_health", odd) in figures(own, config)


def test_a_live_engine_and_a_storm_show_while_they_last(quiet: Store) -> None:
    with Leases(quiet.control).hold(["live/plant"]):
        assert figures(quiet, CONFIG)["fleet_live_engine_up",] == 1
    assert figures(quiet, CONFIG)["fleet_live_engine_up",] == 0


def test_the_age_of_telemetry_is_counted_from_the_newest_snapshot(quiet: Store) -> None:
    newest = quiet.history.newest_landed("plant")
    assert newest is not None
    assert figures(quiet, CONFIG)["fleet_telemetry_age_seconds",] == max(0, NOW - newest) / 1e6


def test_sites_that_are_scored_have_their_scores(tmp_path: Path, config: FleetConfig) -> None:
    day = at.days(4, 5)
    with Store.at(at.new_home(tmp_path)) as own:
        at.put_model(own)
        at.land(own, config, at.telemetry(5, step_s=600), batch_id="first")
        compute(own, config, Span(day.start, day.start + HOUR))
        found = figures(own, config)
        rows = at.rows_of(own, ANOMALY_SCORE, Span(day.start + HOUR // 2, day.start + HOUR))
    whole = rows[(rows["domain"] == "all") & rows["score"].notna()]
    shown = {k[2]: v for k, v in found.items() if k[0] == "fleet_site_anomaly_score"}
    assert shown == dict(zip(whole["site_id"], whole["score"], strict=True))
    assert found["fleet_anomalous_sites",] == whole["is_anomalous"].sum()
