"""The nodes in memory: odd fleets, daylight saving, and the same rows however the work is cut."""

from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, SECOND, Span
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.pipeline import (
    Evaluation,
    evaluate,
    evaluate_landed,
    frame_reader,
)
from fleet_dagster.training import baselines_for
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import NOON, SITES

END = NOON + 10 * MINUTE
TABLES = [
    f.name for f in fields(Evaluation) if f.name not in ("fleet", "baseline", "baseline_model")
]
WINDOW_TABLES = [name for name in TABLES if name != "site_assignment"]
BOOKS = ["used", "duplicates", "quarantined", "sampled_out"]


def run(frame: pd.DataFrame, start: int = NOON, end: int = END, **changes: Any) -> Evaluation:
    return evaluate(fleets.config(**changes), frame, fleets.utc(start), fleets.utc(end))


def nobody() -> pd.DataFrame:
    return fleets.telemetry(SITES[:1], NOON, END, seed=1).iloc[:0]


def assert_same_tables(a: Evaluation, b: Evaluation) -> None:
    for name in TABLES:
        fleets.assert_same_rows(getattr(a, name), getattr(b, name))


def test_a_fleet_without_sites_and_telemetry_scores_zero_in_every_window() -> None:
    result = run(nobody(), n_sites=0)
    assert len(result.fleet_kpi) == 10
    for name in ("total_sites", "fleet_health", "coverage", "kpi_part"):
        assert (result.fleet_kpi[name] == 0).all()
    assert result.fleet_kpi["health_min"].isna().all()
    for name in ("site_kpi", "site_ranking", "regional_health", "quarantine", "ingest_stats"):
        assert getattr(result, name).empty


def test_an_empty_span_has_no_rows() -> None:
    result = run(fleets.telemetry(SITES[:6], NOON, END, seed=1), NOON, NOON)
    assert all(getattr(result, name).empty for name in WINDOW_TABLES)


def test_one_site_is_the_whole_fleet() -> None:
    result = run(fleets.telemetry(SITES[:1], NOON, END, seed=1, dropouts=False), n_sites=1)
    assert len(result.site_ranking) == 10
    ranked = result.site_ranking
    assert (ranked["rank_in_fleet"] == 1).all()
    assert (ranked["percentile"] == 100.0).all()
    np.testing.assert_allclose(
        ranked["composite_score"], result.fleet_kpi["fleet_health"], atol=1e-12, rtol=0
    )


def test_a_fleet_that_is_stale_throughout_has_health_and_coverage_zero() -> None:
    result = run(fleets.telemetry(SITES[:6], NOON - HOUR, NOON - 30 * MINUTE, seed=1))
    assert (result.fleet_kpi["fleet_health"] == 0).all()
    assert (result.fleet_kpi["coverage"] == 0).all()
    assert (result.fleet_kpi["sites_offline"] == 6).all()
    assert result.site_ranking.empty
    assert (result.regional_health["health_score"] == 0).all()


def test_sites_without_any_kpi_keep_their_uptime_and_fault_parts() -> None:
    frame = fleets.telemetry(SITES[:6], NOON, END, seed=1, dropouts=False)
    frame = frame.assign(output_kw=np.nan, vibration=np.nan, bearing_c=np.nan)
    result = run(frame.assign(uptime_pct=90.0, fault_count=0))
    assert (result.site_kpi["kpi_count"] == 0).all()
    np.testing.assert_allclose(result.fleet_kpi["fleet_health"], (0.3 * 0.9 + 0.2) / 0.5)
    assert (result.fleet_kpi["kpi_part"] == 0).all()
    assert result.fleet_kpi["mean_kpi_00"].isna().all()


def test_a_site_of_weight_zero_is_ranked_but_moves_no_mean() -> None:
    frame = fleets.telemetry(SITES[:2], NOON, END, seed=1, dropouts=False)
    frame.loc[frame["site_id"] == "S-02", "uptime_pct"] = 0.0
    mappings = [
        {"site_id": "S-01", "region_id": "R"},
        {"site_id": "S-02", "region_id": "R", "weight": 0},
    ]
    both = run(frame, region_mappings=mappings)
    alone = run(frame[frame["site_id"] == "S-01"], region_mappings=mappings[:1])
    assert both.fleet_kpi["fleet_health"].tolist() == alone.fleet_kpi["fleet_health"].tolist()
    assert (both.fleet_kpi["coverage"] == 1).all()
    assert len(both.site_ranking) == 20
    assert (both.fleet_kpi["health_min"] < alone.fleet_kpi["health_min"]).all()


