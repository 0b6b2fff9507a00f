"""Honest histories: whatever is written, restated, removed, merged, read again or handed over is recorded once, and verifies."""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fleet_dagster.ledger import appender as appender_module
from fleet_dagster.ledger.appender import CONSUMER, STREAM, appending
from fleet_dagster.ledger.entries import MATERIALIZATION, RETENTION, read_entry
from fleet_dagster.ledger.keystore import KeyStore
from fleet_dagster.model.errors import LedgerError, StreamError
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.storage.cursors import Cursor
from fleet_dagster.storage.door import STEPS
from fleet_dagster.storage.merging import merge_log
from fleet_dagster.storage.store import Store
from fleet_dagster.streams import deliveries
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.ledger import tampering as t
from fleet_dagster_tests.streams import fleet_windows as fw

Recorded = tuple[int, int, float, int | None]
"""Window, revision, health, and the entry that this one supersedes."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.at(tmp_path / "home") as opened:
        KeyStore.of(opened, fw.CONFIG).create()
        yield opened


def rows(store: Store) -> list[Recorded]:
    """Return what the entries of rows say, in their order."""
    found = []
    for leaf in t.leaves(store):
        if leaf.window_start is None:
            continue
        said = read_entry(leaf.entry)
        number = (leaf.window_start - fw.window(0)) // fw.HOURS
        found.append((number, said["revision"], said["row"]["fleet_health"], said["supersedes"]))
    return found


def of_kind(store: Store, kind: str) -> list[dict[str, Any]]:
    """Return what the entries of a kind say."""
    return [read_entry(leaf.entry) for leaf in t.leaves(store) if leaf.kind == kind]


def is_good(store: Store) -> None:
    """Assert that nothing is wrong, and nothing is left to record."""
    report = t.verified(store)
    assert (report.verdict, report.findings, report.n_pending) == ("unwitnessed", (), 0)
    assert t.append(store) == 0


def test_rows_come_in_order_with_what_made_them(store: Store) -> None:
    fw.write(store, {0: 0.5, 1: 0.25}, fw.span(0, 2))
    fw.write(store, {2: 0.75}, fw.span(2, 3), inputs="v2")
    assert t.append(store) == 4
    assert rows(store) == [(0, 0, 0.5, None), (1, 0, 0.25, None), (2, 0, 0.75, None)]
    [made] = of_kind(store, MATERIALIZATION)
    entries = store.history.entries(FLEET_KPI.name, t.FLEET)
    found = [(c["seq"], c["inputs"], c["first"], c["last"], c["kind"]) for c in made["commits"]]
    assert found == [
        (entries[0].seq, "v1", 0, 1, "append"),
        (entries[1].seq, "v2", 2, 2, "append"),
    ]
    assert set(made["imprints"]) == {entries[0].imprint}
    assert made["index"] == 3
    is_good(store)


def test_a_restatement_supersedes(store: Store) -> None:
    fw.write(store, {0: 0.5, 1: 0.5}, fw.span(0, 2))
    t.append(store)
    fw.write(store, {0: 0.75, 1: 0.5}, fw.span(0, 2))
    t.append(store)
    assert rows(store)[2:] == [(0, 1, 0.75, 0)]
    fw.write(store, {0: 0.5, 1: 0.5}, fw.span(0, 2))
    t.append(store)
    assert rows(store)[3:] == [(0, 2, 0.5, 3)]
    is_good(store)


def test_every_restatement_between_two_runs_is_recorded(store: Store) -> None:
    for health in (0.5, 0.6, 0.7, 0.5):
        fw.write(store, {0: health, 1: 0.5}, fw.span(0, 2))
    t.append(store)
    assert [r for r in rows(store) if r[0] == 0] == [
        (0, 0, 0.5, None),
        (0, 1, 0.6, 0),
        (0, 2, 0.7, 2),
        (0, 3, 0.5, 3),
    ]
    is_good(store)


def test_old_days_may_come_after_new_ones(store: Store) -> None:
    fw.write(store, {48: 0.5}, fw.span(48, 49))
    t.append(store)
    fw.write(store, {0: 0.5}, fw.span(0, 1))
    t.append(store)
    assert [r[0] for r in rows(store)] == [48, 0]
    is_good(store)


def test_what_lies_between_the_windows_of_a_batch_is_not_read(store: Store) -> None:
    """A day of years ago is restated beside rows of today: what was recorded since does not fit into memory."""
    fw.write(store, dict.fromkeys(range(96), 0.5), fw.span(0, 96))
    t.append(store)
    fw.write(store, {3: 0.75}, fw.span(3, 4))
    fw.write(store, {96: 0.5}, fw.span(96, 97))
    read: list[tuple[int, int]] = []

    def note(*about: Any) -> None:  # Any: what SQLAlchemy tells of a statement
        if "row_digest" in about[2] and "window_start >=" in about[2]:
            read.append((about[3][1], about[3][2]))

    sa.event.listen(store.control.engine, "before_cursor_execute", note)
    assert t.append(store) == 3
    sa.event.remove(store.control.engine, "before_cursor_execute", note)
    assert read == [(fw.window(3), fw.window(4)), (fw.window(96), fw.window(97))]
    assert rows(store)[96:] == [(3, 1, 0.75, 3), (96, 0, 0.5, None)]
    is_good(store)


def test_a_removal_is_recorded_after_what_it_removes(store: Store) -> None:
    fw.write(store, {0: 0.5, 24: 0.5}, fw.span(0, 25))
    t.append(store)
    fw.expire(store, 0)
    t.append(store)
    [removal] = of_kind(store, RETENTION)
    assert (removal["from"], removal["to"], removal["n_rows"]) == (
        "2026-01-01T00:00:00Z",
        "2026-01-02T00:00:00Z",
        1,
    )
    assert t.verified(store).n_expired == 1
    is_good(store)


def test_what_expired_before_it_was_recorded_is_missed(store: Store) -> None:
    fw.write(store, {0: 0.5, 24: 0.5}, fw.span(0, 25))
    fw.expire(store, 0)
    with appending(store, fw.CONFIG) as appender:
        done = appender.run()
    assert (done.n_rows, done.n_missed > 0) == (1, True)
    assert [r[0] for r in rows(store)] == [24]
    is_good(store)


@pytest.mark.parametrize("between", [True, False])
def test_a_day_that_is_computed_again_is_recorded_again(store: Store, between: bool) -> None:  # noqa: FBT001 - by pytest
    """With the same row, another, and the first again: each is recorded, whether or not the removals were before."""
    fw.write(store, {0: 0.5}, fw.span(0, 1))
    t.append(store)
    for health in (0.5, 0.75, 0.5):
        fw.expire(store, 0)
        if between:
            t.append(store)
        fw.write(store, {0: health}, fw.span(0, 1))
        assert t.verified(store).findings == ()
        t.append(store)
    found = [(revision, health) for _, revision, health, _ in rows(store)]
    assert found == [(0, 0.5), (1, 0.5), (2, 0.75), (3, 0.5)]
    is_good(store)
    t.drop_rows(store, 0, 1)
    assert t.kinds(t.verified(store)) == {"entry_without_row"}


def test_a_day_removed_twice_between_two_runs(store: Store) -> None:
    fw.write(store, {0: 0.5}, fw.span(0, 1))
    t.append(store)
    fw.expire(store, 0)
    fw.write(store, {0: 0.75}, fw.span(0, 1))
    fw.expire(store, 0)
    assert t.verified(store).findings == ()
    t.append(store)
    assert rows(store) == [(0, 0, 0.5, None)]
    assert len(of_kind(store, RETENTION)) == 2
    is_good(store)


def merge(store: Store, until: int) -> int:
    """Merge the commit log's entries of settled days."""
    store.history.coverage.settle(t.FLEET, [FLEET_KPI.name], fw.day(until).start)
    return merge_log(store.history, FLEET_KPI, t.FLEET)


