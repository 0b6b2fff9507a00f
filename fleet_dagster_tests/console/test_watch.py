import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.console.picture import gather
from fleet_dagster.console.watch import RENEWED_AFTER, Watch
from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.model.streams import STREAMS
from fleet_dagster.model.tables import ANOMALY_SCORE, REGIONAL_HEALTH
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.history import Entry
from fleet_dagster.storage.status import instant
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.console.conftest import CONFIG, END

NOW = instant(END) + dt.timedelta(seconds=42)
SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def home(a_day: Path, tmp_path: Path) -> Path:
    shutil.copytree(a_day / "home", tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with Store.at(home) as opened:
        yield opened


def record(store: Store, table: str, fleet: str = "plant") -> None:
    """Log an entry of a table."""
    entry = Entry(table, fleet, at.days(0, 1), 1, "restate", "", 0, "", "", "")
    with store.control.transaction() as tx:
        store.history.record(tx, [entry])


def test_a_picture_is_taken_again_when_one_of_its_streams_delivers_something(store: Store) -> None:
    watch = Watch(store, CONFIG)
    first = watch.look(NOW)
    assert watch.look(NOW + SECOND) is first
    record(store, ANOMALY_SCORE.name)
    record(store, REGIONAL_HEALTH.name, "another")
    assert watch.look(NOW + 2 * SECOND) is first
    record(store, REGIONAL_HEALTH.name)
    again = watch.look(NOW + 3 * SECOND)
    assert again.picture is not None
    assert again.picture.gathered_at == NOW + 3 * SECOND
    assert watch.look(NOW + 4 * SECOND) is again


def test_a_picture_is_taken_again_after_a_while_though_nothing_is_delivered(store: Store) -> None:
    watch = Watch(store, CONFIG)
    first = watch.look(NOW)
    assert watch.look(NOW + RENEWED_AFTER - SECOND) is first
    assert watch.look(NOW + RENEWED_AFTER) is not first


def test_a_console_has_no_cursor_that_could_hold_anything_up(store: Store) -> None:
    watch = Watch(store, CONFIG)
    watch.look(NOW)
    record(store, REGIONAL_HEALTH.name)
    watch.look(NOW + SECOND)
    assert [c for name in STREAMS for c in store.cursors.of("plant", name)] == []


def test_storage_that_fails_leaves_the_last_picture_and_is_tried_again(
    store: Store, home: Path
) -> None:
    watch = Watch(store, CONFIG)
    first = watch.look(NOW)
    record(store, REGIONAL_HEALTH.name)
    (home / "lake").rename(home / "elsewhere")
    failed = [watch.look(NOW + n * SECOND) for n in (1, 2)]
    assert failed[1].picture is first.picture
    assert failed[1].trouble is not None
    assert failed[1].trouble.since == NOW + SECOND
    assert "lake table" in failed[1].trouble.problem
    (home / "elsewhere").rename(home / "lake")
    mended = watch.look(NOW + 3 * SECOND)
    assert mended.trouble is None
    assert mended.picture is not None
    assert mended.picture.gathered_at == NOW + 3 * SECOND


def test_a_window_whose_regions_are_still_being_computed_is_not_shown_yet(store: Store) -> None:
    end = END + 30 * MINUTE
    late = at.snapshots("MX-0002", [END + 60_000_000], CONFIG)
    at.land(store, CONFIG, late, batch_id="next")
    refresh = Refresh(store, CONFIG)
    span = Span(END, end)
    refresh.site_ingest(span)
    refresh.fleet_aggregator(span)
    halfway = gather(store, CONFIG, NOW).status
    refresh.regional_scorer(span)
    refresh.performance_comparator(span)
    done = gather(store, CONFIG, NOW).status
    assert halfway is not None
    assert done is not None
    assert (halfway.window_end, done.window_end) == (instant(END), instant(end))
    assert {r.region_id for r in halfway.regions} == {r.region_id for r in done.regions}


def test_a_window_whose_regions_lag_for_good_is_shown_without_them(store: Store) -> None:
    late = at.snapshots("MX-0002", [END + 5 * HOUR + 60_000_000], CONFIG)
    at.land(store, CONFIG, late, batch_id="next")
    refresh = Refresh(store, CONFIG)
    refresh.site_ingest(Span(END, END + DAY))
    refresh.fleet_aggregator(Span(END, END + DAY))
    status = gather(store, CONFIG, NOW).status
    assert status is not None
    assert (status.window_end, status.regions) == (instant(END + DAY), ())
