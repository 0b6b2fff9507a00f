from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from fleet_dagster.model.errors import LeaseError, StreamError
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.storage.control.schema import leases
from fleet_dagster.storage.merging import merge_log
from fleet_dagster.storage.store import Store
from fleet_dagster.streams import deliveries
from fleet_dagster.streams.deliveries import Delivery, Reader
from fleet_dagster.streams.subscription import subscribe
from fleet_dagster_tests.installations import new_home
from fleet_dagster_tests.streams import fleet_windows as fw


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.at(new_home(tmp_path / "home")) as opened:
        yield opened


def read(store: Store, position: int = 0, *, as_committed: bool = False) -> list[Delivery]:
    return list(Reader(store, fw.CONFIG, fw.STREAM, as_committed).after(position))


def shown(found: list[Delivery]) -> list[tuple[str, dict[int, float]]]:
    return [(d.kind, fw.healths_of(d.rows)) for d in found]


def test_entries_come_in_the_order_of_commit_with_the_rows_as_they_stand(store: Store) -> None:
    fw.write(store, {5: 0.5}, fw.span(5, 6))
    fw.write(store, {0: 0.1, 1: 0.2}, fw.span(0, 2))
    fw.write(store, {1: 0.9}, fw.span(1, 2))
    assert shown(read(store)) == [
        ("append", {5: 0.5}),
        ("append", {0: 0.1, 1: 0.9}),
        ("restate", {1: 0.9}),
    ]


def test_rows_come_as_each_entry_wrote_them_if_asked_for(store: Store) -> None:
    fw.write(store, {0: 0.1, 1: 0.2, 2: 0.3}, fw.span(0, 3))
    fw.write(store, {1: 0.5, 2: 0.6}, fw.span(1, 3))
    fw.write(store, {2: 0.9}, fw.span(2, 3))
    assert shown(read(store, as_committed=True)) == [
        ("append", {0: 0.1, 1: 0.2, 2: 0.3}),
        ("restate", {1: 0.5, 2: 0.6}),
        ("restate", {2: 0.9}),
    ]


def test_windows_that_are_restated_to_nothing_are_told(store: Store) -> None:
    fw.write(store, {0: 0.1}, fw.span(0, 1))
    fw.write(store, {}, fw.span(0, 1))
    assert shown(read(store)) == [("append", {}), ("restate", {})]
    assert shown(read(store, as_committed=True))[0] == ("append", {0: 0.1})


def test_a_large_entry_comes_in_pieces_of_whole_windows(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "PIECE_ROWS", 5)
    fw.write(store, dict.fromkeys(range(12), 0.5), fw.span(0, 12))
    found = read(store)
    assert [(d.span, d.piece.ends_entry) for d in found] == [
        (fw.span(0, 4), False),
        (fw.span(4, 8), False),
        (fw.span(8, 12), True),
    ]
    assert [sorted(fw.healths_of(d.rows)) for d in found] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]


def test_more_entries_than_are_looked_up_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "PAGE", 3)
    for n in range(10):
        fw.write(store, {n: n / 10}, fw.span(n, n + 1))
    assert shown(read(store)) == [("append", {n: n / 10}) for n in range(10)]
    assert len(read(store, position=read(store)[3].seq)) == 6


def test_what_has_expired_is_missed_and_not_passed_over(store: Store) -> None:
    fw.write(store, {0: 0.1, 24: 0.2}, fw.span(0, 25))
    fw.expire(store, 0)
    assert shown(read(store)) == [("missed", {}), ("append", {24: 0.2}), ("expire", {})]
    fw.write(store, {0: 0.4}, fw.span(0, 1))
    assert shown(read(store))[-1] == ("append", {0: 0.4})


def test_rows_that_are_being_removed_are_missed_before_the_removal_is_logged(
    tmp_path: Path,
) -> None:
    """Between the removal and its log entry a reader finds no rows: that must not look like a window without any."""
    seen: list[list[tuple[str, dict[int, float]]]] = []

    def look(step: str) -> None:
        if step == "written" and is_expiring:
            with Store.at(new_home(tmp_path / "home")) as other:
                seen.append(shown(read(other)))

    is_expiring = False
    with Store.at(new_home(tmp_path / "home"), checkpoint=look) as store:
        fw.write(store, {0: 0.1}, fw.span(0, 1))
        is_expiring = True
        fw.expire(store, 0)
    assert seen == [[("missed", {})]]


def test_a_consumer_goes_on_where_it_left_off_in_mid_entry(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "PIECE_ROWS", 2)
    fw.write(store, dict.fromkeys(range(6), 0.5), fw.span(0, 6))
    with subscribe(store, fw.CONFIG, fw.STREAM, "me") as subscription:
        first, second, *_ = subscription.pending()
        subscription.done(first)
        assert [d.span for d in subscription.pending()] == [fw.span(2, 4), fw.span(4, 6)]
    with subscribe(store, fw.CONFIG, fw.STREAM, "me") as subscription:
        assert [d.span for d in subscription.pending()] == [fw.span(2, 4), fw.span(4, 6)]
        subscription.done(second)
        (last,) = subscription.pending()
        subscription.done(last)
        assert list(subscription.pending()) == []


