"""A storm in a fleet of sixty, through all nodes, against the same telemetry without one."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fleet_dagster.core.health import compute_health_score, goodness
from fleet_dagster.core.panel import draw_panel
from fleet_dagster.core.windows import MINUTE
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.pipeline import Evaluation, evaluate
from fleet_dagster_tests import fleets
from fleet_dagster_tests.core.naive_storm import NaiveSite, NaiveStorm
from fleet_dagster_tests.fleets import NOON

SITES = tuple(f"S-{i:02d}" for i in range(60))
REGIONS = ["north"] * 26 + ["south"] * 22 + ["isle"] * 12
CRITICAL = ("S-03", "S-30", "S-59")
SEEDS = (1, 2)
N_WINDOWS = 24
STORM = (8, 14)
"""The storm's first window, counted from noon, and the first after it."""
AFTER = 4
"""Windows after a storm whose persistence flags still look back into it."""
TABLES = ("site_kpi", "fleet_kpi", "region_kpi", "regional_health", "site_ranking", "ingest_stats")
COUNTS = ["sites_online", "sites_degraded", "sites_faulted", "sites_offline"]
KPIS = ["kpi_00", "kpi_01", "kpi_02"]


def at(window: int) -> Any:  # Any: a time stamp
    return fleets.utc(NOON + window * MINUTE)


def config() -> FleetConfig:
    mappings = [
        {"site_id": s, "region_id": r, "weight": 1.0 + i % 5, "critical": s in CRITICAL}
        for i, (s, r) in enumerate(zip(SITES, REGIONS, strict=True))
    ]
    return fleets.config(region_mappings=mappings, profile="medium")


def telemetry(seed: int) -> pd.DataFrame:
    """Return snapshots with silent stretches, duplicates, malformed ones and absent readings, all of good quality."""
    start, end = NOON - 10 * MINUTE, NOON + N_WINDOWS * MINUTE
    frame = fleets.telemetry(SITES, start, end, seed=seed, malformed=True)
    # Rows of one site and stamp are told apart by their place in the file, which is the same in every run.
    return frame.assign(quality=0)


@cache
def evaluated(
    seed: int, storms: tuple[tuple[int, int], ...] = (STORM,), first: int = 0, last: int = N_WINDOWS
) -> Evaluation:
    episodes = [(at(start), at(end)) for start, end in storms]
    return evaluate(config(), telemetry(seed), at(first), at(last), storms=episodes)


def both(seed: int) -> tuple[Evaluation, Evaluation]:
    """Return the run with the storm and the one without."""
    return evaluated(seed), evaluated(seed, ())


def inside(rows: pd.DataFrame, first: int = STORM[0], last: int = STORM[1]) -> pd.DataFrame:
    starts = rows["window_start"]
    found: pd.DataFrame = rows[(starts >= at(first)) & (starts < at(last))].reset_index(drop=True)
    return found


def panel_of_storm() -> set[str]:
    """Return the sites that the episode reads, drawn from its name."""
    panel = draw_panel(
        "plant",
        "storm-20260105T120800Z",
        site_ids=SITES,
        regions=REGIONS,
        is_critical=np.isin(SITES, CRITICAL),
    )
    return {site for site, read in zip(SITES, panel.is_read, strict=True) if read}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("table", ["fleet_kpi", "region_kpi"])
def test_status_counts_in_a_storm_are_exact(seed: int, table: str) -> None:
    storm, full = (inside(getattr(run, table)) for run in both(seed))
    fleets.assert_same_rows(storm[COUNTS], full[COUNTS])
    assert (storm["sites_degraded"] > 0).any()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("table", ["fleet_kpi", "region_kpi"])
def test_uptime_and_fault_parts_in_a_storm_are_exact(seed: int, table: str) -> None:
    storm, full = (inside(getattr(run, table)) for run in both(seed))
    names = ["uptime_part", "fault_part"]
    fleets.assert_same_rows(storm[names], full[names])


