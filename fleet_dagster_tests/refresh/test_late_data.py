import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, SECOND, Span, union
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.lookbacks import SCORING_WINDOWS, WARM_UP_WINDOWS
from fleet_dagster.model.tables import (
    ANOMALY_SCORE,
    BASELINE,
    BASELINES,
    FLEET_KPI,
    INGEST_STATS,
    SITE_ASSIGNMENT,
    SITE_KPI,
    SITE_RANKING,
    Table,
    derived_tables,
)
from fleet_dagster.refresh.currency import Currency
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at

INTERVAL = 10 * MINUTE
CONFIG = at.plant()
SITE = "MX-0003"
NOON = at.FIRST + DAY + 12 * HOUR


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of a store with two days landed and refreshed, to be copied."""
    home = tmp_path_factory.mktemp("prepared")
    with Store.at(at.new_home(home)) as store:
        at.land(store, CONFIG, at.telemetry(2), batch_id="first")
        at.refresh_all(store, CONFIG, at.days(0, 2))
    return home


@pytest.fixture
def refreshed(prepared: Path, tmp_path: Path) -> Iterator[Store]:
    """Return a store with two days landed and refreshed."""
    shutil.copytree(prepared, tmp_path / "home")
    with Store.at(at.new_home(tmp_path / "home")) as store:
        yield store


def late(stamps: list[int], *, share: float = 0.97) -> pa.Table:
    return at.snapshots(SITE, stamps, CONFIG, share=share)


def stale(store: Store, table: Table, span: Span) -> list[Span]:
    fleet = store.registry.fleet(CONFIG)
    return Currency(fleet, store.history).stale(table, span)


def changed_windows(store: Store, before: at.Tables, table: Table) -> list[Span]:
    """Return the windows whose rows are not those of before, told by comparing all rows."""
    grain = Currency(store.registry.fleet(CONFIG), store.history).grain(table)
    old, new = by_window(before[table.name]), by_window(at.rows_of(store, table))
    changed = [w for w in {*old, *new} if old.get(w) != new.get(w)]
    return union([Span(w - w % grain, w - w % grain + grain) for w in changed])


def by_window(rows: pd.DataFrame) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    starts = rows["window_start"].astype("datetime64[us, UTC]").astype("int64")
    for start, row in zip(starts, rows.itertuples(index=False), strict=True):
        found.setdefault(int(start), []).append(repr(row))
    return found


def test_a_late_batch_restates_exactly_the_windows_whose_rows_change(refreshed: Store) -> None:
    """Two windows are touched; every table restates those of its windows that differ, and nothing else."""
    before = at.tables_of(refreshed)
    log_end = refreshed.history.last_number()
    touched = [NOON + 3 * MINUTE + 7, NOON + 2 * HOUR + 5 * SECOND]
    at.land(refreshed, CONFIG, late(touched), batch_id="late")
    assert at.refresh_all(refreshed, CONFIG, at.days(0, 2)) > 0
    n_restated = 0
    for table in derived_tables():
        entries = [e for e in refreshed.history.entries(table.name, at.NAME) if e.seq > log_end]
        assert {e.kind for e in entries} <= {"restate"}
        restated = union([e.span for e in entries])
        assert restated == changed_windows(refreshed, before, table), table.name
        n_restated += len(restated)
        elsewhere = [s for s in restated if not any(s.start <= t < s.end for t in touched)]
        assert table is SITE_RANKING or not elsewhere
    assert n_restated >= 12
    at.assert_same_tables(at.tables_of(refreshed), fresh(refreshed))


def test_a_snapshot_in_the_middle_of_a_window_makes_that_window_stale_as_a_whole(
    refreshed: Store,
) -> None:
    at.land(refreshed, CONFIG, late([NOON + 3 * MINUTE + 7]), batch_id="late")
    window = Span(NOON, NOON + INTERVAL)
    assert stale(refreshed, SITE_KPI, at.days(0, 2)) == [window]
    assert stale(refreshed, SITE_KPI, Span(NOON + MINUTE, NOON + 2 * MINUTE)) == [window]
    counted, scored = (window.widen(after=n * INTERVAL) for n in (WARM_UP_WINDOWS, SCORING_WINDOWS))
    assert stale(refreshed, FLEET_KPI, at.days(0, 2)) == [counted]
    assert stale(refreshed, ANOMALY_SCORE, at.days(0, 2)) == [scored]
    assert stale(refreshed, SITE_RANKING, at.days(0, 2)) == [window.widen(after=4 * INTERVAL)]
    assert stale(refreshed, SITE_ASSIGNMENT, at.days(0, 2)) == []
    assert stale(refreshed, FLEET_KPI, Span(NOON - HOUR, NOON)) == []


def test_a_snapshot_just_before_midnight_reaches_the_next_day(store: Store) -> None:
    config = at.plant(interval_s=60, staleness_threshold_s=300)
    midnight = at.FIRST + DAY
    hour = Span(midnight - 30 * MINUTE, midnight + 30 * MINUTE)
    stamps = [midnight - 20 * MINUTE, midnight + 10 * MINUTE]
    at.land(store, config, at.snapshots(SITE, stamps, config), batch_id="first")
    at.refresh_all(store, config, hour)
    at.land(store, config, at.snapshots(SITE, [midnight - 30 * SECOND], config), batch_id="late")
    fleet = store.registry.fleet(config)
    found = Currency(fleet, store.history).stale(SITE_KPI, hour)
    assert found == [Span(midnight - MINUTE, midnight + 4 * MINUTE)]
    at.refresh_all(store, config, hour)
    rows = at.rows_of(store, SITE_KPI, Span(midnight, midnight + 6 * MINUTE)).query(
        "site_id == @SITE"
    )
    assert list(rows["last_seen"].notna()) == [True, True, True, True, False, False]


def test_quarantined_snapshots_are_booked_in_the_windows_they_are_filed_under(
    refreshed: Store,
) -> None:
    bad = late([NOON]).set_column(4, "fault_count", pa.array(["many"]))
    at.land(refreshed, CONFIG, bad, batch_id="late")
    window = Span(NOON, NOON + INTERVAL)
    assert stale(refreshed, INGEST_STATS, at.days(0, 2)) == [window]
    done = Refresh(refreshed, CONFIG).everything(at.days(0, 2))
    assert {o.table.name: o.restated for o in done if o.restated} == {
        "quarantine": (window,),
        "ingest_stats": (window,),
    }


def test_windows_that_late_data_does_not_change_are_proven_current_again(refreshed: Store) -> None:
    """A duplicate that loses changes the books, and no other table."""
    raw = at.telemetry(2)
    at.land(refreshed, CONFIG, raw.slice(6000, 1), batch_id="aaa", historical=True)
    log_end = refreshed.history.last_number()
    at.refresh_all(refreshed, CONFIG, at.days(0, 2))
    assert all(
        not stale(refreshed, t, at.days(0, 2)) for t in derived_tables() if t not in BASELINES
    )
    tables = {
        t.name
        for t in derived_tables()
        for e in refreshed.history.entries(t.name, at.NAME)
        if e.seq > log_end
    }
    assert tables <= {"ingest_stats", "site_kpi"}


def test_a_site_that_is_first_heard_of_later_changes_the_days_from_then_on(
    refreshed: Store,
) -> None:
    before = at.rows_of(refreshed, FLEET_KPI)
    stranger = at.snapshots("X-1", [NOON + 3 * MINUTE], CONFIG)
    at.land(refreshed, CONFIG, stranger, batch_id="late")
    assert stale(refreshed, FLEET_KPI, at.days(0, 2)) == [at.days(1, 2)]
    done = Refresh(refreshed, CONFIG).everything(at.days(0, 2))
    restated = {o.table.name: o.restated for o in done}
    assert restated["fleet_kpi"] == (Span(NOON, at.FIRST + 2 * DAY),)
    n_more = at.rows_of(refreshed, FLEET_KPI)["total_sites"] - before["total_sites"]
    assert list(n_more) == [0] * 216 + [1] * 72
    at.assert_same_tables(at.tables_of(refreshed), fresh(refreshed))


def test_a_changed_mapping_restates_the_windows_from_its_start_on(refreshed: Store) -> None:
    content = CONFIG.model_dump()
    content["region_mappings"][2]["region_id"] = "region-02"
    moved = FleetConfig.model_validate(content)
    assert refreshed.registry.apply(moved, valid_from=NOON + MINUTE)
    done = Refresh(refreshed, moved).everything(at.days(0, 2))
    first = NOON + INTERVAL
    for outcome in done:
        assert all(s.start >= first - INTERVAL for s in outcome.restated), outcome.table.name
    rows = at.rows_of(refreshed, SITE_KPI).query("site_id == @SITE")
    start = rows["window_start"].astype("int64")
    assert set(rows[start < first]["region_id"]) == {"region-01"}
    assert set(rows[start >= first]["region_id"]) == {"region-02"}
    at.assert_same_tables(at.tables_of(refreshed), fresh(refreshed, moved))


def test_a_changed_weight_before_midnight_restates_the_persistence_after_it(store: Store) -> None:
    """Rankings read four windows back: those of yesterday's settings, too."""
    config = at.plant(interval_s=600)
    at.land(store, config, at.telemetry(2), batch_id="first")
    at.refresh_all(store, config, at.days(0, 2))
    evening = Span(at.FIRST + DAY - 20 * MINUTE, at.FIRST + DAY)
    stricter = at.plant(interval_s=600, outlier_sigma=0.5)
    assert store.registry.apply(stricter, valid_from=evening.start)
    assert store.registry.apply(config, valid_from=evening.end)
    fleet = store.registry.fleet(config)
    found = Currency(fleet, store.history).stale(SITE_RANKING, at.days(0, 2))
    assert found[0].start <= evening.start
    assert found[-1].end >= evening.end + 4 * INTERVAL
    at.refresh_all(store, config, at.days(0, 2))
    at.assert_same_tables(at.tables_of(store), fresh(store, config))


