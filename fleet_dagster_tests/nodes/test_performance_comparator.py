import math

import numpy as np
import pandas as pd
import pytest

from fleet_dagster.core.windows import DAY, MINUTE, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import persistence_lookback
from fleet_dagster.model.tables import BASELINE
from fleet_dagster.nodes.performance_comparator import performance_comparator
from fleet_dagster.nodes.region_mapper import region_mapper
from fleet_dagster.pipeline import Evaluation, evaluate, frame_reader
from fleet_dagster.site_rows import ingest
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import NOON, SITES
from fleet_dagster_tests.oracles import naive_ranks, naive_z

SEEDS = (1, 2, 3)
DEFAULT_MAD = 0.05
END = NOON + 12 * MINUTE


def evaluated(seed: int, n_regions: int = 2) -> Evaluation:
    config = fleets.config(10, n_regions, start_date="2026-01-05")
    frame = fleets.telemetry(SITES, NOON - 6 * MINUTE, END, seed=seed)
    return evaluate(config, frame, fleets.utc(NOON), fleets.utc(END))


@pytest.mark.parametrize("n_regions", [1, 2, 4])
@pytest.mark.parametrize("seed", SEEDS)
def test_ranks_and_scores_equal_the_book_in_every_window(seed: int, n_regions: int) -> None:
    result = evaluated(seed, n_regions)
    assert len(result.site_ranking) > 50
    for _, window in result.site_ranking.groupby("window_start"):
        scores = window["composite_score"].to_numpy()
        assert window["rank_in_fleet"].tolist() == naive_ranks(scores)
        found = window["modified_z_fleet"].to_numpy()
        assert found == pytest.approx(naive_z(scores, DEFAULT_MAD), abs=1e-9, nan_ok=True)
        share = [100 * (1 - (rank - 1) / len(window)) for rank in naive_ranks(scores)]
        assert window["percentile"].tolist() == pytest.approx(share)
        for _, region in window.groupby("region_id", observed=True):
            own = region["composite_score"].to_numpy()
            assert region["rank_in_region"].tolist() == naive_ranks(own)
            z = region["modified_z_region"].to_numpy()
            assert z == pytest.approx(naive_z(own, DEFAULT_MAD), abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_outlier_is_one_in_region_or_fleet(seed: int) -> None:
    rows = evaluated(seed).site_ranking
    in_region = rows["modified_z_region"].abs().round(9) > 3.0
    in_fleet = rows["modified_z_fleet"].abs().round(9) > 3.0
    scope = np.array(["none", "region", "fleet", "both"], dtype=object)[
        in_region.astype(int) + 2 * in_fleet.astype(int)
    ]
    assert rows["is_outlier"].tolist() == (in_region | in_fleet).tolist()
    assert rows["outlier_scope"].astype(str).tolist() == scope.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_only_fresh_sites_are_ranked(seed: int) -> None:
    result = evaluated(seed)
    fresh = result.site_kpi[result.site_kpi["last_seen"].notna()]
    ranked = set(
        zip(result.site_ranking["window_start"], result.site_ranking["site_id"], strict=True)
    )
    assert ranked == set(zip(fresh["window_start"], fresh["site_id"], strict=True))


def fleet_with_failures(bad_windows: set[int]) -> tuple[Fleet, pd.DataFrame]:
    """Return ten sites alike but for the last, which fails in the given windows relative to noon."""
    config = fleets.config(10, 1, start_date="2026-01-05")
    stamps = np.arange(NOON - 10 * MINUTE, END, MINUTE)
    rows = [
        {
            "site_id": site,
            "timestamp": fleets.utc(int(at)),
            "status": 0,
            "uptime_pct": 0.0
            if site == SITES[9] and (at - NOON) // MINUTE in bad_windows
            else 99.0,
            "fault_count": 0,
            "output_kw": 300.0 + i,
            "vibration": 2.0,
            "bearing_c": 60.0,
        }
        for at in stamps
        for i, site in enumerate(SITES)
    ]
    return Fleet.of(config), fleets.landed(config, pd.DataFrame(rows))


def ranked(fleet: Fleet, landed: pd.DataFrame, *, lookback: int) -> pd.DataFrame:
    span = Span(NOON, END)
    block = span.widen(before=10 * MINUTE)
    assignment = region_mapper(fleet, block)
    rows = ingest(fleet, frame_reader(landed), assignment, fleets.UNTRAINED, block).site_kpi
    known = frames.within(rows, span.widen(before=lookback))
    none = frames.empty_frame(BASELINE)
    return performance_comparator(fleet, known, assignment, none, span)


def flags(rows: pd.DataFrame) -> list[bool]:
    own = rows[rows["site_id"].astype(str) == SITES[9]]
    return [bool(flag) for flag in own["is_persistent_outlier"]]


def test_three_bad_windows_of_five_make_a_persistent_outlier() -> None:
    bad = {-4, -3, 0, 3, 4}
    fleet, landed = fleet_with_failures(bad)
    found = flags(ranked(fleet, landed, lookback=persistence_lookback(fleet)))
    expected = [len(bad & set(range(w - 4, w + 1))) >= 3 for w in range(12)]
    assert found == expected
    assert any(found)
    assert not all(found)


def test_reading_exactly_the_declared_lookback_is_enough() -> None:
    fleet, landed = fleet_with_failures({-9, -8, -7, -6, -5, -4, -3, 0})
    enough = ranked(fleet, landed, lookback=persistence_lookback(fleet))
    more = ranked(fleet, landed, lookback=10 * MINUTE)
    fleets.assert_same_rows(enough, more)


def test_one_window_less_than_the_declared_lookback_changes_a_row() -> None:
    fleet, landed = fleet_with_failures({-4, -3, 0})
    enough = ranked(fleet, landed, lookback=persistence_lookback(fleet))
    less = ranked(fleet, landed, lookback=persistence_lookback(fleet) - MINUTE)
    assert flags(enough)[0]
    assert not flags(less)[0]


def test_the_long_run_mad_of_the_baseline_in_force_is_used() -> None:
    config = fleets.config(10, 1, start_date="2026-01-05")
    noon = NOON + 2 * DAY
    frame = fleets.telemetry(SITES, noon, noon + 5 * MINUTE, seed=7, dropouts=False)
    trained = pd.DataFrame(
        {
            "window_start": pd.Timestamp("2026-01-07T00:00Z"),
            "scope": ["fleet", "region"],
            "scope_id": ["plant", "R-0"],
            "mad": [0.011, 0.2],
        }
    )
    result = evaluate(
        config, frame, fleets.utc(noon), fleets.utc(noon + 5 * MINUTE), baseline=trained
    )
    for _, window in result.site_ranking.groupby("window_start"):
        scores = window["composite_score"].to_numpy()
        assert window["modified_z_fleet"].to_numpy() == pytest.approx(naive_z(scores, 0.011))
        assert window["modified_z_region"].to_numpy() == pytest.approx(naive_z(scores, 0.2))


def test_at_midnight_the_next_days_baseline_takes_over() -> None:
    config = fleets.config(10, 1, start_date="2026-01-05")
    midnight = fleets.MIDNIGHT + 3 * DAY
    span = Span(midnight - 5 * MINUTE, midnight + 5 * MINUTE)
    frame = fleets.telemetry(SITES, span.start, span.end, seed=8, dropouts=False)
    days = pd.to_datetime(["2026-01-07T00:00Z", "2026-01-08T00:00Z"])
    trained = pd.DataFrame(
        {"window_start": days, "scope": "fleet", "scope_id": "plant", "mad": [0.01, 0.3]}
    )
    result = evaluate(config, frame, fleets.utc(span.start), fleets.utc(span.end), baseline=trained)
    for _, window in result.site_ranking.groupby("window_start"):
        mad = 0.01 if window["window_start"].iloc[0] < days[1] else 0.3
        expected = naive_z(window["composite_score"].to_numpy(), mad)
        assert window["modified_z_fleet"].to_numpy() == pytest.approx(expected)


def test_fewer_than_three_sites_have_no_modified_z() -> None:
    frame = fleets.telemetry(SITES[:2], NOON, END, seed=1, dropouts=False)
    rows = evaluate(fleets.config(2, 1), frame, fleets.utc(NOON), fleets.utc(END)).site_ranking
    assert rows["modified_z_fleet"].isna().all()
    assert not rows["is_outlier"].any()
    assert rows["rank_in_fleet"].isin([1, 2]).all()
    assert not math.isnan(rows["percentile"].sum())
