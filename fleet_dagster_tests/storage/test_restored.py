"""Parts of an installation restored from a copy: what the others do not know is compared or refused, never doubled."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from fleet_dagster.core.windows import HOUR
from fleet_dagster.model.errors import StorageError
from fleet_dagster.model.tables import INGEST_STATS, SITE_TELEMETRY, superseded
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.control.schema import coverage
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.storage.rows import FLEET, logged, span, stored, write

CONFIG = at.plant(n_sites=3)


def forget(store: Store, first: int = 0) -> None:
    """Remove what the control database knows of windows, as if it came from an older copy."""
    later = coverage.c.window_start >= span(first, first + 1).start
    with store.control.transaction() as tx:
        tx.execute(sa.delete(coverage).where(later))


def test_rows_that_coverage_does_not_know_are_compared_and_not_doubled(store: Store) -> None:
    values = {0: [1], 1: [2, 3], 2: [4]}
    write(store, values, span(0, 3))
    version = store.lake.version(INGEST_STATS)
    forget(store)
    assert write(store, values, span(0, 3)).wrote_nothing
    assert stored(store) == values
    assert store.lake.version(INGEST_STATS) == version
    assert [
        c.span for c in store.history.coverage.covered(INGEST_STATS.name, FLEET, span(0, 3))
    ] == [span(0, 3)]


def test_unknown_rows_that_differ_are_replaced_and_kept(store: Store) -> None:
    write(store, {0: [1], 1: [2], 2: [3]}, span(0, 3))
    forget(store)
    report = write(store, {0: [1], 1: [9], 2: [3]}, span(0, 3))
    assert report.restated == (span(1, 2),)
    assert stored(store) == {0: [1], 1: [9], 2: [3]}
    old = store.lake.read(superseded(INGEST_STATS), FLEET, span(0, 3))
    assert old.column("landed").to_pylist() == [2]


def test_known_and_unknown_rows_side_by_side_are_each_told_apart(store: Store) -> None:
    write(store, {0: [1]}, span(0, 2))
    write(store, {4: [5], 5: [6]}, span(4, 6))
    forget(store, first=4)
    report = write(store, {0: [1], 2: [3], 4: [5], 5: [7]}, span(0, 6))
    assert stored(store) == {0: [1], 2: [3], 4: [5], 5: [7]}
    assert report.rows_written == 2


def test_a_whole_day_written_again_after_a_restore_leaves_every_row_once(store: Store) -> None:
    at.land(store, CONFIG, at.telemetry(1, n_sites=3), batch_id="b1")
    at.refresh_all(store, CONFIG, at.days(0, 1))
    before = at.tables_of(store)
    forget(store)
    assert at.refresh_all(store, CONFIG, at.days(0, 1)) == 0
    at.assert_same_tables(at.tables_of(store), before)


def test_telemetry_that_has_gone_back_in_time_is_refused_by_landing_and_refresh(
    store: Store, tmp_path: Path
) -> None:
    """Landed batches would else be missing from the windows, and be refused as landed when sent again."""
    raw = at.snapshots("MX-0001", [at.FIRST + i * HOUR for i in range(30)], CONFIG)
    for batch_id in ("b0", "b1"):
        at.land(store, CONFIG, raw, batch_id=batch_id)
    newest = store.lake.version(SITE_TELEMETRY)
    log = tmp_path / f"home/lake/site_telemetry/_delta_log/{newest:020d}.json"
    log.rename(tmp_path / "kept")
    said = (
        rf"'site_telemetry' at .* ends with version {newest - 1}, but version {newest} was logged"
    )
    with Store.at(tmp_path / "home") as rolled_back:
        with pytest.raises(StorageError, match=said):
            at.land(rolled_back, CONFIG, raw, batch_id="b2")
        with pytest.raises(StorageError, match=said):
            Refresh(rolled_back, CONFIG).everything(at.days(0, 2))
        assert at.rows_of(rolled_back, INGEST_STATS).empty
        assert not logged(rolled_back)
    (tmp_path / "kept").rename(log)
    with Store.at(tmp_path / "home") as mended:
        assert at.refresh_all(mended, CONFIG, at.days(0, 2)) > 0
