import pytest

from fleet_dagster.core.windows import HOUR, MINUTE, Span
from fleet_dagster.dashboard import channels, feed
from fleet_dagster.dashboard.documents import merged
from fleet_dagster.storage.cursors import Cursor
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.dashboard.conftest import COMPUTED, PLANT
from fleet_dagster_tests.dashboard.serving import Served, eventually, served, serving_of

NEXT = Span(COMPUTED.end, COMPUTED.end + 30 * MINUTE)


def test_a_listener_gets_the_picture_then_what_changes_and_both_together_are_the_whole(
    store: Store, dashboard: Served
) -> None:
    with dashboard.events() as stream:
        name, picture, own = stream.until("snapshot", "update")
        assert name == "snapshot"
        assert picture["window"]["end"] == "2026-01-01T12:00:00.000000Z"
        at.refresh_all(store, PLANT, NEXT)
        ends = "2026-01-01T12:30:00.000000Z"
        while picture["window"]["end"] != ends:
            _, update, event_id = stream.until("update")
            assert event_id.split(":")[0] == own.split(":")[0]
            assert set(update.get("sites", {})) <= {"at", "values"}
            picture = merged(picture, update)
    whole = dashboard.get("/api/fleets/plant/snapshot").json["snapshot"]
    told = {"seq", "taken_at"}
    assert {k: v for k, v in picture.items() if k not in told} == {
        k: v for k, v in whole.items() if k not in told
    }


def test_a_listener_that_was_away_goes_on_from_what_it_saw(store: Store, dashboard: Served) -> None:
    with dashboard.events() as stream:
        _, _, seen = stream.until("snapshot")
    at.refresh_all(store, PLANT, NEXT)
    eventually(lambda: dashboard.get("/api/fleets/plant/snapshot").json["id"] != seen)
    with dashboard.events(last_id=seen) as stream:
        assert stream.until("snapshot", "update")[0] == "update"


def test_after_a_restart_the_whole_picture_comes_whatever_number_was_seen(store: Store) -> None:
    with served(store, PLANT) as first, first.as_("viewer").events() as stream:
        _, _, seen = stream.until("snapshot")
    with served(store, PLANT) as second, second.as_("viewer").events(last_id=seen) as stream:
        name, _, again = stream.until("snapshot", "update")
    assert name == "snapshot"
    assert again.split(":")[0] != seen.split(":")[0]


def test_a_beat_comes_every_second_though_nothing_happens(dashboard: Served) -> None:
    with dashboard.events() as stream:
        beats = [stream.until("beat")[1] for _ in range(3)]
    assert len({beat["now"] for beat in beats}) == 3


def test_the_cursor_of_the_dashboard_stands_at_the_newest_entry(
    store: Store, dashboard: Served
) -> None:
    def newest() -> bool:
        cursors = [c for c in store.cursors.of("plant") if c.consumer == "ops_dashboard"]
        last = store.history.newest_numbers("plant", ["fleet_kpi"])["fleet_kpi"]
        return len(cursors) == 5 and any(c.position == last for c in cursors)

    assert eventually(newest)
    at.refresh_all(store, PLANT, Span(COMPUTED.end, COMPUTED.end + HOUR))
    assert eventually(newest)
    assert dashboard.get("/healthz").body == b"ok"


def test_a_second_dashboard_follows_in_memory_and_shows_the_same(
    store: Store, dashboard: Served
) -> None:
    with served(store, PLANT) as other, other.as_("viewer").events() as stream:
        stream.until("snapshot")
        at.refresh_all(store, PLANT, NEXT)
        ends = "2026-01-01T12:30:00.000000Z"
        stream.first(lambda e: e[0] == "update" and e[1]["window"]["end"] == ends)
        assert dashboard.get("/api/session").status == 200


def test_the_server_ends_quickly_though_streams_are_open(store: Store) -> None:
    with served(store, PLANT) as running:
        listening = running.as_("viewer").events()
        stream = listening.__enter__()
        stream.until("snapshot")
    while stream.next() is not None:
        pass
    listening.__exit__(None, None, None)


def test_a_consumer_that_is_removed_meanwhile_is_taken_up_again(
    store: Store, dashboard: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def own() -> list[Cursor]:
        return [c for c in store.cursors.of("plant") if c.consumer == "ops_dashboard"]

    monkeypatch.setattr(feed, "TAKEN_AGAIN_AFTER_S", 0.5)
    for cursor in eventually(lambda: own() if len(own()) == 5 else None):
        store.cursors.forget(cursor)
    at.refresh_all(store, PLANT, NEXT)
    assert eventually(lambda: len(own()) == 5)
    assert dashboard.get("/api/fleets/plant/snapshot").status == 200


def test_fleets_come_and_go_without_a_restart(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "LOOK_EVERY_S", 0.1)
    shown = {"plant": PLANT}
    with serving_of(store, shown) as running:
        viewer = running.as_("viewer")
        assert viewer.get("/api/session").json["fleets"] == ["plant"]
        shown["other"] = PLANT.model_copy(update={"name": "other"})
        eventually(lambda: viewer.get("/api/session").json["fleets"] == ["other", "plant"])
        with viewer.events() as stream:
            stream.until("snapshot")
            shown["plant"] = PLANT.model_copy(update={"schedule_minutes": 7})
            _, update, _ = stream.first(lambda e: e[0] == "update" and "patience_s" in e[1])
            assert update["patience_s"] == 1800 + 2 * 60 * 7
            del shown["plant"]
            while stream.next() is not None:
                pass
        assert viewer.get("/api/fleets/plant/snapshot").status == 404
