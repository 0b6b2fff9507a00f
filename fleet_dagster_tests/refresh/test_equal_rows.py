"""The same landed telemetry gives the same rows, however the windows are cut, ordered and shared out."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import (
    INGEST_STATS,
    QUARANTINE,
    SITE_KPI,
    SITE_TELEMETRY,
    derived_tables,
)
from fleet_dagster.pipeline import evaluate
from fleet_dagster.storage import maintenance
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests import worker

INTERVAL_S = 1800
N_DAYS = 3
CONFIG = at.with_models(at.coarse(INTERVAL_S))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Return a store whose three days were refreshed as one range."""
    with Store.at(at.new_home(tmp_path_factory.mktemp("whole"))) as store:
        land(store)
        at.refresh_all(store, CONFIG, at.days(0, N_DAYS))
        yield store


def land(store: Store) -> None:
    at.put_model(store)
    at.land(store, CONFIG, at.telemetry(N_DAYS), batch_id="frame")


def test_the_telemetry_has_everything_that_could_go_wrong(whole: Store) -> None:
    stats = at.rows_of(whole, INGEST_STATS)
    site_kpi = at.rows_of(whole, SITE_KPI)
    assert stats["duplicates"].sum() > 50
    assert set(at.rows_of(whole, QUARANTINE)["problem"]) >= {
        "missing_site",
        "bad_time",
        "not_finite",
    }
    assert (site_kpi["disposition"] == "stale").sum() > 10
    late = at.rows_of(whole, SITE_TELEMETRY).query("received_at > timestamp")
    assert len(late) > 50


def test_the_stored_tables_are_those_that_evaluate_gives(whole: Store) -> None:
    raw = at.telemetry(N_DAYS).to_pandas()
    evaluated = evaluate(CONFIG, raw, "2026-01-01", "2026-01-04", models=whole.models)
    n_rows = 0
    for table in derived_tables():
        stored = at.rows_of(whole, table, at.days(0, N_DAYS))
        at.assert_same(table, stored, getattr(evaluated, table.name))
        n_rows += len(stored)
    assert n_rows > 2_500


def test_a_second_run_writes_nothing(whole: Store) -> None:
    before = at.books(whole)
    assert at.refresh_all(whole, CONFIG, at.days(0, N_DAYS)) == 0
    assert at.books(whole) == before
    assert at.refresh_all(whole, CONFIG, at.days(0, N_DAYS), recompute=True) == 0
    assert at.books(whole)["commit_log"] == before["commit_log"]


def test_single_days_in_any_order_give_the_same_rows(whole: Store, store: Store) -> None:
    land(store)
    shuffled = at.shuffled(at.days(0, N_DAYS).days(), seed=2)
    assert shuffled != sorted(shuffled)
    for day in shuffled:
        at.refresh_all(store, CONFIG, day)
    at.assert_same_tables(at.tables_of(store), at.tables_of(whole))
    assert all(rows.empty for rows in at.replaced_rows(store).values())


@pytest.mark.parametrize("n_hours", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_hours_window_by_window_give_the_same_rows(
    whole: Store, store: Store, n_hours: int
) -> None:
    """As many hours before midnight as after it; the lake is compacted on the way."""
    land(store)
    midnight, half = at.FIRST + 2 * DAY, n_hours * HOUR // 2
    span = Span(midnight - half, midnight + half)
    for n, window in enumerate(span.steps(INTERVAL_S * 1_000_000)):
        at.refresh_all(store, CONFIG, window)
        if n == n_hours - 1:
            maintenance.compact(store, vacuum_hours=0)
    own = [t for t in derived_tables() if t.name != "baseline"]
    for table in own:
        at.assert_same(table, at.rows_of(store, table), at.rows_of(whole, table, span))
    assert at.refresh_all(store, CONFIG, span) == 0
    at.refresh_all(store, CONFIG, at.days(0, N_DAYS))
    at.assert_same_tables(at.tables_of(store), at.tables_of(whole))
    assert all(rows.empty for rows in at.replaced_rows(store).values())


def test_two_processes_over_overlapping_days_give_the_same_rows(
    whole: Store, tmp_path: Path
) -> None:
    with Store.at(at.new_home(tmp_path / "home")) as store:
        land(store)
        at.run_together(store, worker.refresh, [(INTERVAL_S, 1, 0, 2), (INTERVAL_S, 2, 1, 3)])
        at.assert_same_tables(at.tables_of(store), at.tables_of(whole))
        assert all(rows.empty for rows in at.replaced_rows(store).values())
        numbers = [row[0] for row in at.books(store)["commit_log"]]
        assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.slow
def test_two_minute_windows_of_a_larger_fleet_give_the_same_rows(tmp_path: Path) -> None:
    """24 sites, four days, two-minute windows: a range, window by window over six hours and then by day, and `evaluate`."""
    sites = {"n_sites": 24, "n_regions": 4}
    config = at.plant(**sites, interval_s=120)
    raw = at.telemetry(4, **sites, step_s=60)
    span = Span(at.FIRST + 2 * DAY - 3 * HOUR, at.FIRST + 2 * DAY + 3 * HOUR)

    def by_range(store: Store) -> None:
        at.refresh_all(store, config, at.days(0, 4))

    def by_window(store: Store) -> None:
        for window in span.steps(2 * MINUTE):
            at.refresh_all(store, config, window)
        for day in at.shuffled(at.days(0, 4).days(), 3):
            at.refresh_all(store, config, day)

    found = [
        refreshed(tmp_path / "a", config, raw, by_range),
        refreshed(tmp_path / "b", config, raw, by_window),
    ]
    evaluated = evaluate(config, raw.to_pandas(), "2026-01-01", "2026-01-05")
    at.assert_same_tables(found[1], found[0])
    for table in derived_tables():
        inside = at.by_key(table, getattr(evaluated, table.name))
        stored = found[0][table.name]
        at.assert_same(table, stored[stored["window_start"] < inside["window_end"].max()], inside)


def refreshed(
    home: Path, config: FleetConfig, raw: object, work: Callable[[Store], None]
) -> at.Tables:
    with Store.at(at.new_home(home)) as store:
        at.land(store, config, raw, batch_id="frame")
        work(store)
        return at.tables_of(store)
