from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_dagster.core.windows import DAY, MINUTE, Span
from fleet_dagster.model.errors import LeaseError
from fleet_dagster.model.tables import INGEST_STATS, superseded
from fleet_dagster.storage import changes
from fleet_dagster.storage.control.schema import intents, leases
from fleet_dagster.storage.coverage import Covered
from fleet_dagster.storage.digest import digest_of
from fleet_dagster.storage.door import Write, WriteReport
from fleet_dagster.storage.store import Store
from fleet_dagster_tests.installations import new_home
from fleet_dagster_tests.storage.rows import (
    DAY_0,
    FLEET,
    Values,
    logged,
    span,
    stats,
    stored,
    window,
    write,
)

OLD = superseded(INGEST_STATS)


def test_new_windows_are_appended_and_logged_as_one_range(store: Store) -> None:
    report = write(store, {0: [1], 1: [2, 3]}, span(0, 4))
    assert stored(store) == {0: [1], 1: [2, 3]}
    assert report.appended == (span(0, 4),)
    assert report.rows_written == 3
    assert logged(store) == [(1, "append", 0, 4, 3)]


def test_equal_rows_in_another_order_write_nothing(store: Store) -> None:
    values = {0: [1, 2], 1: [3]}
    write(store, values, span(0, 2))
    version = store.lake.version(INGEST_STATS)
    rows = stats(values).take([1, 0, 2])
    with store.door.hold([INGEST_STATS], FLEET, span(0, 2)) as holder:
        found = changes.changed_windows(INGEST_STATS, stats(values), rows, MINUTE)
        report = write_again(store, rows, holder)
    assert found == []
    assert report.wrote_nothing
    assert store.lake.version(INGEST_STATS) == version
    assert logged(store) == [(1, "append", 0, 2, 3)]


def test_equal_rows_are_recorded_as_current_for_their_newer_inputs(store: Store) -> None:
    write(store, {0: [1]}, span(0, 2), landing=3, inputs="v1")
    write(store, {0: [1]}, span(0, 2), landing=9, inputs="v2")
    assert store.history.coverage.covered(INGEST_STATS.name, FLEET, span(0, 2)) == [
        Covered(span(0, 2), 9, "v2")
    ]


def test_only_windows_that_differ_are_restated_and_their_old_rows_kept(store: Store) -> None:
    write(store, {0: [1], 1: [2, 7], 2: [3], 3: [4]}, span(0, 4))
    report = write(store, {0: [1], 1: [2, 8], 2: [3], 3: [5]}, span(0, 4))
    assert report.restated == (span(1, 2), span(3, 4))
    assert report.rows_written == 3
    assert stored(store) == {0: [1], 1: [2, 8], 2: [3], 3: [5]}
    assert logged(store)[1:] == [(2, "restate", 1, 2, 2), (3, "restate", 3, 4, 1)]
    old = store.lake.read(OLD, FLEET, span(0, 4)).to_pandas()
    assert sorted(old["landed"]) == [2, 4, 7]
    (intent_id,) = set(old["intent_id"])
    entries = store.history.entries(INGEST_STATS.name, FLEET, after=1)
    assert {e.intent_id for e in entries} == {intent_id}


def test_rows_that_vanish_leave_their_window_standing_empty(store: Store) -> None:
    write(store, {0: [1], 1: [2]}, span(0, 2))
    assert write(store, {0: [1]}, span(0, 2)).restated == (span(1, 2),)
    assert stored(store) == {0: [1]}
    assert write(store, {0: [1]}, span(0, 2)).wrote_nothing
    assert write(store, {0: [1], 1: [5]}, span(0, 2)).restated == (span(1, 2),)
    assert store.lake.read(OLD, FLEET, span(0, 2)).num_rows == 1


def test_windows_without_rows_are_logged_but_not_committed(store: Store) -> None:
    version = store.lake.version(INGEST_STATS)
    assert write(store, {}, span(0, 5)).appended == (span(0, 5),)
    assert store.lake.version(INGEST_STATS) == version
    assert logged(store) == [(1, "append", 0, 5, 0)]
    assert write(store, {}, span(0, 5)).wrote_nothing


