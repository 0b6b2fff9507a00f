from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from fleet_dagster import checks
from fleet_dagster.assets.shell import node_assets
from fleet_dagster.core.windows import Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import (
    ANOMALY_SCORE,
    FLEET_KPI,
    INGEST_STATS,
    QUARANTINE,
    REGION_KPI,
    REGIONAL_HEALTH,
    Table,
)
from fleet_dagster.partitions import partitions_of
from fleet_dagster.refresh.refresh import Outcome, Refresh
from fleet_dagster.resources import RESOURCE_KEY, resource_of
from fleet_dagster.storage.constraints import violations
from fleet_dagster.views.score_figures import Figures
from fleet_dagster_tests.dagster_layer.plants import content, day_start, install, land

KEY = dg.AssetKey(["plant", "table"])
QUIET: Figures = {
    "windows_scored": 1440,
    "sites_scored": 20,
    "chance_alarm_pct": 0.9,
    "lasting_alarm_sites": 1,
    "typical_site_anomalous_pct": 0.0,
}
BOOKS: Figures = {"landed": 10, "used": 7, "duplicates": 1, "quarantined": 2, "sampled_out": 0}


def outcome(table: Table, *wrong: str) -> Outcome:
    return Outcome(table, Span(0, 1), (), (), wrong)


def results(table: Table, *wrong: str, **figures: Figures) -> dict[str | None, dg.AssetCheckResult]:
    found = checks.results_of(KEY, outcome(table, *wrong), figures)
    return {result.check_name: result for result in found}


def test_rows_that_fit_pass() -> None:
    assert results(FLEET_KPI)["fits_its_definition"].passed


def test_rows_that_do_not_fit_fail_and_the_check_says_how(tmp_path: Path) -> None:
    installation = install(tmp_path, content())
    land(installation, day_start(0), day_start(0) + 3_600_000_000)
    with installation.store() as store:
        refresh = Refresh(store, installation.config("plant"))
        refresh.everything(Span(day_start(0), day_start(0) + 3_600_000_000))
        rows = store.lake.read(FLEET_KPI, "plant", Span(day_start(0), day_start(1)))
    health = replace(FLEET_KPI.by_name["fleet_health"], hi=0.5)
    narrow = replace(
        FLEET_KPI,
        columns=tuple(health if c.name == health.name else c for c in FLEET_KPI.columns),
    )
    wrong = violations(narrow, rows)
    found = results(FLEET_KPI, *wrong)["fits_its_definition"]
    assert not found.passed
    assert "fleet_health goes up to" in str(found.metadata["violations"].value)
    assert found.severity == dg.AssetCheckSeverity.ERROR


def test_books_that_balance_pass() -> None:
    found = results(INGEST_STATS, today=BOOKS)["every_snapshot_accounted_for"]
    assert found.passed
    assert found.metadata["landed"].value == 10


def test_books_that_do_not_balance_fail_and_name_the_partition() -> None:
    found = results(INGEST_STATS, today=BOOKS, tomorrow={**BOOKS, "landed": 12})
    own = found["every_snapshot_accounted_for"]
    assert not own.passed
    assert own.metadata["unaccounted"].value == {"tomorrow": 2}


def test_an_empty_quarantine_passes() -> None:
    assert results(QUARANTINE, today={"dagster/row_count": 0})["nothing_in_quarantine"].passed


def test_a_quarantine_warns_with_its_reasons_added_up() -> None:
    found = results(
        QUARANTINE, a={"problem_bad_time": 2}, b={"problem_bad_time": 3, "problem_too_late": 1}
    )["nothing_in_quarantine"]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert found.metadata["snapshots"].value == 6
    assert "| bad_time | 5 |" in str(found.metadata["reasons"].value)


def alarm_rate(**figures: Figures) -> dg.AssetCheckResult:
    return results(ANOMALY_SCORE, **figures)["alarm_rate_within_budget"]


def test_a_quiet_fleet_and_one_that_is_not_scored_are_within_their_budget() -> None:
    assert alarm_rate(today=QUIET, tomorrow={"dagster/row_count": 0}).passed
    assert alarm_rate().passed


def test_too_many_brief_anomalies_warn_and_say_what_to_do() -> None:
    found = alarm_rate(today=QUIET, tomorrow={**QUIET, "chance_alarm_pct": 12.0})
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert "tomorrow" in str(found.metadata["rates"].value)
    assert "today" not in str(found.metadata["rates"].value)
    advice = str(found.metadata["what_to_do"].value)
    assert "fleet config set plant anomaly_threshold" in advice
    assert "the whole fleet" not in advice


def test_a_typical_site_that_is_often_anomalous_warns_and_says_what_to_do() -> None:
    found = alarm_rate(today={**QUIET, "typical_site_anomalous_pct": 60.0})
    assert not found.passed
    advice = str(found.metadata["what_to_do"].value)
    assert "fleet config rebaseline SITE --fleet plant" in advice
    assert "threshold" not in advice


@pytest.mark.parametrize("table", [FLEET_KPI, INGEST_STATS, QUARANTINE, ANOMALY_SCORE])
def test_every_declared_check_has_a_result(table: Table) -> None:
    declared = {spec.name for spec in checks.specs_of(KEY, table)}
    assert set(results(table, today=BOOKS)) == declared


@pytest.mark.parametrize("wrong", [(), ("mean_kpi_00 is null in 3 rows",)])
def test_a_failed_blocking_check_keeps_what_depends_on_the_table_from_running(
    tmp_path: Path, wrong: Sequence[str]
) -> None:
    installation = install(tmp_path, content())
    config = FleetConfig.model_validate(content())

    def rollup(_refresh: Refresh, span: Span) -> list[Outcome]:
        return [Outcome(REGION_KPI, span, (), (), tuple(wrong))]

    def score(_refresh: Refresh, span: Span) -> list[Outcome]:
        return [Outcome(REGIONAL_HEALTH, span, (), ())]

    partitions = partitions_of(config)
    nodes = [
        node_assets(
            config, partitions, name="up", description="", tables={REGION_KPI: []}, refresh=rollup
        ),
        node_assets(
            config,
            partitions,
            name="down",
            description="",
            tables={REGIONAL_HEALTH: ["region_kpi"]},
            refresh=score,
        ),
    ]
    result = dg.materialize(
        nodes,
        partition_key="2026-01-01",
        resources={RESOURCE_KEY: resource_of(installation)},
        raise_on_error=False,
    )
    made = {e.asset_key.path[-1] for e in result.get_asset_materialization_events() if e.asset_key}
    assert made == ({"region_kpi"} if wrong else {"region_kpi", "regional_health"})
    assert result.success is not bool(wrong)
