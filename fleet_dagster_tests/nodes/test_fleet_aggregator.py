"""Rollups against SQL in DuckDB."""

from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from fleet_dagster.core.health import goodness, health_parts
from fleet_dagster.core.windows import MINUTE, Span
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.nodes.fleet_aggregator import fleet_aggregator
from fleet_dagster.nodes.region_mapper import region_mapper
from fleet_dagster.nodes.regional_scorer import regional_scorer
from fleet_dagster.pipeline import Evaluation, evaluate
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import NOON, SITES

SEEDS = (1, 2, 3)
SPAN = Span(NOON, NOON + 20 * MINUTE)
MEANS = """
    count(*) AS n_sites,
    count(*) FILTER (status = 0) AS sites_online,
    count(*) FILTER (status = 1) AS sites_degraded,
    count(*) FILTER (status = 2) AS sites_faulted,
    count(*) FILTER (status = 3) AS sites_offline,
    count(*) FILTER (NOT is_mapped) AS unmapped_count,
    coalesce(sum(weight * health) / nullif(sum(weight) FILTER (health IS NOT NULL), 0), 0) AS health,
    coalesce(sum(weight * kpi) / nullif(sum(weight) FILTER (kpi IS NOT NULL), 0), 0) AS kpi_part,
    coalesce(sum(weight * uptime) / nullif(sum(weight) FILTER (uptime IS NOT NULL), 0), 0)
        AS uptime_part,
    coalesce(sum(weight * fault) / nullif(sum(weight) FILTER (fault IS NOT NULL), 0), 0)
        AS fault_part,
    sum(weight * kpi_00) / nullif(sum(weight) FILTER (kpi_00 IS NOT NULL), 0) AS mean_kpi_00,
    sum(weight * kpi_01) / nullif(sum(weight) FILTER (kpi_01 IS NOT NULL), 0) AS mean_kpi_01,
    sum(weight * kpi_02) / nullif(sum(weight) FILTER (kpi_02 IS NOT NULL), 0) AS mean_kpi_02,
    min(health) AS health_min,
    max(health) AS health_max,
    coalesce(sum(weight) FILTER (health IS NOT NULL) / nullif(sum(weight), 0), 0) AS coverage
"""
COUNTS = ["sites_online", "sites_degraded", "sites_faulted", "sites_offline"]
KPI_MEANS = ["mean_kpi_00", "mean_kpi_01", "mean_kpi_02"]
PARTS = ["kpi_part", "uptime_part", "fault_part"]


def evaluated(seed: int) -> Evaluation:
    """Evaluate ten sites in three regions, one of weight 0, one unmapped, one that moves at 12:10:30."""
    rng = np.random.default_rng(seed)
    mappings = [
        {"site_id": s, "region_id": f"R-{i % 3}", "weight": float(rng.choice([0.5, 1, 2.25, 1e3]))}
        for i, s in enumerate(SITES[:9])
    ]
    mappings[4]["weight"] = 0.0
    mappings.append(
        {
            "site_id": SITES[0],
            "region_id": "R-1",
            "weight": 7.0,
            "valid_from": fleets.utc(NOON + 630_000_000).isoformat(),
        }
    )
    config = fleets.config(region_mappings=mappings)
    frame = fleets.telemetry(SITES, NOON - 5 * MINUTE, SPAN.end, seed=seed)
    return evaluate(config, frame, fleets.utc(SPAN.start), fleets.utc(SPAN.end))


def in_sql(result: Evaluation, group_by: str) -> pd.DataFrame:
    """Roll up in DuckDB; only each site's own health comes from the package."""
    rows = result.site_kpi
    values = rows[["kpi_00", "kpi_01", "kpi_02"]].to_numpy(np.float64)
    parts = health_parts(
        goodness(values, result.fleet.config.kpis),
        result.fleet.config.health_weights,
        rows["uptime_pct"].to_numpy(np.float64),
        rows["fault_count"].to_numpy(np.float64, na_value=np.nan),
    )
    scored = fleets.plain(rows).assign(
        health=parts.kpi + parts.uptime + parts.fault,
        kpi=parts.kpi,
        uptime=parts.uptime,
        fault=parts.fault,
    )
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        db.register("site_rows", pa.Table.from_pandas(scored, preserve_index=False))
        assignment = fleets.plain(result.site_assignment)
        db.register("assignment", pa.Table.from_pandas(assignment, preserve_index=False))
        found: pd.DataFrame = (
            db.sql(
                f"""
            SELECT {group_by}, {MEANS}
            FROM site_rows s
            JOIN assignment a
              ON s.site_id = a.site_id
             AND s.window_start >= a.window_start AND s.window_start < a.window_end
            GROUP BY {group_by}
            ORDER BY {group_by}
            """  # noqa: S608 - constants of this module
            )
            .to_arrow_table()
            .to_pandas()
        )
    return found


