"""E1 with everything that event time brings: the same rows by range, shuffled days, two processes, and window by window."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from fleet_dagster.model.tables import (
    BASELINES,
    FLEET_KPI,
    INGEST_STATS,
    QUARANTINE,
    SITE_KPI,
    SITE_TELEMETRY,
    derived_tables,
)
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests import worker
from fleet_dagster_tests.refresh.event_week import EventWeek

QUICK = [EventWeek(n_sites=60, n_days=2, interval_s=1800), EventWeek(205, 2, 3600)]
WEEK = EventWeek(n_sites=300, n_days=7, interval_s=300)
SIZES = [
    *(pytest.param(week, id=f"{week.n_sites}-sites") for week in QUICK),
    pytest.param(WEEK, id="300-sites", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=SIZES)
def week(request: pytest.FixtureRequest) -> EventWeek:
    found: EventWeek = request.param
    return found


@pytest.fixture(scope="module")
def whole(week: EventWeek, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Return a store refreshed as one range."""
    with Store.at(at.new_home(tmp_path_factory.mktemp("whole"))) as store:
        week.land(store)
        week.refresh(store, [at.days(0, week.n_days)])
        yield store


def test_the_busy_hours_have_every_event(whole: Store, week: EventWeek) -> None:
    span = week.busy_hours
    fleet_kpi = at.rows_of(whole, FLEET_KPI, span)
    site_kpi = at.rows_of(whole, SITE_KPI, span)
    calm = "downsample_healthy" if week.n_sites <= 200 else "deviation_only"
    assert set(fleet_kpi["ingestion_mode"]) == {calm, "storm"}
    assert {"sampled", "sampled_out", "stale", "deviating"} <= set(site_kpi["disposition"])
    first = site_kpi[site_kpi["site_id"] == week.config.region_mappings[0].site_id]
    assert first["region_id"].nunique() == 2
    books = at.rows_of(whole, INGEST_STATS, span)
    assert (books[["duplicates", "quarantined", "sampled_out"]].sum() > 0).all()
    assert {"not_finite", "bad_uptime"} <= set(at.rows_of(whole, QUARANTINE)["problem"])
    telemetry = at.rows_of(whole, SITE_TELEMETRY)
    assert "too_late" in set(telemetry["problem"])
    late = telemetry["received_at"] - telemetry["timestamp"] > pd.Timedelta(hours=1)
    assert (late & telemetry["problem"].isna()).sum() > 20
    parts = books[["used", "duplicates", "quarantined", "sampled_out"]].sum(axis=1)
    assert (books["landed"] == parts).all()


def test_single_days_in_any_order_give_the_same_rows(
    whole: Store, week: EventWeek, tmp_path: Path
) -> None:
    with Store.at(at.new_home(tmp_path)) as store:
        week.land(store)
        week.refresh(store, at.shuffled(at.days(0, week.n_days).days(), seed=2))
        assert at.assert_same_tables(at.tables_of(store), at.tables_of(whole)) > 10_000
        assert all(rows.empty for rows in at.replaced_rows(store).values())


def test_six_hours_window_by_window_give_the_same_rows(
    whole: Store, week: EventWeek, tmp_path: Path
) -> None:
    with Store.at(at.new_home(tmp_path)) as store:
        week.land(store)
        week.refresh(store, week.busy_hours.steps(week.interval_s * 1_000_000))
        for table in derived_tables():
            found = at.rows_of(store, table)
            expected = at.rows_of(whole, table, None if table in BASELINES else week.busy_hours)
            if table in BASELINES:  # also of the days that incidents look back at
                expected = expected[expected["window_start"].isin(found["window_start"])]
            at.assert_same(table, found, expected)
        assert all(rows.empty for rows in at.replaced_rows(store).values())


def test_two_processes_over_the_same_days_give_the_same_rows(
    whole: Store, week: EventWeek, tmp_path: Path
) -> None:
    with Store.at(at.new_home(tmp_path)) as store:
        week.land(store)
        at.run_together(store, worker.week, [week_share(week, 1), week_share(week, 2)])
        at.assert_same_tables(at.tables_of(store), at.tables_of(whole))
        assert all(rows.empty for rows in at.replaced_rows(store).values())


def test_storms_are_found_in_the_telemetry(whole: Store, week: EventWeek) -> None:
    found = [r.episode for r in whole.storms.recorded(at.NAME)]
    assert len(found) > len(week.by_hand)
    windows = at.rows_of(whole, FLEET_KPI)
    starts = windows["window_start"].astype("int64")
    in_storm = windows["ingestion_mode"] == "storm"
    expected = [any(e.start <= s < e.end for e in found) for s in starts]
    assert list(in_storm) == expected


def week_share(week: EventWeek, seed: int) -> tuple[int, ...]:
    """Return what the worker needs to refresh the days of the week in an order of its own."""
    return (week.n_sites, week.n_days, week.interval_s, seed)
