import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from fleet_dagster.assets.shell import RECOMPUTE_TAG
from fleet_dagster.core.windows import DAY, MINUTE, Span
from fleet_dagster.definitions import create_fleet
from fleet_dagster.model.tables import ANOMALY_SCORE, FLEET_KPI, INGEST_STATS, SITE_KPI, TABLES
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.installation import Installation
from fleet_dagster_tests.dagster_layer.plants import (
    DERIVED,
    content,
    day_start,
    days,
    install,
    instance_in_memory,
    land,
    metadata,
    run,
    written,
)

UNTRAINED = ("baseline", "baseline_model", "fleet_correlation")
WORDS = {"table_uri", "worst_region", "ingestion_mode_newest", "storm", "watermark"}
WORDS |= {"worst_site", "worst_sites", "open_incidents"}


class Plant:
    """Four landed days; three are materialized: the first alone, the others as a range, all again, one recomputed."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.installation = install(folder, content())
        self.n_landed = land(self.installation, day_start(0), day_start(4))
        self.single = run(self.installation, instance, "2026-01-01")
        self.range = run(self.installation, instance, "2026-01-02", "2026-01-03")
        self.figures = {table: metadata(instance, table) for table in DERIVED}
        self.again = run(self.installation, instance, *days(0, 2))
        self.figures_again = metadata(instance, "fleet_kpi")
        recompute = {RECOMPUTE_TAG: "true"}
        self.recomputed = run(self.installation, instance, "2026-01-02", tags=recompute)
        self.figures_recomputed = metadata(instance, "fleet_kpi")


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("plant")
    with instance_in_memory(folder / "dagster") as instance:
        yield Plant(folder, instance)


def stored(installation: Installation, table: str, span: Span) -> int:
    with installation.store() as store:
        return int(store.lake.read(TABLES[table], "plant", span).num_rows)


def test_a_partition_and_a_range_succeed(plant: Plant) -> None:
    assert plant.single.success
    assert plant.range.success


@pytest.mark.parametrize("table", DERIVED)
def test_every_table_has_a_materialization_for_each_partition(plant: Plant, table: str) -> None:
    assert set(plant.figures[table]) == set(days(0, 2))


@pytest.mark.parametrize("table", DERIVED)
def test_each_partition_shows_the_rows_that_are_stored(plant: Plant, table: str) -> None:
    shown = {k: own["dagster/row_count"] for k, own in plant.figures[table].items()}
    assert shown == {
        key: stored(plant.installation, table, Span(day_start(n), day_start(n + 1)))
        for n, key in enumerate(days(0, 2))
    }
    assert all(shown.values()) or table in UNTRAINED  # nothing precedes the first two days


@pytest.mark.parametrize("table", DERIVED)
def test_figures_are_numbers_so_that_they_plot(plant: Plant, table: str) -> None:
    for own in plant.figures[table].values():
        words = {k for k, v in own.items() if not isinstance(v, int | float)}
        assert words <= WORDS
        assert not [k for k, v in own.items() if isinstance(v, float) and v != v]  # noqa: PLR0124 - NaN


def test_a_range_shows_each_partition_its_own_figures(plant: Plant) -> None:
    with plant.installation.store() as store:
        rows = store.frame(FLEET_KPI, "plant", Span(day_start(1), day_start(3)))
    by_day = rows.groupby(rows["window_start"].dt.strftime("%Y-%m-%d"))["fleet_health"]
    for key, health in by_day:
        own = plant.figures["fleet_kpi"][str(key)]
        assert own["fleet_health_mean"] == pytest.approx(health.mean(), abs=1e-12)
        assert own["fleet_health_newest"] == health.iloc[-1]
        assert (own["windows"], own["windows_computed"], own["rows_written"]) == (288, 288, 288)


def test_scores_show_their_figures_once_there_is_a_baseline(plant: Plant) -> None:
    own, before = (plant.figures["anomaly_score"][key] for key in ("2026-01-03", "2026-01-01"))
    with plant.installation.store() as store:
        rows = store.frame(ANOMALY_SCORE, "plant", Span(day_start(2), day_start(3)))
    whole = rows[rows["domain"] == "all"]
    assert 0 < len(whole) < len(rows) == own["dagster/row_count"]
    scored = whole[whole["score"].notna()]
    assert own["anomalous_pct"] == pytest.approx(100 * scored["is_anomalous"].mean())
    assert own["sites_anomalous"] == whole[whole["is_anomalous"]]["site_id"].nunique()
    anywhere = rows[rows["is_anomalous"]]["site_id"].nunique()
    assert own["sites_anomalous_in_any_domain"] == anywhere
    assert own["not_scored_pct"] == pytest.approx(100 * whole["score"].isna().mean())
    worst = scored[scored["site_id"] == own["worst_site"]]
    assert own["worst_site_score_max"] == worst["score"].max()
    assert (before["not_scored_pct"], before["sites_scored"]) == (100, 0)
    assert plant.figures["baseline_model"]["2026-01-03"]["sites_trained"] == 6


def test_a_run_draws_the_worst_sites_once_on_its_newest_partition(plant: Plant) -> None:
    figures = plant.figures["anomaly_score"]
    assert "worst_sites" not in figures["2026-01-02"]
    assert "Nothing was scored" in figures["2026-01-01"]["worst_sites"]
    assert figures["2026-01-03"]["worst_sites"].startswith("![Anomaly scores of the worst sites](")
    assert len(figures["2026-01-03"]["worst_sites"]) < 50_000


def test_checks_pass_and_the_quarantine_check_warns(plant: Plant) -> None:
    results = [
        *plant.single.get_asset_check_evaluations(),
        *plant.range.get_asset_check_evaluations(),
    ]
    failed = {(r.check_name, r.severity) for r in results if not r.passed}
    assert failed == {("nothing_in_quarantine", dg.AssetCheckSeverity.WARN)}
    assert {r.check_name for r in results} >= {
        "fits_its_definition",
        "every_snapshot_accounted_for",
    }


def test_every_landed_snapshot_is_accounted_for(plant: Plant) -> None:
    with plant.installation.store() as store:
        books = store.frame(INGEST_STATS, "plant", Span(0, day_start(3)))
        quarantined = store.lake.read(TABLES["quarantine"], "plant", Span(0, day_start(3))).num_rows
    own = list(plant.figures["ingest_stats"].values())
    assert sum(f["landed"] for f in own) == books["landed"].sum()
    assert sum(f["quarantined"] for f in own) == quarantined > 0


def test_the_quarantine_shows_its_reasons(plant: Plant) -> None:
    for own in plant.figures["quarantine"].values():
        reasons = {k: v for k, v in own.items() if k.startswith("problem_")}
        assert sum(reasons.values()) == own["dagster/row_count"]


def test_telemetry_shows_what_was_landed_in_each_partition(plant: Plant) -> None:
    shown = metadata(plant.instance, "site_telemetry")
    landed = {k: own["landed"] for k, own in plant.figures["ingest_stats"].items()}
    assert {k: own["dagster/row_count"] for k, own in shown.items()} == landed


def test_a_second_run_writes_nothing(plant: Plant) -> None:
    assert written(plant.again) == dict.fromkeys(DERIVED, 0)
    assert plant.figures_again["2026-01-02"]["windows_computed"] == 0


def test_the_recompute_tag_computes_again_and_finds_the_same(plant: Plant) -> None:
    assert written(plant.recomputed) == dict.fromkeys(DERIVED, 0)
    assert plant.figures_recomputed["2026-01-02"]["windows_computed"] == 288


def test_late_telemetry_restates_the_windows_it_touches(tmp_path: Path) -> None:
    installation = install(tmp_path, content())
    land(installation, day_start(0), day_start(1) - 600 * 1_000_000)
    with instance_in_memory(tmp_path / "dagster") as instance:
        run(installation, instance, "2026-01-01")
        land(installation, day_start(1) - 600 * 1_000_000, day_start(1), batch="late")
        run(installation, instance, "2026-01-01")
        own = metadata(instance, "site_kpi")["2026-01-01"]
    assert own["windows_restated"] == 2
    assert 0 < own["windows_computed"] <= 4


def test_a_range_that_begins_before_the_first_telemetry_has_rows_of_silence(tmp_path: Path) -> None:
    installation = install(tmp_path, content())
    land(installation, day_start(1), day_start(1) + 3600 * 1_000_000)
    with instance_in_memory(tmp_path / "dagster") as instance:
        run(installation, instance, "2026-01-01")
        own = metadata(instance, "fleet_kpi")["2026-01-01"]
    assert own["dagster/row_count"] == 288
    assert (own["fleet_health_mean"], own["coverage_mean"]) == (0, 0)


def test_a_fleet_without_any_telemetry_runs(tmp_path: Path) -> None:
    installation = install(tmp_path, content())
    with instance_in_memory(tmp_path / "dagster") as instance:
        assert run(installation, instance, "2026-01-01").success
        assert metadata(instance, "site_ranking")["2026-01-01"]["dagster/row_count"] == 0
        assert metadata(instance, "site_telemetry") == {}


def test_an_open_day_has_its_closed_windows_only(tmp_path: Path) -> None:
    before = now_us()
    today = before - before % DAY
    start = dt.datetime.fromtimestamp((today - DAY) / 1e6, tz=dt.UTC).date()
    key = (start + dt.timedelta(days=1)).isoformat()
    installation = install(tmp_path, content(interval_s=60, start_date=start.isoformat()))
    with instance_in_memory(tmp_path / "dagster") as instance:
        assert run(installation, instance, key).success
        own = {
            table: metadata(instance, table)[key]["windows"] for table in ("site_kpi", "fleet_kpi")
        }
        n_rows = stored(installation, "fleet_kpi", Span(today, today + 2 * DAY))
    assert own["site_kpi"] == own["fleet_kpi"] == n_rows
    assert (before - today) // MINUTE <= n_rows <= (now_us() - today) // MINUTE


@pytest.mark.parametrize(
    ("zone", "key", "n_windows"),
    [("Europe/Berlin", "2026-03-29", 276), ("Asia/Kathmandu", "2026-03-29", 288)],
)
def test_a_local_day_is_computed_whole(tmp_path: Path, zone: str, key: str, n_windows: int) -> None:
    installation = install(tmp_path, content(timezone=zone, start_date="2026-03-28"))
    with instance_in_memory(tmp_path / "dagster") as instance:
        run(installation, instance, key)
        for table in ("fleet_kpi", "site_kpi"):
            assert metadata(instance, table)[key]["windows"] == n_windows
        assert metadata(instance, "fleet_kpi")[key]["dagster/row_count"] == n_windows


def test_hourly_partitions_are_computed_hour_by_hour(tmp_path: Path) -> None:
    installation = install(tmp_path, content(partition="hourly"))
    land(installation, day_start(0), day_start(0) + 3 * 3600 * 1_000_000)
    with instance_in_memory(tmp_path / "dagster") as instance:
        run(installation, instance, "2026-01-01-00:00", "2026-01-01-02:00")
        own = metadata(instance, "site_kpi")
    assert {k: v["windows"] for k, v in own.items()} == {
        f"2026-01-01-0{hour}:00": 12 for hour in range(3)
    }
    assert stored(installation, SITE_KPI.name, Span(day_start(0), day_start(1))) == sum(
        v["dagster/row_count"] for v in own.values()
    )


def test_one_table_of_a_node_can_be_selected_alone(tmp_path: Path) -> None:
    installation = install(tmp_path, content())
    land(installation, day_start(0), day_start(1))
    fleet = create_fleet(installation.config("plant"), installation)
    alone = dg.define_asset_job("alone", selection=[dg.AssetKey(["plant", "site_kpi"])])
    job = dg.Definitions.merge(fleet, dg.Definitions(jobs=[alone])).resolve_job_def("alone")
    with instance_in_memory(tmp_path / "dagster") as instance:
        result = job.execute_in_process(instance=instance, partition_key="2026-01-01")
    shown = [e.asset_key.path[-1] for e in result.get_asset_materialization_events() if e.asset_key]
    assert shown == ["site_kpi"]
    assert stored(installation, "ingest_stats", Span(day_start(0), day_start(1))) > 0
