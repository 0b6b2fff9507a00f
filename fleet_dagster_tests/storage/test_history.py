import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fleet_dagster.core.windows import MINUTE, Span
from fleet_dagster.model.tables import INGEST_STATS, SITE_TELEMETRY
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.coverage import PATIENCE, SCATTERED, Covered, Reads
from fleet_dagster.storage.history import Entry, History
from fleet_dagster.storage.status import with_history
from fleet_dagster.storage.store import Store
from fleet_dagster_tests.installations import new_home
from fleet_dagster_tests.storage.rows import FLEET, logged, span, stored, window, write

TABLE = INGEST_STATS.name
N = 24


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    with Store.at(tmp_path_factory.mktemp("history")) as store:
        yield store.history


numbers = st.integers(0, N)
spans = st.tuples(numbers, numbers).filter(lambda ab: ab[0] != ab[1]).map(sorted)
pieces = st.tuples(spans, st.integers(1, 3), st.sampled_from(["v1", "v2"]))


def fresh_fleet(count: list[int] = [0]) -> str:  # noqa: B006 - a counter of this module
    count[0] += 1
    return f"fleet_{count[0]}"


@given(st.lists(pieces, max_size=12))
def test_coverage_merges_and_trims_like_a_list_of_windows(
    history: History, series: list[tuple[list[int], int, str]]
) -> None:
    fleet, naive = fresh_fleet(), dict[int, tuple[int, str]]()
    for (first, end), landing, inputs in series:
        with history.control.transaction() as tx:
            history.coverage.cover(tx, TABLE, fleet, [Covered(span(first, end), landing, inputs)])
        naive.update(dict.fromkeys(range(first, end), (landing, inputs)))
    found = history.coverage.covered(TABLE, fleet, span(0, N))
    assert by_window(found) == naive
    for a, b in itertools.pairwise(found):
        assert a.span.end <= b.span.start
        assert a.span.end < b.span.start or (a.landing, a.inputs) != (b.landing, b.inputs)
    cut = history.coverage.covered(TABLE, fleet, span(5, 9))
    assert by_window(cut) == {n: v for n, v in naive.items() if 5 <= n < 9}