@pytest.mark.parametrize("seed", SEEDS)
def test_coverage_and_number_of_sites_in_a_storm_are_exact(seed: int) -> None:
    storm, full = (inside(run.fleet_kpi) for run in both(seed))
    names = ["total_sites", "unmapped_count", "coverage"]
    fleets.assert_same_rows(storm[names], full[names])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_fleets_kpi_part_in_a_storm_is_estimated_by_the_formulas(seed: int) -> None:
    storm, full = both(seed)
    sites = full.site_kpi[full.site_kpi["window_start"] == at(STORM[0] + 2)].reset_index(drop=True)
    found = inside(storm.fleet_kpi).loc[2]
    by_hand = naive(full, sites)
    assert found["kpi_part"] == pytest.approx(by_hand.mean(None), abs=1e-9)
    assert found["health_stderr"] == pytest.approx(by_hand.stderr(None), abs=1e-9)
    assert 0 < found["health_stderr"] < 0.1


def naive(full: Evaluation, sites: pd.DataFrame) -> NaiveStorm:
    """Return a window's sites, the panel's with what their KPIs add to their health."""
    read, weights = panel_of_storm(), full.fleet.config.health_weights
    sizes = {"north": (25, 3), "south": (21, 3), "isle": (11, 2)}  # without the critical ones
    strata = {"north": 0, "south": 1, "isle": 2}
    regions = {"isle": 0, "north": 1, "south": 2}
    ranked = dict(zip(SITES, health_of(full, sites), strict=True))
    rows = []
    for i, row in sites.iterrows():
        name, region = str(row["site_id"]), str(row["region_id"])
        if pd.isna(row["last_seen"]):
            continue
        known = weights.uptime_weight * row["uptime_pct"] / 100
        known += weights.fault_weight * np.exp(-row["fault_count"] / 5)
        is_certain = name in CRITICAL
        rows.append(
            NaiveSite(
                weight=(1.0 + int(str(i)) % 5) / 8,
                region=regions[region],
                stratum=-1 if is_certain else strata[region],
                is_certain=is_certain,
                is_read=name in read,
                status=int(row["status"]),
                design=0.0 if is_certain else sizes[region][0] / sizes[region][1],
                value=float(ranked[name] - known) if name in read else np.nan,
            )
        )
    return NaiveStorm(rows, 3, [True, True, False])


def health_of(full: Evaluation, sites: pd.DataFrame) -> Any:  # Any: one number a site
    values = goodness(sites[KPIS].to_numpy(np.float64), full.fleet.config.kpis)
    uptime, faults = (
        sites[name].to_numpy(np.float64, na_value=np.nan) for name in ("uptime_pct", "fault_count")
    )
    return compute_health_score(values, full.fleet.config.health_weights, uptime, faults)


@pytest.mark.parametrize("seed", SEEDS)
def test_kpis_of_sites_outside_the_panel_are_not_shown(seed: int) -> None:
    storm, full = (inside(fleets.plain(run.site_kpi)) for run in both(seed))
    is_read = storm["site_id"].isin(panel_of_storm())
    assert storm.loc[~is_read, KPIS].isna().all(axis=None)
    assert (storm.loc[~is_read, "kpi_count"] == 0).all()
    assert full.loc[~is_read, KPIS].notna().any(axis=None)
    names = [*KPIS, "kpi_count"]
    fleets.assert_same_rows(storm.loc[is_read, names], full.loc[is_read, names])


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_else_of_a_site_in_a_storm_is_as_ever(seed: int) -> None:
    storm, full = (inside(run.site_kpi) for run in both(seed))
    hidden = [*KPIS, "kpi_count", "disposition", "published"]
    fleets.assert_same_rows(storm.drop(columns=hidden), full.drop(columns=hidden))