@pytest.mark.parametrize(
    ("date", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-07-01", 24)]
)
def test_a_local_day_has_each_of_its_windows_once(date: str, hours: int) -> None:
    day = pd.Timestamp(date, tz="Europe/Berlin")
    start, end = day, pd.Timestamp(date) + pd.Timedelta(days=1)
    end = end.tz_localize("Europe/Berlin")
    first, last = (int(t.tz_convert("UTC").timestamp()) * SECOND for t in (start, end))
    frame = fleets.telemetry(SITES[:2], first, last, seed=1, step=100 * SECOND, dropouts=False)
    config = fleets.config(2, 1, timezone="Europe/Berlin", interval_s=300, start_date=date)
    result = evaluate(config, frame, start, end)
    windows = result.fleet_kpi["window_start"]
    assert len(windows) == hours * 12
    assert (windows.diff().dropna() == pd.Timedelta(minutes=5)).all()
    assert windows.iloc[0] == start
    assert (result.fleet_kpi["coverage"] == 1).all()
    assert result.quarantine.empty


def test_local_stamps_of_an_hour_that_comes_twice_are_quarantined_and_booked() -> None:
    config = fleets.config(
        1,
        1,
        timezone="Europe/Berlin",
        start_date="2026-10-01",
        source={"timezone": "Europe/Berlin"},
    )
    stamps = ["2026-10-25T01:30:00", "2026-10-25T02:30:00", "2026-10-25T03:30:00"]
    frame = pd.DataFrame({"site_id": "S-01", "timestamp": stamps, "output_kw": 1.0})
    result = evaluate(config, frame, "2026-10-24T22:00Z", "2026-10-25T23:00Z")
    assert result.quarantine["problem"].tolist() == ["ambiguous_time"]
    assert result.ingest_stats["landed"].sum() == 3
    assert result.site_kpi["n_snapshots"].sum() == 2


def test_columns_of_nan_are_absent_readings_and_defaults() -> None:
    frame = fleets.telemetry(SITES[:6], NOON, END, seed=1, dropouts=False)
    empty = frame.assign(vibration=np.nan, status=np.nan, uptime_pct=np.nan, fault_count=np.nan)
    result = run(empty)
    assert result.quarantine.empty
    assert result.site_kpi["kpi_01"].isna().all()
    assert (result.site_kpi["status"] == 0).all()
    assert (result.site_kpi["uptime_pct"] == 100).all()


def test_a_site_beyond_the_profile_is_quarantined_with_the_profile_that_fits() -> None:
    sites = tuple(f"T-{i:04d}" for i in range(51))
    frame = fleets.telemetry(sites, NOON, NOON + MINUTE, seed=1, dropouts=False)
    result = run(frame, end=NOON + MINUTE, n_sites=0)
    assert (result.fleet_kpi["total_sites"] == 50).all()
    assert set(result.quarantine["site_id"]) == {"T-0050"}
    assert set(result.quarantine["problem"]) == {"site_beyond_profile"}
    assert result.quarantine["detail"].str.contains("Use profile 'medium'").all()


def test_the_thousand_and_first_site_is_quarantined_with_advice() -> None:
    sites = tuple(f"T-{i:04d}" for i in range(1001))
    frame = fleets.telemetry(sites, NOON, NOON + MINUTE, seed=1, dropouts=False)
    result = run(frame, end=NOON + MINUTE, n_sites=0, profile="large")
    assert (result.fleet_kpi["total_sites"] == 1000).all()
    assert set(result.quarantine["site_id"]) == {"T-1000"}
    assert result.quarantine["detail"].str.contains("several fleets").all()


def test_mapped_sites_keep_their_place_in_a_full_profile() -> None:
    strangers = tuple(f"A-{i:04d}" for i in range(49))
    frame = fleets.telemetry((*strangers, "S-01", "S-02"), NOON, END, seed=1, dropouts=False)
    result = run(frame, n_sites=2)
    assert (result.fleet_kpi["total_sites"] == 50).all()
    assert set(result.quarantine["site_id"]) == {"A-0048"}


def test_a_mapping_given_by_hand_replaces_the_configurations() -> None:
    frame = fleets.telemetry(SITES[:2], NOON, END, seed=1)
    mapping = [{"site_id": "S-01", "region_id": "west"}, {"site_id": "S-02", "region_id": "east"}]
    result = evaluate(fleets.config(), frame, fleets.utc(NOON), fleets.utc(END), mapping=mapping)
    assert set(result.regional_health["region_id"].astype(str)) == {"west", "east"}
    assert (result.fleet_kpi["total_sites"] == 2).all()


@pytest.mark.parametrize("seed", [1, 2])
def test_shuffled_telemetry_gives_the_same_rows(seed: int) -> None:
    frame = fleets.telemetry(SITES[:8], NOON - 10 * MINUTE, END, seed=seed, malformed=True)
    # Rows of one site and stamp are told apart by their sequence, not by their place in the file.
    frame = frame.drop_duplicates(["site_id", "timestamp"]).assign(sequence=0)
    again = frame.iloc[::7].assign(sequence=1, output_kw=1.0)
    whole = pd.concat([frame, again], ignore_index=True)
    shuffled = whole.sample(frac=1, random_state=seed)
    a, b = run(whole), run(shuffled)
    by_text = ["window_start", "site_id", "raw"]
    for name in set(TABLES) - {"quarantine"}:
        fleets.assert_same_rows(getattr(a, name), getattr(b, name))
    left, right = (
        fleets.plain(r.quarantine).drop(columns="row_no").sort_values(by_text) for r in (a, b)
    )
    fleets.assert_same_rows(left, right)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_snapshot_is_booked_once(seed: int) -> None:
    frame = fleets.telemetry(SITES[:8], NOON, END, seed=seed, malformed=True)
    result = run(frame)
    books = result.ingest_stats
    assert books["landed"].sum() == len(frame)
    assert (books["landed"] == books[BOOKS].sum(axis=1)).all()
    assert books["quarantined"].sum() == len(result.quarantine) > 0
    assert books["used"].sum() == result.site_kpi["n_snapshots"].sum()
    assert books["duplicates"].sum() == result.site_kpi["n_duplicates"].sum() > 0


@pytest.mark.parametrize("n_minutes", [40, pytest.param(120, marks=pytest.mark.slow)])
def test_minutes_window_by_window_equal_the_whole_range(n_minutes: int) -> None:
    """Half of them before a full hour, half after it; a site moves and another is new on the way."""
    start = NOON + 2 * DAY - n_minutes // 2 * MINUTE
    span = Span(start, start + n_minutes * MINUTE)
    new_from = start + n_minutes // 3 * MINUTE
    mappings = fleets.content(8, 3)["region_mappings"]
    moved = {"site_id": "S-03", "region_id": "R-0", "weight": 5.0}
    moved["valid_from"] = fleets.utc(new_from + 10 * MINUTE + 7 * SECOND).isoformat()
    config = fleets.config(region_mappings=[*mappings, moved], start_date="2026-01-05")
    history = fleets.telemetry(SITES[:9], NOON, start, seed=3, step=3 * MINUTE)
    recent = fleets.telemetry(
        SITES[:9], start - 20 * MINUTE, span.end, seed=4, step=25 * SECOND, malformed=True
    )
    landed = fleets.landed(config, pd.concat([history, recent], ignore_index=True))
    fleet = Fleet.of(config, {"S-09": new_from})
    landed = landed[(landed["site_id"] != "S-09") | (landed["timestamp"] >= fleets.utc(new_from))]
    read = frame_reader(landed)
    trained = baselines_for(fleet, read, span)
    assert not trained.baseline.empty
    whole = evaluate_landed(fleet, read, span, trained)
    windows = [evaluate_landed(fleet, read, w, trained) for w in span.steps(MINUTE)]
    assert len(windows) == n_minutes
    for name in WINDOW_TABLES:
        # no incident, and no model
        may_be_empty = name in ("fleet_correlation", "ai_inference")
        assert may_be_empty or not getattr(whole, name).empty
        parts = pd.concat([fleets.plain(getattr(w, name)) for w in windows], ignore_index=True)
        fleets.assert_same_rows(parts, getattr(whole, name))
    hours = pd.concat([fleets.plain(w.site_assignment) for w in windows]).drop_duplicates()
    fleets.assert_same_rows(hours, whole.site_assignment)


def test_baselines_train_themselves_from_what_came_before() -> None:
    start = NOON + DAY
    frame = fleets.telemetry(SITES[:8], NOON - 12 * HOUR, start + HOUR, seed=5, step=5 * MINUTE)
    result = run(
        frame, start + DAY, start + DAY + HOUR, n_sites=8, start_date="2026-01-05", interval_s=300
    )
    assert set(result.baseline["scope"]) == {"site", "region", "fleet"}
    given = evaluate(
        fleets.config(8, start_date="2026-01-05", interval_s=300),
        frame,
        fleets.utc(start + DAY),
        fleets.utc(start + DAY + HOUR),
        baseline=result.baseline,
        baseline_model=result.baseline_model,
    )
    assert_same_tables(given, result)


def test_unreadable_stamps_are_quarantined_without_a_warning() -> None:
    stamps = ["soon", fleets.utc(NOON).isoformat(), "2026-13-45T00:00:00Z"]
    frame = pd.DataFrame({"site_id": "S-01", "timestamp": stamps, "output_kw": 1.0})
    result = run(frame)
    assert result.ingest_stats["landed"].sum() == 3
    assert result.quarantine["problem"].tolist() == ["bad_time", "bad_time"]
    assert result.site_kpi["n_snapshots"].sum() == 1


def test_what_was_received_too_late_is_quarantined_where_receipt_is_known() -> None:
    frame = fleets.telemetry(SITES[:1], NOON, END, seed=1, dropouts=False)
    late = frame.assign(received_at=frame["timestamp"] + pd.Timedelta(days=8))
    result = run(late, NOON, NOON + 9 * DAY, interval_s=3600)
    assert set(result.quarantine["problem"]) == {"too_late"}
    assert result.ingest_stats["quarantined"].sum() == len(frame)
    assert result.site_kpi["n_snapshots"].sum() == 0


def test_stamps_in_unix_seconds_are_understood() -> None:
    frame = fleets.telemetry(SITES[:6], NOON, END, seed=1)
    seconds = frame.assign(timestamp=frame["timestamp"].astype("int64") // 1_000_000)
    expected = run(frame)
    result = run(seconds, source={"time_format": "unix_s"})
    fleets.assert_same_rows(result.site_kpi, expected.site_kpi)
    assert result.quarantine.empty
