import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.model.tables import FLEET_KPI, INGEST_STATS, SITE_KPI, superseded
from fleet_dagster.storage.restatements import earlier_rows, restatements
from fleet_dagster.storage.status import instant, with_history
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at

CONFIG = at.plant(n_sites=3)
INTERVAL = 10 * MINUTE
NOON = at.FIRST + 12 * HOUR
WHOLE = at.days(0, 1)
SITE = "MX-0003"


@pytest.fixture(scope="module")
def a_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of a store with one day landed and computed, which no test changes."""
    home = at.new_home(tmp_path_factory.mktemp("day"))
    with Store.at(home) as store:
        at.land(store, CONFIG, at.telemetry(1, n_sites=3), batch_id="first")
        at.refresh_all(store, CONFIG, WHOLE)
    return home


@pytest.fixture
def computed(a_day: Path, tmp_path: Path) -> Iterator[Store]:
    """Return a copy of it."""
    shutil.copytree(a_day, tmp_path / "home")
    with Store.at(tmp_path / "home") as store:
        yield store


def restate(store: Store, stamp: int, *, share: float, batch: str) -> None:
    """Land a late snapshot and bring the day up to date."""
    raw = at.snapshots(SITE, [stamp], CONFIG, received=NOON + DAY, share=share)
    at.land(store, CONFIG, raw, batch_id=batch)
    at.refresh_all(store, CONFIG, WHOLE)


def health_at(store: Store, window: int) -> float:
    rows = store.frame(FLEET_KPI, at.NAME, Span(window, window + INTERVAL))
    return float(rows["fleet_health"].iloc[0])


def test_nothing_was_restated_in_a_quiet_fleet(computed: Store) -> None:
    assert restatements(computed, at.NAME, WHOLE) == []
    assert earlier_rows(computed, FLEET_KPI, at.NAME, WHOLE).empty


def test_a_window_restated_twice_shows_both_earlier_values(computed: Store) -> None:
    values = [health_at(computed, NOON)]
    for n, share in enumerate((0.9, 0.2)):
        restate(computed, NOON + MINUTE + n, share=share, batch=f"late-{n}")
        values.append(health_at(computed, NOON))
    found = restatements(computed, at.NAME, WHOLE)
    assert [(r.window_start, r.revision) for r in found] == [(instant(NOON), 2), (instant(NOON), 1)]
    assert [r.earlier_health for r in found] == [values[1], values[0]]
    assert {r.health for r in found} == {values[2]}
    assert {r.why for r in found} == {"late telemetry"}
    assert found[0].restated_at >= found[1].restated_at


def test_the_newest_windows_come_first(computed: Store) -> None:
    restate(computed, NOON + MINUTE, share=0.9, batch="late-1")
    restate(computed, NOON - HOUR + MINUTE, share=0.9, batch="late-2")
    found = restatements(computed, at.NAME, WHOLE)
    assert [r.window_start for r in found] == [instant(NOON), instant(NOON - HOUR)]
    assert restatements(computed, at.NAME, Span(NOON, NOON + INTERVAL)) == found[:1]


def test_a_changed_setting_is_told_from_late_telemetry(computed: Store) -> None:
    restate(computed, NOON - HOUR + MINUTE, share=0.9, batch="late-1")
    other = at.plant(n_sites=3, health_weights="logistics")
    assert computed.registry.apply(other, valid_from=NOON)
    at.refresh_all(computed, other, WHOLE)
    restate(computed, NOON + HOUR + MINUTE, share=0.1, batch="late-2")
    why = {(r.window_start, r.revision): r.why for r in restatements(computed, at.NAME, WHOLE)}
    assert why[instant(NOON - HOUR), 1] == "late telemetry"
    assert why[instant(NOON), 1] == "settings, sites or a storm"
    assert why[instant(NOON + HOUR), 1] == "settings, sites or a storm"
    assert why[instant(NOON + HOUR), 2] == "late telemetry"


def test_earlier_rows_are_what_stood_before_each_restatement(computed: Store) -> None:
    window, stood = Span(NOON, NOON + INTERVAL), []
    tables = (FLEET_KPI, SITE_KPI, INGEST_STATS)
    for n, share in enumerate((0.9, 0.2, 0.6)):
        stood.append({t.name: at.rows_of(computed, t, window) for t in tables})
        restate(computed, NOON + MINUTE + n, share=share, batch=f"late-{n}")
    for table in tables:
        earlier = earlier_rows(computed, table, at.NAME, WHOLE)
        assert set(earlier["revision"]) == {0, 1, 2}, table.name
        for revision, rows in enumerate(stood):
            at.assert_same(table, earlier[earlier["revision"] == revision], rows[table.name])
        present = with_history(computed, table, at.NAME, computed.frame(table, at.NAME, window))
        assert set(present["revision"]) == {3}, table.name


def test_rows_that_a_write_is_just_replacing_are_not_told_as_earlier_ones(computed: Store) -> None:
    restate(computed, NOON + MINUTE, share=0.9, batch="late-1")
    earlier = computed.lake.read(superseded(FLEET_KPI), at.NAME, WHOLE)
    schema = earlier.schema
    column = schema.get_field_index("intent_id")
    unknown = earlier.set_column(column, schema.field(column).name, [["f" * 32] * len(earlier)])
    computed.lake.append(superseded(FLEET_KPI), unknown, "f" * 32)
    assert len(earlier_rows(computed, FLEET_KPI, at.NAME, WHOLE)) == 1