def test_a_span_without_windows_writes_nothing(store: Store) -> None:
    assert write(store, {}, span(3, 3)).wrote_nothing
    assert logged(store) == []


def test_one_write_appends_what_is_missing_and_restates_what_differs(store: Store) -> None:
    write(store, {2: [1], 3: [1]}, span(2, 4))
    report = write(store, {n: [n] for n in range(6)}, span(0, 6))
    assert report.appended == (span(0, 2), span(4, 6))
    assert report.restated == (span(2, 4),)
    assert stored(store) == {n: [n] for n in range(6)}


def test_entries_are_cut_at_midnight(store: Store) -> None:
    end = DAY // MINUTE
    write(store, {end - 1: [1], end: [2]}, span(end - 1, end + 1))
    assert logged(store) == [(1, "append", end - 1, end, 1), (2, "append", end, end + 1, 1)]


def test_the_logged_digest_is_that_of_the_rows_as_they_are_read_back(store: Store) -> None:
    write(store, {n: [n, n + 1] for n in range(8)}, span(0, 8))
    (entry,) = store.history.entries(INGEST_STATS.name, FLEET)
    assert entry.digest == digest_of(store.lake.read(INGEST_STATS, FLEET, span(0, 8)))
    assert digest_of(stats({0: [1]})) != digest_of(stats({0: [2]}))
    assert digest_of(stats({0: [1]})) == digest_of(stats({9: [7], 0: [1]}).slice(0, 1))


def test_thousands_of_scattered_changes_are_one_commit(store: Store) -> None:
    n = 3 * DAY // MINUTE
    write(store, {i: [1] for i in range(n)}, span(0, n))
    version = store.lake.version(INGEST_STATS)
    report = write(store, {i: [1 + i % 2] for i in range(n)}, span(0, n))
    assert len(report.restated) == n // 2
    assert stored(store) == {i: [1 + i % 2] for i in range(n)}
    assert store.lake.version(INGEST_STATS) == version + 1
    assert store.lake.read(OLD, FLEET, span(0, n)).num_rows == n // 2
    assert len(logged(store)) == 3 + n // 2


@given(
    st.lists(st.integers(0, 400), unique=True, max_size=200).map(sorted),
)
def test_few_ranges_hold_every_span_and_are_few(numbers: list[int]) -> None:
    spans = [span(n, n + 1) for n in numbers]
    ranges = changes.few_ranges(spans)
    assert len(ranges) <= changes.MAX_RANGES
    assert all(any(r.start <= s.start and s.end <= r.end for r in ranges) for s in spans)
    assert ranges == sorted(ranges)
    if len(spans) <= changes.MAX_RANGES:
        assert {n for n in range(401) if any(r.overlaps(span(n, n + 1)) for r in ranges)} == set(
            numbers
        )


windows = st.integers(0, 11)
writes = st.tuples(
    windows,
    windows,
    st.dictionaries(windows, st.lists(st.integers(0, 2), max_size=2), max_size=12),
)


@settings(max_examples=10)
@given(st.lists(writes, max_size=8))
def test_any_series_of_writes_leaves_what_a_naive_store_holds(
    tmp_path_factory: pytest.TempPathFactory, series: list[tuple[int, int, Values]]
) -> None:
    """Rows, revisions and superseded rows follow a dictionary of windows."""
    rows: dict[int, list[int]] = {}
    revisions: dict[int, int] = {}
    n_old = 0
    with Store.at(tmp_path_factory.mktemp("naive")) as store:
        for a, b, drawn in series:
            first, end = min(a, b), max(a, b) + 1
            values = {n: list(v) for n, v in drawn.items() if v and first <= n < end}
            write(store, values, span(first, end))
            for n in range(first, end):
                new = values.get(n, [])
                if n in revisions and rows[n] != new:
                    revisions[n] += 1
                    n_old += len(rows[n])
                rows[n], revisions[n] = new, revisions.get(n, 0)
        assert stored(store) == {n: v for n, v in rows.items() if v}
        entries = store.history.entries(INGEST_STATS.name, FLEET)
        assert [e.seq for e in entries] == list(range(1, len(entries) + 1))
        for n, revision in revisions.items():
            touching = [e.kind for e in entries if e.span.overlaps(span(n, n + 1))]
            assert touching == ["append"] + ["restate"] * revision
        assert store.lake.read(OLD, FLEET, span(0, 12)).num_rows == n_old


