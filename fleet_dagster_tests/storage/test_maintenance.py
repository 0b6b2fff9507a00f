import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deltalake import DeltaTable

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, SECOND
from fleet_dagster.model.errors import ExpiredError
from fleet_dagster.model.tables import (
    BASELINE,
    INGEST_STATS,
    SITE_KPI,
    SITE_RANKING,
    SITE_TELEMETRY,
)
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.maintenance import compact, expire_telemetry, expired_days, removed_days
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.storage.rows import FLEET, logged, span, stored, write

CONFIG = at.plant(n_sites=3, n_regions=1, interval_s=3600)
SITE = "MX-0001"


def test_compaction_and_vacuum_leave_every_row_and_fewer_files(store: Store) -> None:
    for n in range(12):
        write(store, {n: [n], 20: [n]}, span(n, n + 1))
        write(store, {n: [n, 7]}, span(n, n + 1))
    before = stored(store)
    done = {t.table: t for t in compact(store, vacuum_hours=0)}
    assert stored(store) == before
    tidied = done[INGEST_STATS.name]
    assert tidied.files_before > tidied.files_after == 1
    assert tidied.files_removed > 0
    again = {t.table: t for t in compact(store, vacuum_hours=0)}
    assert again[INGEST_STATS.name].files_removed == 0
    assert write(store, {0: [0, 7]}, span(0, 1)).wrote_nothing


def test_a_week_old_vacuum_keeps_what_readers_may_still_hold(store: Store) -> None:
    write(store, {0: [1]}, span(0, 1))
    pinned = store.lake.open(INGEST_STATS)
    write(store, {0: [2]}, span(0, 1))
    compact(store)
    old = store.lake.read(INGEST_STATS, FLEET, span(0, 1), at=pinned)
    assert old.column("landed").to_pylist() == [1]


def test_files_of_killed_writers_go_once_they_are_old(store: Store, tmp_path: Path) -> None:
    write(store, {0: [1]}, span(0, 1))
    (stored_file,) = (tmp_path / "home/lake/ingest_stats").rglob("*.parquet")
    orphan = stored_file.with_name("part-orphan.snappy.parquet")
    orphan.write_bytes(stored_file.read_bytes())
    compact(store)
    assert orphan.exists()
    os.utime(orphan, (0, 0))
    compact(store)
    assert not orphan.exists()
    assert stored(store) == {0: [1]}


def test_writers_and_compactions_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    """Four writers restate their days again and again while the lake is compacted: each loser repeats its commit."""
    n_writers, n_rounds, home = 4, 8, tmp_path / "home"
    over = threading.Event()

    def writer(number: int) -> None:
        with Store.at(home) as own:
            for turn in range(n_rounds):
                first = number * 1440
                values = {first + i: [turn, i] for i in range(turn + 1)}
                write(own, values, span(first, first + n_rounds), landing=turn)

    def tidy() -> int:
        n = 0
        with Store.at(home) as own:
            while not over.is_set():
                own.lake.compact(INGEST_STATS)
                n += 1
        return n

    with Store.at(home) as store, ThreadPoolExecutor(n_writers + 1) as threads:
        tidying = threads.submit(tidy)
        for running in [threads.submit(writer, n) for n in range(n_writers)]:
            running.result()
        over.set()
        assert tidying.result() > 0
        turn = n_rounds - 1
        assert stored(store) == {
            n * 1440 + i: [turn, i] for n in range(n_writers) for i in range(n_rounds)
        }
        numbers = [seq for seq, *_ in logged(store)]
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_crash_is_mended_before_the_log_that_tells_of_it_is_tidied(tmp_path: Path) -> None:
    def fail(reached: str) -> None:
        if reached == "written":
            raise OSError(reached)

    with Store.at(at.new_home(tmp_path / "home")) as store:
        with (
            Store.at(at.new_home(tmp_path / "home"), checkpoint=fail) as failing,
            pytest.raises(OSError, match="written"),
        ):
            write(failing, {0: [1]}, span(0, 1))
        assert logged(store) == []
        compact(store, vacuum_hours=0)
        assert logged(store) == [(1, "append", 0, 1, 1)]


def test_a_checkpoint_is_written_and_read(store: Store, tmp_path: Path) -> None:
    write(store, {0: [1]}, span(0, 1))
    compact(store)
    log = tmp_path / "home/lake/ingest_stats/_delta_log"
    assert (log / "_last_checkpoint").exists()
    assert DeltaTable(str(log.parent)).to_pyarrow_table().num_rows == 1


def landed_days(store: Store, n_days: int) -> None:
    """Land one snapshot an hour of one site for some days, each received when it was taken."""
    for day in range(n_days):
        stamps = [at.FIRST + day * DAY + h * HOUR + 59 * MINUTE + 30 * SECOND for h in range(24)]
        at.land(store, CONFIG, at.snapshots(SITE, stamps, CONFIG), batch_id=f"d{day}")


def test_a_dry_run_names_the_days_and_changes_nothing(store: Store) -> None:
    landed_days(store, 5)
    now = at.FIRST + 12 * DAY
    assert expire_telemetry(store, at.NAME, now=now, retention_days=10, dry_run=True) == [
        "2026-01-01",
        "2026-01-02",
    ]
    assert expired_days(store, at.NAME, at.days(0, 9)) == []
    assert len(at.rows_of(store, SITE_TELEMETRY)) == 5 * 24