@pytest.mark.parametrize("seed", SEEDS)
def test_dispositions_in_a_storm_say_who_is_read(seed: int) -> None:
    rows = inside(fleets.plain(evaluated(seed).site_kpi))
    expected = np.where(rows["site_id"].isin(panel_of_storm()), "sampled", "sampled_out")
    expected = np.where(rows["last_seen"].isna(), "stale", expected)
    assert rows["disposition"].tolist() == expected.tolist()
    assert rows["published"].tolist() == (expected == "sampled").tolist()
    assert set(expected) == {"sampled", "sampled_out", "stale"}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_snapshot_is_booked_once_those_not_read_as_sampled_out(seed: int) -> None:
    storm, full = (run.ingest_stats for run in both(seed))
    shares = storm[["used", "duplicates", "quarantined", "sampled_out"]].sum(axis=1)
    assert shares.tolist() == storm["landed"].tolist() == full["landed"].tolist()
    assert storm["duplicates"].tolist() == full["duplicates"].tolist()
    assert storm["quarantined"].tolist() == full["quarantined"].tolist()
    in_storm = inside(storm)
    assert (in_storm["sampled_out"] > in_storm["used"]).all()
    assert storm["sampled_out"].sum() == in_storm["sampled_out"].sum()
    assert (full["sampled_out"] == 0).all()
    rows = fleets.plain(inside(evaluated(seed).site_kpi))
    unread = rows[~rows["site_id"].isin(panel_of_storm())]
    counted = unread.groupby("window_start")["n_snapshots"].sum()
    assert in_storm["sampled_out"].tolist() == counted.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_rankings_in_a_storm_are_of_the_panel(seed: int) -> None:
    ranks = fleets.plain(inside(evaluated(seed).site_ranking))
    assert set(ranks["site_id"]) <= panel_of_storm()
    assert set(ranks["site_id"]) >= set(CRITICAL) - {"S-59"}
    for _, window in ranks.groupby("window_start"):
        assert sorted(window["rank_in_fleet"]) == list(range(1, len(window) + 1))


def test_windows_in_a_storm_say_so() -> None:
    rows = evaluated(1).fleet_kpi
    modes = rows["ingestion_mode"].astype(str)
    calm = ["downsample_healthy"]
    assert modes.tolist() == calm * 8 + ["storm"] * 6 + calm * (N_WINDOWS - 14)
    n_read = len(panel_of_storm())
    assert n_read == 3 + 3 + 2 + 3  # critical, and of 25, 21 and 11 others
    in_storm = inside(rows)
    np.testing.assert_allclose(in_storm["sampled_fraction"], n_read / 60, rtol=1e-6)
    outside = rows[modes != "storm"]
    assert (outside["sampled_fraction"] == 1).all()
    assert (outside["health_stderr"] == 0).all()
    assert (in_storm["health_stderr"] > 0).all()


def test_regions_with_fewer_than_five_sites_read_or_pooled_have_no_standard_error() -> None:
    rows = inside(evaluated(1).regional_health)
    # Of north and south four sites each are read, of the pooled isle three.
    assert rows["health_stderr"].isna().all()
    assert rows["health_score"].between(0, 1).all()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("table", TABLES)
def test_windows_before_a_storm_are_those_of_a_run_without_it(seed: int, table: str) -> None:
    storm, full = (inside(getattr(run, table), 0, STORM[0]) for run in both(seed))
    fleets.assert_same_rows(storm, full)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("table", TABLES)
def test_windows_after_a_storm_are_those_of_a_run_without_it(seed: int, table: str) -> None:
    storm, full = (inside(getattr(run, table), STORM[1], N_WINDOWS) for run in both(seed))
    if table != "site_ranking":
        fleets.assert_same_rows(storm, full)
        return
    looks_back = "is_persistent_outlier"
    fleets.assert_same_rows(storm.drop(columns=looks_back), full.drop(columns=looks_back))
    later = [inside(rows, STORM[1] + AFTER, N_WINDOWS) for rows in (storm, full)]
    fleets.assert_same_rows(*later)


def snapshot(site: str, window: float, **values: Any) -> dict[str, Any]:
    stamp = fleets.utc(NOON + int(window * MINUTE))
    return {"site_id": site, "timestamp": stamp, "output_kw": 256.0, **values}


def quiet_fleet(**silent: float) -> pd.DataFrame:
    """Return a snapshot of each site in the middle of each window, but for sites silent from a window on."""
    rows = [
        snapshot(site, window + 0.5)
        for site in SITES
        for window in range(-3, N_WINDOWS)
        if window < silent.get(site.replace("-", "_"), N_WINDOWS)
    ]
    return pd.DataFrame(rows)


def unread_site() -> str:
    return next(site for site in SITES if site not in panel_of_storm())


def test_a_silent_site_carries_what_it_sent_in_a_storm_that_did_not_read_it_into_the_window_after() -> (
    None
):
    site = unread_site()
    frame = quiet_fleet(**{site.replace("-", "_"): STORM[1]})
    run = evaluate(config(), frame, at(0), at(N_WINDOWS), storms=[(at(STORM[0]), at(STORM[1]))])
    rows = fleets.plain(run.site_kpi)
    own = rows[rows["site_id"] == site].reset_index(drop=True)
    assert own["kpi_00"][STORM[0] - 1] == 0.5
    assert own.loc[STORM[0] : STORM[1] - 1, "kpi_00"].isna().all()
    assert own["n_snapshots"][STORM[1]] == 0
    assert own["kpi_00"][STORM[1]] == 0.5
    assert own["status"][STORM[1]] == 0


