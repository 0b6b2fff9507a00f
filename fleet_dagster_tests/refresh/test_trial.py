"""Settings tried out on past windows: rows apart, keyed by run; what stands is not touched."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.core.windows import DAY, HOUR, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ExpiredError, SpanError
from fleet_dagster.model.tables import FLEET_KPI, REGIONAL_HEALTH, SITE_RANKING
from fleet_dagster.refresh.trial import try_out
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.maintenance import expire_telemetry
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at

CONFIG = at.coarse()
CHANGE = at.FIRST + DAY + 6 * HOUR
SPAN = at.days(1, 2)


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of a store with two days computed, whose settings changed in the second; no test changes it."""
    home = at.new_home(tmp_path_factory.mktemp("changed"))
    content = CONFIG.model_dump()
    content["region_mappings"][0]["region_id"] = content["region_mappings"][-1]["region_id"]
    newer = FleetConfig.model_validate({**content, "health_weights": "logistics"})
    with Store.at(home) as store:
        at.land(store, CONFIG, at.telemetry(2), batch_id="frame")
        store.registry.apply(newer, source="test", valid_from=CHANGE)
        at.refresh_all(store, CONFIG, at.days(0, 2))
    return home


@pytest.fixture
def changed(two_days: Path, tmp_path: Path) -> Iterator[Store]:
    """Return a copy of it."""
    shutil.copytree(two_days, tmp_path / "home")
    with Store.at(tmp_path / "home") as store:
        yield store


def test_a_trial_touches_nothing_that_stands(changed: Store) -> None:
    before, books = at.tables_of(changed), at.books(changed)
    report = try_out(changed, CONFIG, SPAN, as_of=at.FIRST, run_id="first")
    at.assert_same_tables(at.tables_of(changed), before)
    assert at.books(changed) == books
    assert report.n_windows == report.n_compared == 48
    assert report.n_different == 36
    assert report.mean_health != report.mean_health_stored


def test_windows_before_a_change_are_tried_out_as_they_stand(changed: Store) -> None:
    try_out(changed, CONFIG, SPAN, as_of=at.FIRST, run_id="before")
    earlier = Span(SPAN.start, CHANGE)
    for table in (FLEET_KPI, REGIONAL_HEALTH, SITE_RANKING):
        tried = changed.trials.frame(table, at.NAME, earlier, run_id="before")
        at.assert_same(table, tried, changed.frame(table, at.NAME, earlier))


def test_windows_after_a_change_are_those_of_a_fleet_that_always_was_so(
    changed: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try_out(changed, CONFIG, SPAN, as_of=CHANGE, run_id="after")
    newest = changed.registry.fleet(CONFIG).with_settings_of(CHANGE)
    settings = newest.versions[0].settings.model_dump()
    config = FleetConfig.model_validate({**CONFIG.model_dump(), **settings})
    with Store.at(at.new_home(tmp_path_factory.mktemp("always"))) as other:
        at.land(other, config, at.telemetry(2), batch_id="frame")
        at.refresh_all(other, config, at.days(0, 2))
        for table in (FLEET_KPI, REGIONAL_HEALTH, SITE_RANKING):
            tried = changed.trials.frame(table, at.NAME, SPAN, run_id="after")
            at.assert_same(table, tried, other.frame(table, at.NAME, SPAN))


def test_runs_are_kept_apart_and_go_after_a_month(changed: Store) -> None:
    hour = Span(SPAN.start, SPAN.start + HOUR)
    for run_id in ("one", "two"):
        try_out(changed, CONFIG, hour, as_of=at.FIRST, run_id=run_id)
        assert len(changed.trials.frame(FLEET_KPI, at.NAME, SPAN, run_id=run_id)) == 2
    assert changed.trials.frame(FLEET_KPI, at.NAME, SPAN, run_id="none").empty
    changed.trials.expire(now=now_us())
    assert len(changed.trials.frame(FLEET_KPI, at.NAME, SPAN, run_id="one")) == 2
    changed.trials.expire(now=now_us() + 31 * DAY)
    assert changed.trials.frame(FLEET_KPI, at.NAME, SPAN, run_id="one").empty


def test_expired_days_and_windows_to_come_are_refused(changed: Store) -> None:
    future = now_us() + DAY
    with pytest.raises(SpanError, match="no window has closed yet"):
        try_out(changed, CONFIG, Span(future, future + DAY), as_of=future, run_id="run")
    expire_telemetry(changed, at.NAME, now=at.FIRST + 500 * DAY, retention_days=90)
    with pytest.raises(ExpiredError):
        try_out(changed, CONFIG, SPAN, as_of=at.FIRST, run_id="run")