def test_a_ranking_is_stale_once_its_baseline_changes(store: Store) -> None:
    raw = at.telemetry(3)
    at.land(store, CONFIG, raw, batch_id="first")
    at.refresh_all(store, CONFIG, at.days(2, 3))
    assert stale(store, SITE_RANKING, at.days(2, 3)) == []
    corrected = late([at.FIRST + n * INTERVAL + 7 * SECOND for n in range(144)])
    at.land(store, CONFIG, corrected, batch_id="old", historical=True)
    Refresh(store, CONFIG).baselines(at.days(2, 3))
    assert stale(store, SITE_RANKING, at.days(2, 3)) == [at.days(2, 3)]
    at.refresh_all(store, CONFIG, at.days(2, 3))
    at.assert_same(
        BASELINE, at.rows_of(store, BASELINE), fresh(store, span=at.days(2, 3))["baseline"]
    )


def test_rankings_wait_for_a_baseline_that_older_history_has_made_stale(store: Store) -> None:
    at.land(store, CONFIG, at.telemetry(3), batch_id="first")
    at.refresh_all(store, CONFIG, at.days(0, 3))
    older = late([at.FIRST + n * INTERVAL + 7 * SECOND for n in range(144)])
    at.land(store, CONFIG, older, batch_id="old", historical=True)
    assert stale(store, SITE_KPI, at.days(1, 3)) == []
    assert stale(store, BASELINE, at.days(2, 3)) == [at.days(2, 3)]
    assert stale(store, SITE_RANKING, at.days(2, 3)) == [at.days(2, 3)]
    at.refresh_all(store, CONFIG, at.days(2, 3))
    assert stale(store, SITE_RANKING, at.days(2, 3)) == []


