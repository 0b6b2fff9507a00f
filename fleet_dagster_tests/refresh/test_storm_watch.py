"""Storms as they come: watched live, begun in the middle of a run, ended after a restart, found in history."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from fleet_dagster.core.windows import MINUTE, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import StormError
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.model.tables import FLEET_KPI, SITE_KPI, SITE_RANKING
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.refresh.storm_watch import StormWatch
from fleet_dagster.storage.store import Store
from fleet_dagster.storage.storms import HELD
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.storms import feed, of_minutes, storm_fleet

START = at.FIRST + 600 * MINUTE
ROUGH = range(11, 16)
"""Minutes in which a third of the sites change their status."""
N_MINUTES = 27


@pytest.fixture
def config() -> FleetConfig:
    return storm_fleet(24)


def minute(n: int) -> int:
    return START + n * MINUTE


def live(
    store: Store, config: FleetConfig, minutes: Iterable[int], *, rough: Iterable[int] = ROUGH
) -> list[StormEpisode]:
    """Land a minute, look, refresh every third minute what has closed; returns what each look changed."""
    changed: list[StormEpisode] = []
    judged = 0
    for n in minutes:
        feed(store, config, START, [n], rough=rough)
        look = StormWatch(store, config).look(minute(n + 1) + 5_000_000, judged)
        judged, changed = look.judged_through, [*changed, *look.changed]
        if n % 3 == 0:
            refresh(store, config, n - 3, n)
    return changed


Lived = tuple[Store, list[StormEpisode]]
"""A storm as it was lived through: the store, and what the looks changed."""


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    """Return a storm that was watched from its beginning to its end; no test changes the store."""
    with Store.at(at.new_home(tmp_path_factory.mktemp("lived"))) as store:
        yield store, live(store, storm_fleet(24), range(N_MINUTES))


def modes(store: Store) -> list[str]:
    rows = store.frame(FLEET_KPI, at.NAME, Span(minute(-3), minute(N_MINUTES)))
    return [str(mode) for mode in rows["ingestion_mode"]]


def test_a_storm_is_entered_and_left_and_nothing_written_is_restated(lived: Lived) -> None:
    store, changed = lived
    began, ended = changed
    assert began.is_open
    assert minute(11) <= began.start <= minute(12)
    assert (ended.episode_id, ended.start) == (began.episode_id, began.start)
    assert minute(20) <= ended.end <= minute(24)
    expected = of_minutes(began, ended, start=START, n=24)
    assert modes(store)[3:] == expected
    assert all(rows.empty for rows in at.replaced_rows(store).values())


def test_a_watch_that_was_away_in_mid_storm_goes_on_where_it_was(
    lived: Lived, tmp_path: Path, config: FleetConfig
) -> None:
    with Store.at(at.new_home(tmp_path / "home")) as store:
        changed = live(store, config, range(13))
    with Store.at(at.new_home(tmp_path / "home")) as store:
        changed += live(store, config, range(13, N_MINUTES))
        assert len(store.storms.recorded(at.NAME)) == 1
    _, without = lived
    assert without == changed


def test_a_watch_that_was_away_finds_the_storm_in_what_is_not_yet_written(
    store: Store, config: FleetConfig
) -> None:
    live(store, config, range(8))
    feed(store, config, START, range(8, N_MINUTES), rough=ROUGH)
    (episode,) = StormWatch(store, config).look(minute(N_MINUTES), minute(8)).changed
    assert episode.start == minute(11)
    assert minute(20) <= episode.end <= minute(22)


def test_a_storm_that_begins_while_a_run_is_at_work_holds_from_its_start(
    tmp_path: Path, config: FleetConfig
) -> None:
    hours = Span(minute(0), minute(60))
    episode = StormEpisode.of(minute(20), minute(40), cause="test")
    tables = []
    for name, during in (("quiet", False), ("during", True)):
        with Store.at(at.new_home(tmp_path / name)) as store:
            feed(store, config, START, range(60), rough=[])
            record = recorder(store, episode)
            if not during:
                record("", hours, hours)
            Refresh(store, config, progress=record).everything(hours)
            at.refresh_all(store, config, hours)
            tables.append(at.tables_of(store))
            assert at.refresh_all(store, config, hours) == 0
    at.assert_same_tables(*tables)


def recorder(store: Store, episode: StormEpisode) -> Callable[[str, Span, Span], None]:
    """Return a callback that records a storm when it is first called."""

    def record(_node: str, _chunk: Span, _span: Span) -> None:
        if not store.storms.recorded(at.NAME):
            store.storms.record(at.NAME, [episode], by="test")

    return record


def test_two_storms_back_to_back_have_panels_of_their_own(store: Store) -> None:
    config = storm_fleet(60)
    feed(store, config, START, range(30), rough=[])
    first = StormEpisode.of(minute(5), minute(15))
    second = StormEpisode.of(minute(15), minute(25))
    store.storms.record(at.NAME, [first, second], by="test")
    at.refresh_all(store, config, Span(minute(0), minute(30)))
    rows = store.frame(SITE_KPI, at.NAME, Span(minute(0), minute(30)))
    panels = []
    for episode in (first, second):
        inside = (rows["window_start"] >= pd.Timestamp(episode.start * 1000, tz="UTC")) & (
            rows["window_start"] < pd.Timestamp(episode.end * 1000, tz="UTC")
        )
        own = rows[inside & (rows["disposition"] == "sampled")]
        panels.append(set(own["site_id"]))
        assert (own.groupby("site_id").size() == 10).all()
    assert panels[0] != panels[1]
    ranked = store.frame(SITE_RANKING, at.NAME, Span(minute(5), minute(15)))
    assert set(ranked["site_id"]) == panels[0]


def test_storms_found_in_history_are_those_that_were_lived_through(
    lived: Lived, store: Store, config: FleetConfig
) -> None:
    _, (began, _) = lived
    feed(store, config, START, range(N_MINUTES), rough=ROUGH)
    (found,) = StormWatch(store, config).detect(Span(minute(0), minute(N_MINUTES)))
    assert store.storms.recorded(at.NAME) == []
    assert found.cause == began.cause
    assert found.start == minute(11)


def test_history_without_episodes_is_no_storm(store: Store, config: FleetConfig) -> None:
    feed(store, config, START, range(N_MINUTES), rough=ROUGH)
    at.refresh_all(store, config, Span(minute(0), minute(N_MINUTES)))
    assert set(modes(store)) == {"full"}
    assert StormWatch(store, config).look(minute(N_MINUTES) + 1000 * MINUTE).changed == ()


def test_a_first_snapshot_or_a_silence_of_everyone_is_no_storm(
    store: Store, config: FleetConfig
) -> None:
    """The whole fleet appears at once, falls silent for ten minutes, and returns."""
    minutes = [*range(6), *range(16, 21)]
    assert live(store, config, minutes, rough=[]) == []


def test_a_fleet_of_nineteen_has_no_storms(store: Store) -> None:
    assert live(store, storm_fleet(19), range(16)) == []


def test_a_storm_in_files_that_land_after_their_windows_were_written_is_found_where_it_was(
    store: Store, config: FleetConfig
) -> None:
    feed(store, config, START, range(5), rough=[])
    refresh(store, config, 0, 5)
    judged = StormWatch(store, config).look(minute(6)).judged_through
    refresh(store, config, 5, 25)
    feed(store, config, START, range(5, 25), rough=ROUGH)
    (episode,) = StormWatch(store, config).look(minute(26), judged).changed
    assert (episode.start, episode.end) == (minute(11), minute(22))


def test_an_end_by_hand_and_a_forgotten_storm_stand(store: Store, config: FleetConfig) -> None:
    feed(store, config, START, range(14), rough=ROUGH)
    look = StormWatch(store, config).look(minute(14) + 5_000_000)
    (began,) = look.changed
    store.storms.end(at.NAME, minute(15), by="operator")
    feed(store, config, START, range(14, 18), rough=[])
    for n in (15, 16, 17, 18):
        look = StormWatch(store, config).look(minute(n), look.judged_through)
        assert look.changed == ()
    store.storms.forget(at.NAME, began.start)
    assert StormWatch(store, config).look(minute(18), look.judged_through).changed == ()


def test_a_storm_goes_on_while_telemetry_is_late(store: Store, config: FleetConfig) -> None:
    """Only one site, with a clock ahead, is heard of for ten minutes; then all the rest lands."""
    feed(store, config, START, range(14), rough=ROUGH)
    watch = StormWatch(store, config)
    look = watch.look(minute(14) + 5_000_000)
    ahead = [minute(n) for n in range(14, 26)]
    at.land(store, config, at.snapshots("MX-0001", ahead, config), batch_id="ahead")
    for n in (16, 19, 22, 25):
        look = watch.look(minute(n), look.judged_through)
        assert look.changed == ()
    feed(store, config, START, range(14, 26), rough=[14, 15])
    (ended,) = watch.look(minute(26), look.judged_through).changed
    assert not ended.is_open
    assert ended.end >= minute(21)


def refresh(store: Store, config: FleetConfig, first: int, end: int) -> None:
    closed = Refresh(store, config)
    closed.site_ingest(Span(minute(first), minute(end)))
    closed.fleet_aggregator(Span(minute(first), minute(end)))


def test_episodes_that_overlap_are_refused_and_nothing_is_recorded(store: Store) -> None:
    first = StormEpisode.of(minute(0), minute(10))
    store.storms.record(at.NAME, [first], by="test")
    late = [StormEpisode.of(minute(20)), StormEpisode.of(minute(9), minute(12))]
    with pytest.raises(StormError, match="would overlap storm-20260101T100000Z"):
        store.storms.record(at.NAME, late, by="test")
    assert [r.episode for r in store.storms.recorded(at.NAME)] == [first]
    assert store.storms.record(at.NAME, [first], by="test") == []


def test_a_held_storm_is_ended_by_hand_only(store: Store, config: FleetConfig) -> None:
    feed(store, config, START, range(20), rough=[])
    for by, is_ended in ((HELD, False), ("operator", True)):
        store.storms.record(at.NAME, [StormEpisode.of(minute(5))], by=by)
        look = StormWatch(store, config).look(minute(20))
        assert bool(look.changed) == is_ended
        store.storms.forget(at.NAME, minute(5))


def test_only_a_storm_that_is_on_can_be_ended(store: Store) -> None:
    with pytest.raises(StormError, match="no storm is on"):
        store.storms.end(at.NAME, minute(5), by="test")
    store.storms.record(at.NAME, [StormEpisode.of(minute(5))], by="test")
    with pytest.raises(StormError, match="cannot end at or before its start"):
        store.storms.end(at.NAME, minute(5), by="test")
    assert store.storms.end(at.NAME, minute(6), by="test").end == minute(6)
    assert store.storms.open(at.NAME) is None