@pytest.mark.parametrize("when", ["before", "after", "late start"])
def test_merging_the_commit_log_changes_nothing(tmp_path: Path, when: str) -> None:
    with Store.at(tmp_path / "home") as store:
        if when != "late start":
            KeyStore.of(store, fw.CONFIG).create()
        for n in range(0, 48, 8):
            fw.write(store, dict.fromkeys(range(n, n + 8), 0.5), fw.span(n, n + 8))
        fw.write(store, {30: 0.75}, fw.span(30, 31))
        if when == "after":
            assert t.append(store) == 50
        assert merge(store, 2) == 3
        if when == "late start":
            KeyStore.of(store, fw.CONFIG).create()
        if when != "after":
            assert t.append(store) == 50
        is_good(store)
        store.cursors.move(_cursor(store), 0)
        is_good(store)
        assert sorted(r[:3] for r in rows(store)) == sorted(
            [*((n, 0, 0.5) for n in range(48)), (30, 1, 0.75)]
        )


def test_a_month_that_was_there_before_the_keys_is_recorded(tmp_path: Path) -> None:
    starts_late(tmp_path, n_days=30)


@pytest.mark.slow
def test_a_year_that_was_there_before_the_keys_is_recorded(tmp_path: Path) -> None:
    starts_late(tmp_path, n_days=365)