def test_consumers_of_one_stream_do_not_know_of_each_other(store: Store) -> None:
    fw.write(store, {0: 0.5}, fw.span(0, 1))
    with (
        subscribe(store, fw.CONFIG, fw.STREAM, "left") as left,
        subscribe(store, fw.CONFIG, fw.STREAM, "right") as right,
    ):
        (delivery,) = left.pending()
        left.done(delivery)
        assert list(left.pending()) == []
        assert len(list(right.pending())) == 1


def test_one_process_at_a_time_reads_as_a_consumer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet_dagster.streams.subscription.PATIENCE_S", 0.0)
    with (
        subscribe(store, fw.CONFIG, fw.STREAM, "me"),
        pytest.raises(StreamError, match=r"another process, .* follows it as 'me'"),
        subscribe(store, fw.CONFIG, fw.STREAM, "me"),
    ):
        pass


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a/b"])
def test_a_name_that_cannot_be_one_is_refused(store: Store, name: str) -> None:
    with (
        pytest.raises(StreamError, match="expected 1 to 64 letters"),
        subscribe(store, fw.CONFIG, fw.STREAM, name),
    ):
        pass
    assert store.cursors.of(fw.CONFIG.name) == []


def test_a_consumer_that_is_forgotten_while_it_reads_is_told(store: Store) -> None:
    fw.write(store, {0: 0.5}, fw.span(0, 1))
    with subscribe(store, fw.CONFIG, fw.STREAM, "me") as subscription:
        (delivery,) = subscription.pending()
        store.cursors.forget(subscription.cursor)
        with pytest.raises(StreamError, match="was removed while it was reading"):
            subscription.done(delivery)


def merge(store: Store) -> int:
    store.history.coverage.settle(fw.CONFIG.name, [FLEET_KPI.name], fw.day(3).end)
    return merge_log(store.history, FLEET_KPI, fw.CONFIG.name)


def test_windows_of_a_settled_day_become_one_entry_once_all_have_read_them(store: Store) -> None:
    for n in range(24):
        fw.write(store, {n: 0.5}, fw.span(n, n + 1))
    fw.write(store, dict.fromkeys(range(24, 96), 0.5), fw.span(24, 96))
    with subscribe(store, fw.CONFIG, fw.STREAM, "slow") as subscription:
        assert merge(store) == 0
        fourth = list(subscription.pending())[3]
        subscription.done(fourth)
        assert merge(store) == 3
        subscription.done(list(subscription.pending())[-1])
    assert merge(store) == 20
    assert [(d.span, len(fw.healths_of(d.rows))) for d in read(store)] == [
        (fw.day(number), 24) for number in range(4)
    ]
    assert merge(store) == 0


def test_entries_of_restated_windows_are_never_merged(store: Store) -> None:
    for n in range(24):
        fw.write(store, {n: 0.5}, fw.span(n, n + 1))
    fw.write(store, {10: 0.9}, fw.span(10, 11))
    fw.write(store, dict.fromkeys(range(24, 96), 0.5), fw.span(24, 96))
    assert merge(store) == 9 + 12
    spans = [d.span for d in read(store) if d.kind == "append"][:3]
    assert sorted(spans) == [fw.span(0, 10), fw.span(10, 11), fw.span(11, 24)]


def test_entries_from_different_inputs_are_not_merged(store: Store) -> None:
    for n in range(24):
        fw.write(store, {n: 0.5}, fw.span(n, n + 1), inputs="v1" if n < 12 else "v2")
    fw.write(store, dict.fromkeys(range(24, 96), 0.5), fw.span(24, 96))
    assert merge(store) == 22


def test_a_day_that_is_not_settled_is_not_merged(store: Store) -> None:
    for n in range(3):
        fw.write(store, {n: 0.5}, fw.span(n, n + 1))
    store.history.coverage.settle(fw.CONFIG.name, [FLEET_KPI.name], fw.window(3))
    assert merge_log(store.history, FLEET_KPI, fw.CONFIG.name) == 0


def test_who_lost_its_lease_moves_no_cursor(store: Store) -> None:
    """Another process reads under the name by then: the one that was slow must not move it back, or past anything."""
    fw.write(store, {0: 0.5, 1: 0.6}, fw.span(0, 2))
    with subscribe(store, fw.CONFIG, fw.STREAM, "slow") as subscription:
        (delivery,) = subscription.pending()
        with store.control.transaction() as tx:
            tx.execute(sa.delete(leases))
        with pytest.raises(LeaseError):
            subscription.done(delivery)
    cursor = store.cursors.find(fw.CONFIG.name, fw.STREAM.name, "slow")
    assert cursor is not None
    assert cursor.position == 0