def test_snapshots_go_once_no_day_that_may_be_computed_reads_them(store: Store) -> None:
    landed_days(store, 5)

    def expire(after_days: int) -> tuple[list[str], list[int]]:
        now = at.FIRST + (10 + after_days) * DAY
        found = expire_telemetry(store, at.NAME, now=now, retention_days=10)
        days = store.lake.days(SITE_TELEMETRY, at.NAME)
        return found, [(d - at.FIRST) // DAY for d in days]

    assert expire(0) == ([], [0, 1, 2, 3, 4])
    assert expire(2) == (["2026-01-01", "2026-01-02"], [0, 1, 2, 3, 4])
    assert expire(3) == (["2026-01-03"], [1, 2, 3, 4])
    assert expire(3) == ([], [1, 2, 3, 4])
    assert expire(5) == (["2026-01-04", "2026-01-05"], [3, 4])
    assert expire(7) == (["2026-01-06", "2026-01-07"], [])
    assert expire(9) == ([], [])
    assert expired_days(store, at.NAME, at.days(1, 3)) == ["2026-01-02", "2026-01-03"]


def test_an_expired_day_is_refused_and_its_rows_stay(store: Store) -> None:
    landed_days(store, 5)
    at.refresh_all(store, CONFIG, at.days(0, 5))
    before = at.tables_of(store)
    expire_telemetry(store, at.NAME, now=at.FIRST + 13 * DAY, retention_days=10)
    with pytest.raises(ExpiredError, match=r"2026-01-02.*ask for a later span"):
        at.refresh_all(store, CONFIG, at.days(1, 2), recompute=True)
    with pytest.raises(ExpiredError, match="2026-01-01"):
        at.refresh_all(store, CONFIG, at.days(0, 5), recompute=True)
    assert at.refresh_all(store, CONFIG, at.days(0, 5)) == 0
    at.assert_same_tables(at.tables_of(store), before)


def test_the_first_windows_after_an_expired_day_are_computed_as_before(tmp_path: Path) -> None:
    """They carry the last snapshots of the day before, whose telemetry is therefore still kept."""
    config = at.plant(n_sites=3, n_regions=1, interval_s=3600, staleness_threshold_s=86_400)
    first = at.days(3, 4)
    with (
        Store.at(at.new_home(tmp_path / "a")) as store,
        Store.at(at.new_home(tmp_path / "b")) as untouched,
    ):
        for opened in (store, untouched):
            for day in range(3):
                stamps = [at.FIRST + day * DAY + 23 * HOUR + k for k in range(3)]
                at.land(opened, config, at.snapshots(SITE, stamps, config), batch_id=f"d{day}")
            at.land(
                opened, config, at.snapshots("MX-0002", [at.FIRST + 3 * DAY], config), batch_id="e"
            )
            Refresh(opened, config).baselines(first)
        now = at.FIRST + 13 * DAY
        assert expire_telemetry(store, at.NAME, now=now, retention_days=10)
        assert expired_days(store, at.NAME, first) == []
        for opened in (store, untouched):
            at.refresh_all(opened, config, first)
        carried = at.rows_of(store, SITE_KPI, first)
        assert (carried["last_seen"].notna() & (carried["n_snapshots"] == 0)).sum() > 20
        at.assert_same_tables(at.tables_of(store, first), at.tables_of(untouched, first))


def test_a_baseline_whose_telemetry_was_removed_stands_as_it_was_stored(store: Store) -> None:
    landed_days(store, 4)
    at.refresh_all(store, CONFIG, at.days(0, 4))
    before = at.rows_of(store, BASELINE)
    expire_telemetry(store, at.NAME, now=at.FIRST + 13 * DAY, retention_days=10)
    later = at.days(3, 4)
    assert removed_days(store, at.NAME, at.days(0, 9)) == ["2026-01-01"]
    assert expired_days(store, at.NAME, later) == []
    assert at.refresh_all(store, CONFIG, later, recompute=True) == 0
    at.assert_same(BASELINE, at.rows_of(store, BASELINE), before)


def test_a_baseline_that_was_never_stored_is_refused_once_its_telemetry_is_removed(
    store: Store,
) -> None:
    landed_days(store, 4)
    expire_telemetry(store, at.NAME, now=at.FIRST + 13 * DAY, retention_days=10)
    with pytest.raises(ExpiredError):
        Refresh(store, CONFIG).performance_comparator(at.days(3, 4))
    assert at.rows_of(store, SITE_RANKING).empty


def test_what_lands_late_for_an_expired_day_is_kept_as_long_as_the_rest(store: Store) -> None:
    landed_days(store, 3)
    expire_telemetry(store, at.NAME, now=at.FIRST + 20 * DAY, retention_days=10)
    assert at.rows_of(store, SITE_TELEMETRY).empty
    late = at.snapshots(SITE, [at.FIRST + HOUR], CONFIG, received=at.FIRST + 19 * DAY)
    at.land(store, CONFIG, late, batch_id="late", historical=True)
    assert expire_telemetry(store, at.NAME, now=at.FIRST + 21 * DAY, retention_days=10) == []
    assert len(at.rows_of(store, SITE_TELEMETRY)) == 1
    expire_telemetry(store, at.NAME, now=at.FIRST + 30 * DAY, retention_days=10)
    assert at.rows_of(store, SITE_TELEMETRY).empty


def test_expiry_is_logged_and_belongs_to_one_fleet(store: Store) -> None:
    landed_days(store, 1)
    expire_telemetry(store, at.NAME, now=at.FIRST + 20 * DAY, retention_days=10)
    entries = [e for e in store.history.entries(SITE_TELEMETRY.name, at.NAME) if e.kind == "expire"]
    assert [(e.span, e.n_rows) for e in entries] == [
        *((at.days(n, n + 1), 0) for n in range(3)),
        (at.days(0, 1), 24),
    ]
    assert expired_days(store, "other", at.days(0, 9)) == []
    assert store.history.landing_version(at.NAME) == 1