def starts_late(folder: Path, *, n_days: int) -> None:
    """Make keys once there is a history."""
    with Store.at(folder / "home") as store:
        n = n_days * 24
        fw.write(store, dict.fromkeys(range(n), 0.5), fw.span(0, n))
        with pytest.raises(LedgerError, match="no such file of keys"):
            t.append(store)
        assert t.leaves(store) == []
        KeyStore.of(store, fw.CONFIG).create()
        assert t.append(store) == n + -(-n_days // appender_module.COMMITS)
        assert t.verified(store).n_windows == n
        is_good(store)


def _cursor(store: Store) -> Cursor:
    found = store.cursors.find(t.FLEET, STREAM.name, CONSUMER)
    assert found is not None
    return found


@pytest.mark.parametrize("how", ["rewind", "forget"])
def test_reading_the_stream_again_records_nothing_twice(store: Store, how: str) -> None:
    """Only removals are told again: that a day was removed is true each time."""
    fw.write(store, dict.fromkeys(range(48), 0.5), fw.span(0, 48))
    t.append(store)
    fw.write(store, {3: 0.75}, fw.span(3, 4))
    fw.write(store, {3: 0.5}, fw.span(3, 4))
    t.append(store)
    fw.expire(store, 1)
    t.append(store)
    before, n_removals = rows(store), len(of_kind(store, RETENTION))
    if how == "rewind":
        store.cursors.move(_cursor(store), 0)
    else:
        store.cursors.forget(_cursor(store))
    assert t.verified(store).findings == ()
    assert t.append(store) == n_removals
    assert rows(store) == before
    is_good(store)


def test_what_was_skipped_may_be_read_later(store: Store) -> None:
    """Moved ahead and back: rows that newer ones have replaced by then are not put behind them."""
    fw.write(store, {0: 0.5, 1: 0.5}, fw.span(0, 2))
    skipped = store.history.last_number()
    store.cursors.register(t.FLEET, STREAM.name, CONSUMER)
    store.cursors.move(_cursor(store), skipped)
    fw.write(store, {0: 0.75}, fw.span(0, 1))
    t.append(store)
    assert t.kinds(t.verified(store)) == {"row_without_entry"}
    store.cursors.move(_cursor(store), 0)
    t.append(store)
    assert rows(store) == [(0, 1, 0.75, None), (1, 0, 0.5, None)]
    is_good(store)


def test_an_appender_that_was_overtaken_writes_nothing(store: Store) -> None:
    fw.write(store, {0: 0.5}, fw.span(0, 1))
    t.append(store)
    fw.write(store, {1: 0.5}, fw.span(1, 2))
    log, row = t.log_of(store), t.new_row(9, 2)
    head = log.head()
    assert head is not None
    stale = log.prepare(head, [row])
    t.append(store)
    before = _books(store)
    with (
        pytest.raises(LedgerError, match="it no longer has 2 entries: another process appended"),
        store.control.transaction() as tx,
    ):
        log.append(tx, stale, None)
    assert _books(store) == before
    is_good(store)


def _books(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    names = [table.name for table in t.KEPT]
    return {name: found for name, found in at.books(store).items() if name in names}


def test_who_has_to_wait_too_long_is_told(store: Store) -> None:
    with (
        appending(store, fw.CONFIG),
        pytest.raises(StreamError, match="follows it as 'ledger'"),
        appending(store, fw.CONFIG, patience_s=0.0),
    ):
        pass


def test_batches_of_any_size_give_the_same_rows(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender_module, "BATCH_ROWS", 5)
    monkeypatch.setattr(deliveries, "PIECE_ROWS", 3)
    fw.write(store, dict.fromkeys(range(40), 0.5), fw.span(0, 40))
    fw.write(store, dict.fromkeys(range(4, 9), 0.75), fw.span(4, 9))
    fw.expire(store, 1)
    t.append(store)
    assert len(t.checkpoints_of(store)) > 4
    assert [r[0] for r in rows(store)] == [*range(24), *range(4, 9)]
    is_good(store)


@pytest.mark.parametrize("step", STEPS)
def test_a_restatement_that_is_under_way_is_not_taken_for_the_row_before_it(
    store: Store, tmp_path: Path, step: str
) -> None:
    """The lake holds the new row before the commit log tells of it: what the older entry wrote is then among the replaced rows."""
    fw.write(store, {0: 0.5, 1: 0.5}, fw.span(0, 2))

    def append_meanwhile(passed: str) -> None:
        if passed == step:
            t.append(store)
            assert rows(store) == [(0, 0, 0.5, None), (1, 0, 0.5, None)]
            assert t.verified(store).findings == ()

    with Store.at(tmp_path / "home", checkpoint=append_meanwhile) as writer:
        fw.write(writer, {0: 0.75}, fw.span(0, 1))
    t.append(store)
    assert rows(store)[2:] == [(0, 1, 0.75, 0)]
    is_good(store)


# Two at once


def test_two_appenders_record_each_row_once(store: Store) -> None:
    two_at_once(store)


def two_at_once(store: Store) -> None:
    """Let two processes append while this one writes; each row is recorded once, and nobody is refused."""
    fw.write(store, dict.fromkeys(range(100), 0.5), fw.span(0, 100))
    control = store.control.engine.url.render_as_string(hide_password=False)
    share = (store.lake.root, control, store.keys)
    with at.at_work(_append_often, share, share) as workers:
        for n in range(100, 110):
            fw.write(store, {n: 0.5}, fw.span(n, n + 1))
            fw.write(store, {7: (n + 1) / 200}, fw.span(7, 8))
    assert [w.exitcode for w in workers] == [0, 0]
    t.append(store)
    found = [r[:3] for r in rows(store)]
    restated = [(7, n - 99, (n + 1) / 200) for n in range(100, 110)]
    assert sorted(found) == sorted([*((n, 0, 0.5) for n in range(110)), *restated])
    is_good(store)


def _append_often(lake: str, control: str, keys: Path) -> None:
    with Store.of(lake, control) as opened:
        store = dataclasses.replace(opened, keys=keys)
        for _ in range(8):
            t.append(store)


def test_who_comes_second_waits_and_finds_nothing_to_do(store: Store) -> None:
    second_waits(store, n_written_before_it=0)


def test_who_comes_second_appends_what_has_come_since(store: Store) -> None:
    second_waits(store, n_written_before_it=5)


def second_waits(store: Store, *, n_written_before_it: int) -> None:
    """Let another process append while this one does; it goes on once this one has ended."""
    fw.write(store, dict.fromkeys(range(10), 0.5), fw.span(0, 10))
    control = store.control.engine.url.render_as_string(hide_password=False)
    n_left = n_written_before_it and n_written_before_it + 1
    with ExitStack() as first:
        appender = first.enter_context(appending(store, fw.CONFIG))
        share = (store.lake.root, control, store.keys, n_left)
        with at.at_work(_append_exactly, share) as (second,):
            assert appender.run().n_rows == 10
            written = range(10, 10 + n_written_before_it)
            fw.write(store, dict.fromkeys(written, 0.5), fw.span(10, 10 + n_written_before_it))
            assert second.is_alive()
            first.close()
    assert second.exitcode == 0
    is_good(store)


def _append_exactly(lake: str, control: str, keys: Path, n_expected: int) -> None:
    with Store.of(lake, control) as opened:
        n_appended = t.append(dataclasses.replace(opened, keys=keys))
    assert n_appended == n_expected