def test_what_arrives_too_late_for_a_baseline_does_not_touch_it(store: Store) -> None:
    at.land(store, CONFIG, at.telemetry(3), batch_id="first")
    at.refresh_all(store, CONFIG, at.days(2, 3))
    received = at.FIRST + 2 * DAY - 12 * HOUR
    in_time, too_late = (
        at.snapshots(SITE, [at.FIRST + HOUR], CONFIG, received=received + d) for d in (-1, 0)
    )
    at.land(store, CONFIG, too_late, batch_id="too-late")
    assert stale(store, BASELINE, at.days(2, 3)) == []
    at.land(store, CONFIG, in_time, batch_id="in-time")
    assert stale(store, BASELINE, at.days(2, 3)) == [at.days(2, 3)]


def test_the_digest_of_inputs_does_not_depend_on_the_range_asked_for(refreshed: Store) -> None:
    stricter = at.plant(outlier_sigma=1.5)
    refreshed.registry.apply(stricter, valid_from=NOON)
    currency = Currency(refreshed.registry.fleet(CONFIG), refreshed.history)
    for table in derived_tables():
        pieces = currency.pieces(table, at.days(1, 2), landing=0)
        for piece in pieces:
            inner = Span(piece.span.start + HOUR, piece.span.end - HOUR)
            (part,) = currency.pieces(table, inner, landing=0)
            assert part.inputs == piece.inputs


def fresh(store: Store, config: FleetConfig = CONFIG, *, span: Span | None = None) -> at.Tables:
    """Return the tables as a quiet store gives them."""
    return at.recomputed(store, config, span or at.days(0, 2))


def test_what_lands_while_a_node_is_at_work_is_computed_before_it_ends(store: Store) -> None:
    at.land(store, CONFIG, at.telemetry(2), batch_id="frame")
    landed: list[str] = []

    def land_once(node: str, _chunk: Span, _span: Span) -> None:
        if not landed:
            landed.append(node)
            at.land(store, CONFIG, late([NOON + 3 * MINUTE + 7]), batch_id="meanwhile")

    (site_kpi, *_) = Refresh(store, CONFIG, progress=land_once).site_ingest(at.days(0, 2))
    assert landed == ["site_ingest"]
    assert site_kpi.restated == (Span(NOON, NOON + INTERVAL),)
    assert Refresh(store, CONFIG).site_ingest(at.days(0, 2))[0].computed == ()