@given(
    st.lists(pieces, max_size=8),
    st.lists(st.tuples(spans, st.integers(0, 5)), max_size=4),
    st.integers(0, 3),
    st.integers(0, 2),
)
def test_stale_windows_are_those_that_a_naive_model_names(
    history: History,
    covered: list[tuple[list[int], int, str]],
    landings: list[tuple[list[int], int]],
    since: int,
    until: int,
) -> None:
    assume(until <= since)  # a window reads up to its end, or from further back
    fleet, naive = fresh_fleet(), dict[int, tuple[int, str]]()
    seqs = []
    with history.control.transaction() as tx:
        for (first, end), received in landings:
            history.record(tx, [landing_entry(fleet, span(first, end), received)])
            seqs.append(history.control.next_numbers(tx, "commit_log", 0).stop - 1)
        for (first, end), age, inputs in covered:
            at = ([0, *seqs][-age:] or [0])[0]
            history.coverage.cover(tx, TABLE, fleet, [Covered(span(first, end), at, inputs)])
            naive.update(dict.fromkeys(range(first, end), (at, inputs)))
    minute = window(1) - window(0)
    reads = Reads(since=since * minute, until=until * minute, received_before=4)
    wanted = [Covered(span(0, N // 2), 0, "v1"), Covered(span(N // 2, N), 0, "v2")]
    stale = set()
    for n in range(N):
        at, inputs = naive.get(n, (0, ""))
        touching = [
            seq
            for seq, ((first, end), received) in zip(seqs, landings, strict=True)
            if received < 4 and first < n + 1 - until and end > n - since
        ]
        if inputs != ("v1" if n < N // 2 else "v2") or any(seq > at for seq in touching):
            stale.add(n)
    found = history.coverage.stale(TABLE, fleet, wanted, reads=reads)
    assert {n for n in range(N) if any(s.overlaps(span(n, n + 1)) for s in found)} == stale


def test_confirmed_records_become_one_and_keep_what_is_newer(history: History) -> None:
    fleet = fresh_fleet()
    n = SCATTERED + 10
    with history.control.transaction() as tx:
        for i in range(n):
            history.coverage.cover(tx, TABLE, fleet, [Covered(span(i, i + 1), i + 1, "v1")])
        history.coverage.cover(tx, TABLE, fleet, [Covered(span(n, n + 1), 999, "v1")])
        history.coverage.cover(tx, TABLE, fleet, [Covered(span(n + 1, n + 2), 7, "v2")])
    history.coverage.confirm(TABLE, fleet, [span(0, n + 2)], 500)
    assert history.coverage.covered(TABLE, fleet, span(0, n + 2)) == [
        Covered(span(0, n), 500, "v1"),
        Covered(span(n, n + 1), 999, "v1"),
        Covered(span(n + 1, n + 2), 500, "v2"),
    ]


def test_numbers_have_no_gap_and_follow_the_order_of_commit(store: Store) -> None:
    """Readers poll by number while eight writers commit: none ever sees a number appear below one it has seen."""
    n_writers, n_each = 8, 6

    def one(writer: int) -> None:
        for i in range(n_each):
            first = (writer * 3 + 1) * 1440 + i
            write(store, {first: [writer]}, span(first, first + 1))

    seen: list[int] = []
    with ThreadPoolExecutor(n_writers) as threads:
        running = [threads.submit(one, writer) for writer in range(n_writers)]
        while not all(r.done() for r in running):
            found = [e.seq for e in store.history.entries(TABLE, FLEET)]
            assert found[: len(seen)] == seen
            seen = found
        for r in running:
            r.result()
    assert [seq for seq, *_ in logged(store)] == list(range(1, n_writers * n_each + 1))
    assert len(stored(store)) == n_writers * n_each


def test_the_settled_watermark_moves_over_what_stands_and_never_back(store: Store) -> None:
    write(store, {}, span(0, 10))
    write(store, {}, span(12, 20))
    assert store.history.coverage.settled_through(FLEET, TABLE) is None
    for through, settled in ((-5, 0), (4, 4), (2, 4), (99, 10)):
        store.history.coverage.settle(FLEET, [TABLE], window(through))
        assert store.history.coverage.settled_through(FLEET, TABLE) == window(settled)
    write(store, {}, span(10, 12))
    store.history.coverage.settle(FLEET, [TABLE], window(15))
    assert store.history.coverage.settled_through(FLEET, TABLE) == window(15)


def test_a_gap_holds_the_settled_watermark_for_a_week_and_no_longer(store: Store) -> None:
    write(store, {}, span(0, 10))
    write(store, {}, span(12, 20))
    week_later = window(12) + PATIENCE
    for through, settled in ((week_later - 1, 10), (week_later, 20)):
        store.history.coverage.settle(FLEET, [TABLE], through)
        assert store.history.coverage.settled_through(FLEET, TABLE) == window(settled)


def test_a_young_gap_behind_an_old_one_still_holds(store: Store) -> None:
    late = PATIENCE // MINUTE
    for first, end in ((0, 10), (12, late), (late + 5, late + 9)):
        write(store, {}, span(first, end))
    store.history.coverage.settle(FLEET, [TABLE], window(late + 12))
    assert store.history.coverage.settled_through(FLEET, TABLE) == window(late)


def test_nothing_settles_where_nothing_stands(store: Store) -> None:
    store.history.coverage.settle(FLEET, [TABLE], now_us())
    assert store.history.coverage.settled_through(FLEET, TABLE) is None


def test_state_and_revision_come_from_the_log(store: Store) -> None:
    for second, third in ((1, 1), (2, 1), (3, 2)):
        write(store, {0: [1], 1: [second], 2: [third]}, span(0, 3))
    store.history.coverage.settle(FLEET, [TABLE], window(2))
    rows = store.frame(INGEST_STATS, FLEET, span(0, 3))
    told = with_history(store, INGEST_STATS, FLEET, rows)
    assert list(told["revision"]) == [0, 2, 1]
    assert list(told["state"]) == ["final", "restated", "provisional"]


def test_entries_can_be_read_by_number_and_by_span(store: Store) -> None:
    write(store, {0: [1]}, span(0, 2))
    write(store, {5: [1]}, span(4, 6))
    write(store, {0: [2]}, span(0, 2))
    entries = store.history.entries
    assert [e.seq for e in entries(TABLE, FLEET, after=1)] == [2, 3]
    assert [e.seq for e in entries(TABLE, FLEET, span(0, 4))] == [1, 3]
    assert [e.seq for e in entries(TABLE, FLEET, span(1, 4))] == [1]
    assert [e.seq for e in entries(TABLE, FLEET, span(2, 4))] == []
    assert store.history.coverage.newest_end(TABLE, FLEET) == window(6)
    assert store.history.coverage.newest_end(TABLE, "other") is None
    assert store.history.newest_digest(TABLE, FLEET, span(0, 1)) == entries(TABLE, FLEET)[2].digest


def test_two_stores_on_one_folder_share_one_log(tmp_path: Path) -> None:
    with (
        Store.at(new_home(tmp_path / "home")) as first,
        Store.at(new_home(tmp_path / "home")) as second,
    ):
        write(first, {0: [1]}, span(0, 1))
        write(second, {0: [2]}, span(0, 1))
        write(first, {0: [1]}, span(0, 1))
        assert [e[:2] for e in logged(second)] == [(1, "append"), (2, "restate"), (3, "restate")]
        assert stored(second) == {0: [1]}


def by_window(found: list[Covered]) -> dict[int, tuple[int, str]]:
    return {
        n: (c.landing, c.inputs) for n in range(N) for c in found if c.span.overlaps(span(n, n + 1))
    }


def landing_entry(fleet: str, within: Span, received: int) -> Entry:
    return Entry(SITE_TELEMETRY.name, fleet, within, 1, "append", "", received, "", "", "")