def assert_means_equal(found: pd.DataFrame, expected: pd.DataFrame, health: str) -> None:
    assert len(found) == len(expected)
    for name in COUNTS:
        assert found[name].tolist() == expected[name].tolist()
    pairs = [(health, "health"), *[(name, name) for name in [*PARTS, "health_min", "coverage"]]]
    for own, theirs in pairs:
        np.testing.assert_allclose(found[own], expected[theirs], rtol=0, atol=1e-9, err_msg=own)
    for name in KPI_MEANS:  # stored as float32
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-7, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("seed", SEEDS)
def test_fleet_means_equal_sql(seed: int) -> None:
    result = evaluated(seed)
    expected = in_sql(result, "s.window_start")
    assert_means_equal(result.fleet_kpi, expected, "fleet_health")
    assert result.fleet_kpi["total_sites"].tolist() == expected["n_sites"].tolist()
    assert result.fleet_kpi["unmapped_count"].tolist() == expected["unmapped_count"].tolist()
    np.testing.assert_allclose(
        result.fleet_kpi["health_max"], expected["health_max"], rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_region_means_equal_sql(seed: int) -> None:
    result = evaluated(seed)
    expected = in_sql(result, "s.window_start, a.region_id")
    assert result.regional_health["region_id"].tolist() == expected["region_id"].tolist()
    assert_means_equal(result.regional_health, expected, "health_score")


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_add_up_to_the_health(seed: int) -> None:
    result = evaluated(seed)
    for rows, health in (
        (result.fleet_kpi, "fleet_health"),
        (result.regional_health, "health_score"),
    ):
        np.testing.assert_allclose(rows[PARTS].sum(axis=1), rows[health], rtol=0, atol=1e-12)
        assert rows[health].between(0, 1).all()


def shuffled_fleet(fleet: Fleet, order: NDArray[np.int64]) -> Fleet:
    return replace(fleet, sites=tuple(fleet.sites[i] for i in order))


@pytest.mark.parametrize("seed", SEEDS)
def test_means_keep_every_bit_whatever_order_sites_were_registered_in(seed: int) -> None:
    result = evaluated(seed)
    order = np.random.default_rng(seed).permutation(len(result.fleet.sites))
    other = shuffled_fleet(result.fleet, order)
    assignment = region_mapper(other, SPAN)
    rolled = fleet_aggregator(other, result.site_kpi, assignment, result.anomaly_score, SPAN)
    fleets.assert_same_rows(rolled.fleet_kpi, result.fleet_kpi)
    # Of sites with equal health the first registered is the worst; here no two are equal.
    fleets.assert_same_rows(rolled.region_kpi, result.region_kpi)


def test_weights_in_another_unit_of_a_power_of_two_change_no_bit() -> None:
    small = fleets.config()
    large = fleets.config(
        region_mappings=[
            {**m.model_dump(), "weight": 1024 * m.weight} for m in small.region_mappings
        ]
    )
    frame = fleets.telemetry(SITES[:6], NOON, SPAN.end, seed=4)
    a, b = (evaluate(c, frame, fleets.utc(NOON), fleets.utc(SPAN.end)) for c in (small, large))
    fleets.assert_same_rows(a.fleet_kpi, b.fleet_kpi)
    fleets.assert_same_rows(a.regional_health, b.regional_health)


def test_full_coverage_is_exactly_one() -> None:
    weights = [0.1, 0.2, 0.3, 0.7, 1.1, 1 / 3]
    mappings = [
        {"site_id": s, "region_id": "R", "weight": w}
        for s, w in zip(SITES[:6], weights, strict=True)
    ]
    frame = fleets.telemetry(SITES[:6], NOON, SPAN.end, seed=5, dropouts=False)
    result = evaluate(
        fleets.config(region_mappings=mappings), frame, fleets.utc(NOON), fleets.utc(SPAN.end)
    )
    assert (result.fleet_kpi["coverage"] == 1.0).all()
    assert (result.regional_health["coverage"] == 1.0).all()


def test_a_region_of_which_no_site_reports_scores_zero_and_is_critical() -> None:
    frame = fleets.telemetry(("S-01",), NOON, SPAN.end, seed=6, dropouts=False)
    result = evaluate(fleets.config(2, 2), frame, fleets.utc(NOON), fleets.utc(SPAN.end))
    silent = result.regional_health[result.regional_health["region_id"] == "R-1"]
    assert len(silent) == 20
    assert (silent["health_score"] == 0).all()
    assert (silent["coverage"] == 0).all()
    assert (silent["band"].astype(str) == "critical").all()
    assert silent["health_min"].isna().all()
    assert silent["worst_site_id"].isna().all()


def test_no_rows_of_regions_score_to_no_rows() -> None:
    result = evaluated(1)
    assert regional_scorer(result.region_kpi.iloc[:0]).empty
