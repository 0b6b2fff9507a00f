import asyncio
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.dashboard.documents import difference, merged
from fleet_dagster.dashboard.hub import QUEUED, REMEMBERED, Hub
from fleet_dagster.model.snapshot import SitesShown, Snapshot

COLUMNS = [name for name in SitesShown.__dataclass_fields__ if name != "site_id"]
KEYS = [name for name in Snapshot.__dataclass_fields__ if name != "sites"]
cells = st.one_of(st.none(), st.integers(0, 3), st.floats(0, 1), st.booleans())


def document(number: int, n_sites: int = 3) -> dict[str, Any]:  # Any: JSON
    """Return a document in which the number shows at several places."""
    sites: dict[str, Any] = {name: [number % 2] * n_sites for name in COLUMNS}
    sites["site_id"] = [f"S{i}" for i in range(n_sites)]
    own = dict.fromkeys(KEYS, None) | {"seq": number, "window": {"end": number}}
    return {**own, "health": {"score": number}, "sites": sites}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:  # Any: JSON
    n = 4
    sites: dict[str, Any] = {
        name: draw(st.lists(cells, min_size=n, max_size=n)) for name in COLUMNS
    }
    own = {name: draw(st.one_of(cells, st.lists(cells, max_size=2))) for name in KEYS}
    return {**own, "sites": {"site_id": [f"S{i}" for i in range(n)], **sites}}


@given(documents(), documents())
def test_what_has_changed_in_what_was_is_the_whole(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    update = difference(before, after)
    assert update is not None
    assert merged(before, json.loads(json.dumps(update))) == after


@given(documents())
def test_of_what_has_not_changed_only_the_time_is_told(one: dict[str, Any]) -> None:
    update = difference(one, one)
    assert update is not None
    assert update.keys() == {"seq", "taken_at", "window"}


def test_another_list_of_sites_makes_a_whole_picture_necessary() -> None:
    assert difference(document(1, 3), document(2, 4)) is None


def test_pictures_without_news_are_not_sent() -> None:
    hub = Hub("e")
    assert hub.publish(document(1))
    later = {**document(1), "taken_at": "later", "seq": 2}
    assert not hub.publish(later)
    assert hub.event_id == "e:1"
    assert json.loads(hub.snapshot().data)["taken_at"] == "later"


def test_an_update_is_encoded_once_for_everybody() -> None:
    hub = Hub("e")
    hub.publish(document(1))
    clients = [hub.join() for _ in range(3)]
    for client in clients:
        hub.next_of(client)
    hub.publish(document(2))
    sent = [hub.next_of(client)[0] for client in clients]
    assert sent[0] is sent[1] is sent[2]


def test_who_does_not_read_loses_updates_and_then_gets_the_whole_picture() -> None:
    hub = Hub("e")
    hub.publish(document(0))
    slow, quick = hub.join(), hub.join()
    hub.next_of(slow)
    hub.next_of(quick)
    for number in range(1, 3 * QUEUED):
        hub.publish(document(number))
        assert [e.name for e in hub.next_of(quick)] == ["update"]
        assert len(slow.waiting) <= QUEUED
    (caught_up,) = hub.next_of(slow)
    assert caught_up.name == "snapshot"
    assert json.loads(caught_up.data)["seq"] == 3 * QUEUED - 1
    hub.publish(document(999))
    assert [e.name for e in hub.next_of(slow)] == ["update"]


def test_who_was_away_goes_on_only_where_all_is_remembered() -> None:
    hub = Hub("e")
    for number in range(1, REMEMBERED + 12):
        hub.publish(document(number))
    newest = hub.number

    def told(last_id: str) -> list[str]:
        return [e.name for e in hub.next_of(hub.join(last_id))]

    assert told(f"e:{newest}") == []
    assert told(f"e:{newest - 3}") == ["update"] * 3
    assert told("e:1") == ["snapshot"]
    for odd in ("", "e:", "other:1", f"e:{newest + 1}", "e:-1", "e:x", "\x00", f"e:{newest}:1"):
        assert told(odd) == ["snapshot"], odd


def test_a_listener_without_a_picture_waits_for_the_first() -> None:
    hub = Hub("e")
    client = hub.join("e:0")
    assert hub.next_of(client) == []
    hub.publish(document(1))
    assert [e.name for e in hub.next_of(client)] == ["snapshot"]


def test_the_end_wakes_every_listener_up() -> None:
    async def ended() -> bool:
        hub = Hub("e")
        client = hub.join()
        client.arrived.clear()
        hub.end()
        await asyncio.wait_for(client.arrived.wait(), 1)
        return client.is_ended

    assert asyncio.run(ended())


def test_an_event_on_the_wire_is_three_lines() -> None:
    hub = Hub("e")
    hub.publish({**document(1), "fleet": "a\nb"})
    lines = hub.snapshot().wire.decode().split("\n")
    assert lines[:2] == ["id: e:1", "event: snapshot"]
    assert lines[3:] == ["", ""]
