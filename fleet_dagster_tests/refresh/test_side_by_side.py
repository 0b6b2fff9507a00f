from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.model.tables import BASELINES, FLEET_KPI, SITE_KPI, SITE_RANKING, derived_tables
from fleet_dagster.refresh.currency import Currency
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage import coverage as coverage_module
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at

CONFIG = at.coarse()
NOON = at.FIRST + 12 * HOUR


def test_telemetry_that_lands_during_a_run_is_never_taken_for_computed(tmp_path: Path) -> None:
    """It lands between the steps of each write, more often than a run looks again: what it touches last stays stale."""
    home = tmp_path / "home"
    with Store.at(at.new_home(home)) as other:
        at.land(other, CONFIG, at.telemetry(1, step_s=600), batch_id="first")
        n_landed = 0

        def land_more(step: str) -> None:
            nonlocal n_landed
            if step == "intended" and n_landed < 40:
                stamp = NOON + n_landed % 8 * 30 * MINUTE + n_landed + 1
                late = at.snapshots("MX-0001", [stamp], CONFIG, share=0.9)
                n_landed += 1
                at.land(other, CONFIG, late, batch_id=f"late-{n_landed}", historical=True)

        with Store.at(at.new_home(home), checkpoint=land_more) as disturbed:
            at.refresh_all(disturbed, CONFIG, at.days(0, 1))
        assert n_landed >= 6
        currency = Currency(other.registry.fleet(CONFIG), other.history)
        for table in (SITE_KPI, FLEET_KPI):
            assert currency.stale(table, at.days(0, 1))
        at.refresh_all(other, CONFIG, at.days(0, 1))
        found = at.tables_of(other)
        assert at.refresh_all(other, CONFIG, at.days(0, 1), recompute=True) == 0
        at.assert_same_tables(at.tables_of(other), found)
        stale = {t.name for t in derived_tables() if currency.stale(t, at.days(0, 1))}
        assert stale == {t.name for t in BASELINES}  # the first day has none


class Interrupting(ThreadPoolExecutor):
    """Lets something happen in the middle of a computation, the first time that it uses its threads."""

    def __init__(self, happen: Callable[[], None]) -> None:
        super().__init__(1)
        self.happen: Callable[[], None] | None = happen

    def map(self, *arguments: Any, **options: Any) -> Iterator[Any]:  # Any: the base class's own
        """Interrupt, then do as asked."""
        happen, self.happen = self.happen, None
        if happen is not None:
            happen()
        return super().map(*arguments, **options)


def test_a_baseline_restated_during_a_ranking_has_it_computed_anew(store: Store) -> None:
    """The ranking has read the old baseline by then, and must not be taken for computed from the new one."""
    span = at.days(2, 3)
    at.land(store, CONFIG, at.telemetry(3), batch_id="first")
    Refresh(store, CONFIG).baselines(span)

    def restate() -> None:
        stamps = [at.FIRST + n * 10 * MINUTE + 7_000_000 for n in range(144)]
        corrected = at.snapshots("MX-0003", stamps, CONFIG, share=0.97)
        at.land(store, CONFIG, corrected, batch_id="old", historical=True)
        assert any(o.restated for o in Refresh(store, CONFIG).baselines(span))

    with Interrupting(restate) as threads:
        Refresh(store, CONFIG, threads=threads).performance_comparator(span)
    assert threads.happen is None
    currency = Currency(store.registry.fleet(CONFIG), store.history)
    assert currency.stale(SITE_RANKING, span) == []
    assert not any(currency.stale(table, span) for table in BASELINES)
    again = Refresh(store, CONFIG, recompute=True).performance_comparator(span)
    assert sum(o.rows_written for o in again) == 0
    assert store.history.entries(SITE_RANKING.name, at.NAME, kind="restate")


def test_runs_that_ask_for_the_same_days_at_once_do_the_work_once(tmp_path: Path) -> None:
    def run(number: int) -> int:
        with Store.at(at.new_home(tmp_path / "home")) as own:
            return at.refresh_all(own, CONFIG, at.days(0, 2), run_id=f"run-{number}")

    with Store.at(at.new_home(tmp_path / "home")) as store, ThreadPoolExecutor(3) as threads:
        at.land(store, CONFIG, at.telemetry(2, step_s=600), batch_id="first")
        written = sum(threads.map(run, range(3)))
        stored = at.tables_of(store)
        trained = {t.name for t in BASELINES}
        assert written == sum(len(rows) for name, rows in stored.items() if name not in trained)
        kinds = {e.kind for t in derived_tables() for e in store.history.entries(t.name, at.NAME)}
        assert kinds == {"append"}
        assert at.refresh_all(store, CONFIG, at.days(0, 2), recompute=True) == 0


def test_a_run_with_older_settings_in_force_does_not_hide_newer_ones(store: Store) -> None:
    at.land(store, CONFIG, at.telemetry(1, step_s=600), batch_id="first")
    at.refresh_all(store, CONFIG, at.days(0, 1))
    stricter = CONFIG.model_copy(update={"outlier_sigma": 0.1})
    store.registry.apply(stricter, valid_from=NOON)
    at.refresh_all(store, CONFIG, at.days(0, 1))
    rows = at.rows_of(store, SITE_RANKING)
    is_after = rows["window_start"].astype("datetime64[us, UTC]").astype("int64") >= NOON
    assert rows[is_after]["is_outlier"].mean() > rows[~is_after]["is_outlier"].mean() + 0.3


def test_a_day_computed_window_by_window_is_recorded_as_one_piece_once_it_is_looked_at(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live windows are each computed as of their own landing; records of a settled day must not stay that many."""
    monkeypatch.setattr(coverage_module, "SCATTERED", 4)
    config = at.plant(n_sites=2, n_regions=1, interval_s=60)
    span = Span(at.FIRST + DAY, at.FIRST + DAY + 8 * MINUTE)
    live = Refresh(store, config)
    for window in span.steps(MINUTE):
        at.land(
            store,
            config,
            at.snapshots("MX-0001", [window.start + 1], config),
            batch_id=f"b{window.start}",
        )
        live.site_ingest(window)
    coverage = store.history.coverage
    assert len(coverage.covered(SITE_KPI.name, at.NAME, span)) > 4
    before = at.rows_of(store, SITE_KPI)
    assert [o.rows_written for o in live.site_ingest(span)] == [0, 0, 0]
    assert len(coverage.covered(SITE_KPI.name, at.NAME, span)) <= 2
    assert Currency(store.registry.fleet(config), store.history).stale(SITE_KPI, span) == []
    late = at.snapshots("MX-0002", [span.start + 5 * MINUTE], config)
    at.land(store, config, late, batch_id="late")
    assert live.site_ingest(span)[0].restated[0].start == span.start + 5 * MINUTE
    assert len(at.rows_of(store, SITE_KPI)) == len(before)