def test_a_silent_site_of_the_panel_carries_what_it_sent_before_the_storm_into_it() -> None:
    site = CRITICAL[0]
    frame = quiet_fleet(**{site.replace("-", "_"): STORM[0]})
    run = evaluate(config(), frame, at(0), at(N_WINDOWS), storms=[(at(STORM[0]), at(STORM[1]))])
    rows = fleets.plain(run.site_kpi)
    first = rows[(rows["site_id"] == site) & (rows["window_start"] == at(STORM[0]))]
    assert first["n_snapshots"].tolist() == [0]
    assert first["kpi_00"].tolist() == [0.5]
    assert first["disposition"].tolist() == ["sampled"]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("seed", SEEDS)
def test_window_by_window_gives_the_rows_of_the_whole_span(seed: int, table: str) -> None:
    whole = getattr(evaluated(seed), table)
    parts = [
        getattr(evaluated(seed, (STORM,), w, w + 1), table)
        for w in range(STORM[0] - 2, STORM[1] + 2)
    ]
    joined = pd.concat([fleets.plain(part) for part in parts], ignore_index=True)
    fleets.assert_same_rows(joined, inside(whole, STORM[0] - 2, STORM[1] + 2))


def test_two_storms_back_to_back_read_two_panels() -> None:
    rows = fleets.plain(evaluated(1, ((4, 8), (8, 12))).site_kpi)
    read = rows[rows["disposition"] == "sampled"]
    first, second = (
        set(inside(read, *span)["site_id"]) - set(CRITICAL) for span in ((4, 8), (8, 12))
    )
    assert first != second


def test_a_storm_that_covers_the_whole_span_is_the_same_storm() -> None:
    part = evaluated(1, (STORM,), STORM[0] + 1, STORM[1] - 1)
    for table in TABLES:
        whole = inside(getattr(evaluated(1), table), STORM[0] + 1, STORM[1] - 1)
        fleets.assert_same_rows(getattr(part, table), whole)


def test_a_storm_in_which_nobody_reports_scores_zero() -> None:
    frame = quiet_fleet(**{site.replace("-", "_"): -2.0 for site in SITES})
    run = evaluate(config(), frame, at(0), at(N_WINDOWS), storms=[(at(STORM[0]), at(STORM[1]))])
    rows = inside(run.fleet_kpi)
    assert (rows["fleet_health"] == 0).all()
    assert (rows["sites_offline"] == 60).all()
    assert (rows["health_stderr"] == 0).all()


def test_where_no_site_of_the_panel_reports_health_rests_on_uptime_and_faults() -> None:
    silent = dict.fromkeys((site.replace("-", "_") for site in panel_of_storm()), 0.0)
    run = evaluate(
        config(), quiet_fleet(**silent), at(0), at(N_WINDOWS), storms=[(at(STORM[0]), at(STORM[1]))]
    )
    rows = inside(run.fleet_kpi)
    # Every site that reports is up and has no fault: the best that is known of the fleet.
    np.testing.assert_allclose(rows["fleet_health"], 1.0, atol=1e-12)
    assert rows["health_stderr"].isna().all()


def test_a_fleet_of_critical_sites_loses_nothing_in_a_storm() -> None:
    mappings = [{**m.model_dump(), "critical": True} for m in config().region_mappings]
    own = fleets.config(region_mappings=mappings, profile="medium")
    storm, full = (
        evaluate(own, telemetry(1), at(0), at(N_WINDOWS), storms=storms)
        for storms in ([(at(STORM[0]), at(STORM[1]))], [])
    )
    for table in ("fleet_kpi", "region_kpi"):
        a, b = (
            getattr(run, table).drop(columns="ingestion_mode", errors="ignore")
            for run in (storm, full)
        )
        numbers = a.select_dtypes("number").columns
        np.testing.assert_allclose(
            a[numbers].to_numpy(np.float64, na_value=np.nan),
            b[numbers].to_numpy(np.float64, na_value=np.nan),
            rtol=0,
            atol=1e-7,
        )