def test_a_write_that_lost_its_leases_leaves_no_trace(store: Store) -> None:
    write(store, {0: [1]}, span(0, 1))
    with store.door.hold([INGEST_STATS], FLEET, span(0, 1)) as holder:
        take_over(store)
        with pytest.raises(LeaseError, match="taken over"):
            write_again(store, stats({0: [2]}), holder)
    assert stored(store) == {0: [1]}
    assert len(logged(store)) == 1
    assert not open_intents(store)


def test_a_write_undone_by_others_while_it_was_paused_is_taken_back(tmp_path: Path) -> None:
    """A writer that sleeps through its leases commits rows that nobody expects: they must not count."""
    with Store.at(new_home(tmp_path / "home")) as other:
        write(other, {0: [1], 1: [1]}, span(0, 2))

        def pause(step: str) -> None:
            if step == "superseded":
                take_over(other)
                assert other.door.recover() == 1
                write(other, {0: [3], 1: [1]}, span(0, 2), landing=2)

        with (
            Store.at(new_home(tmp_path / "home"), checkpoint=pause) as paused,
            pytest.raises(LeaseError, match="taken over"),
        ):
            write(paused, {0: [2], 1: [1]}, span(0, 2), landing=1)
        assert [e[1] for e in logged(other)] == ["append", "restate"]
        covered = other.history.coverage.covered(INGEST_STATS.name, FLEET, span(0, 1))
        assert [c.inputs for c in covered] == ["doubtful"]
        write(other, {0: [3], 1: [1]}, span(0, 2), landing=2)
        assert stored(other) == {0: [3], 1: [1]}


@pytest.mark.parametrize("step", ["intended", "superseded", "written"])
def test_a_write_that_fails_half_way_is_mended_by_the_next_writer(
    tmp_path: Path, step: str
) -> None:
    def fail(reached: str) -> None:
        if reached == step:
            raise OSError(step)

    with Store.at(new_home(tmp_path / "home")) as store:
        write(store, {0: [1], 1: [1]}, span(0, 2))
        with (
            Store.at(new_home(tmp_path / "home"), checkpoint=fail) as failing,
            pytest.raises(OSError, match=step),
        ):
            write(failing, {0: [2], 1: [1]}, span(0, 2))
        assert len(open_intents(store)) == 1
        report = write(store, {0: [2], 1: [1]}, span(0, 2))
        assert report.wrote_nothing == (step == "written")
        assert stored(store) == {0: [2], 1: [1]}
        assert logged(store)[1:] == [(2, "restate", 0, 1, 1)]
        assert store.lake.read(OLD, FLEET, span(0, 2)).num_rows == 1
        assert not open_intents(store)


def write_again(store: Store, rows: pa.Table, holder: str) -> WriteReport:
    within = Span(DAY_0, window(2))
    covered = [Covered(within, 1, "v1")]
    again = Write(INGEST_STATS, FLEET, within, rows, covered=covered, interval=MINUTE)
    return store.door.write(again, holder=holder)


def take_over(store: Store) -> None:
    """Remove every lease, as another host does when nothing is heard of their holders."""
    with store.control.transaction() as tx:
        tx.execute(sa.delete(leases))


def open_intents(store: Store) -> list[object]:
    with store.control.reading() as tx:
        return list(tx.execute(sa.select(intents)))
