"""The control database on PostgreSQL: what holds on SQLite holds here, with writers that do not queue up by themselves."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from fleet_dagster.core.windows import Span
from fleet_dagster.model.errors import LeaseError, StorageError
from fleet_dagster.model.tables import INGEST_STATS, SITE_TELEMETRY
from fleet_dagster.storage.control import schema
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.coverage import Covered
from fleet_dagster.storage.leases import Leases, new_holder
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests import worker
from fleet_dagster_tests.storage import rows, test_migrations
from fleet_dagster_tests.storage.rows import FLEET, logged, span, stored, write

pytestmark = pytest.mark.services
INTERVAL_S = 1800
CONFIG = at.coarse(INTERVAL_S)


@pytest.fixture
def store(control_url: str, tmp_path: Path) -> Iterator[Store]:
    with Store.of(str(tmp_path / "lake"), control_url) as opened:
        yield opened


@pytest.fixture
def control(control_url: str) -> Iterator[Control]:
    opened = Control(control_url)
    yield opened
    opened.dispose()


def test_the_migrations_make_the_tables_that_the_code_knows(control: Control) -> None:
    test_migrations.test_the_migrations_make_the_tables_that_the_code_knows(control)


def test_a_second_migration_changes_nothing(control: Control) -> None:
    test_migrations.test_a_second_migration_changes_nothing(control)


def test_the_migrations_can_be_taken_back_to_nothing(control: Control) -> None:
    test_migrations.test_the_migrations_can_be_taken_back_to_nothing(control)


def test_many_first_starts_at_once_make_one_installation(control_url: str, tmp_path: Path) -> None:
    def start(number: int) -> None:
        with Store.of(str(tmp_path / "lake"), control_url) as own:
            write(own, {number: [number]}, span(number, number + 1))

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(start, range(6)))
    with Store.of(str(tmp_path / "lake"), control_url) as store:
        assert stored(store) == {n: [n] for n in range(6)}
        assert [seq for seq, *_ in logged(store)] == list(range(1, 7))


def test_windows_are_appended_restated_and_left_alone(store: Store) -> None:
    write(store, {0: [1], 1: [2], 2: [3]}, span(0, 3))
    assert write(store, {0: [1], 1: [2], 2: [3]}, span(0, 3)).wrote_nothing
    assert write(store, {0: [1], 1: [5], 2: [3]}, span(0, 3)).restated == (span(1, 2),)
    assert stored(store) == {0: [1], 1: [5], 2: [3]}
    assert logged(store) == [(1, "append", 0, 3, 3), (2, "restate", 1, 2, 1)]


def test_numbers_follow_the_order_of_commit_and_coverage_is_whole(store: Store) -> None:
    """Eight writers of neighbouring days: readers never see a number below one they have seen."""
    n_writers, n_each = 8, 6

    def one(writer: int) -> None:
        for i in range(n_each):
            first = writer * 1440 + i * 240
            write(store, {first: [writer]}, span(first, first + 240))
            write(store, {first: [writer]}, span(first, first + 240), landing=2)

    seen: list[int] = []
    with ThreadPoolExecutor(n_writers) as threads:
        running = [threads.submit(one, writer) for writer in range(n_writers)]
        while not all(r.done() for r in running):
            found = [e.seq for e in store.history.entries(INGEST_STATS.name, FLEET)]
            assert found[: len(seen)] == seen
            seen = found
        for r in running:
            r.result()
    assert [seq for seq, *_ in logged(store)] == list(range(1, n_writers * n_each + 1))
    whole = span(0, n_writers * 1440)
    assert store.history.coverage.covered(INGEST_STATS.name, FLEET, whole) == [
        Covered(whole, 2, "v1")
    ]


def test_one_lease_is_held_by_one_writer_at_a_time(store: Store) -> None:
    inside: list[int] = []
    most = 0

    def one(number: int) -> None:
        nonlocal most
        with store.door.leases.hold(["a", "b"] if number % 2 else ["b", "a", "c"]):
            inside.append(number)
            most = max(most, len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one, range(40)))
    assert most == 1


def test_the_lease_of_a_dead_writer_is_taken_over_by_one_of_many(store: Store) -> None:
    host, pid, started, nonce = new_holder().rsplit(":", 3)
    dead = {"key": "a", "holder": f"{host}:{pid}:{int(started) - 1}:{nonce}", "expires_at": 2**60}
    holders: list[str] = []

    def one(_number: int) -> None:
        with store.door.leases.hold(["a"]) as holder:
            holders.append(holder)
            with store.control.reading() as tx:
                held = tx.execute(sa.select(schema.leases.c.holder)).scalars().all()
            assert held == [holder]

    for _ in range(5):
        with store.control.transaction() as tx:
            tx.execute(sa.insert(schema.leases), [dead])
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(one, range(8)))
    assert len(set(holders)) == 40


def test_a_writer_that_waits_in_vain_is_told_who_holds_what(store: Store) -> None:
    impatient = Leases(store.control, wait_s=0.0)
    with store.door.leases.hold(["a"]) as holder:
        with pytest.raises(LeaseError) as caught, impatient.hold(["a"]):
            pytest.fail("the lease is held by another")
        assert caught.value.holder == holder


def test_one_key_landed_by_many_at_once_lands_once(control_url: str, tmp_path: Path) -> None:
    raw = at.snapshots("X-1", [at.FIRST], CONFIG)

    def once(_attempt: int) -> bool:
        with Store.of(str(tmp_path / "lake"), control_url) as own:
            return at.land(own, CONFIG, raw, batch_id="b1", key="k").is_new

    with Store.of(str(tmp_path / "lake"), control_url) as store, ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(once, range(6))) == [False] * 5 + [True]
        assert len(at.rows_of(store, SITE_TELEMETRY)) == 1


def test_sites_registered_by_many_at_once_are_numbered_without_gap(store: Store) -> None:
    store.registry.apply(CONFIG)

    def register(i: int) -> None:
        store.registry.admit(CONFIG, [(f"X-{(i + k) % 12:02d}", at.FIRST) for k in range(6)])

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(register, range(12)))
    assert [s.site_no for s in store.registry.fleet(CONFIG).sites] == list(range(18))


def test_settings_applied_by_many_at_once_are_one_version(control_url: str, tmp_path: Path) -> None:
    def apply(_number: int) -> bool:
        with Store.of(str(tmp_path / "lake"), control_url) as own:
            return own.registry.apply(CONFIG)

    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(apply, range(6))) == [False] * 5 + [True]


def test_the_watermark_is_moved_by_many_at_once(store: Store) -> None:
    write(store, {}, span(0, 20))

    def settle(through: int) -> None:
        store.history.coverage.settle(FLEET, [INGEST_STATS.name], rows.window(through))

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(settle, range(1, 19)))
    assert store.history.coverage.settled_through(FLEET, INGEST_STATS.name) == rows.window(18)


def test_two_processes_over_overlapping_days_give_the_rows_of_one(
    store: Store, tmp_path: Path
) -> None:
    raw = at.telemetry(2, step_s=600)
    at.land(store, CONFIG, raw, batch_id="frame")
    at.run_together(store, worker.refresh, [(INTERVAL_S, 1, 0, 2), (INTERVAL_S, 2, 0, 2)])
    with Store.at(tmp_path / "other") as other:
        at.land(other, CONFIG, raw, batch_id="frame")
        for window in Span(at.FIRST, at.FIRST + 3 * INTERVAL_S * 1_000_000).steps(
            INTERVAL_S * 1_000_000
        ):
            at.refresh_all(other, CONFIG, window)
        at.refresh_all(other, CONFIG, at.days(0, 2))
        n_rows = at.assert_same_tables(at.tables_of(store), at.tables_of(other))
    assert at.refresh_all(store, CONFIG, at.days(0, 2), recompute=True) == 0
    assert n_rows > 1_000


def test_a_database_that_is_dropped_is_named(control_url: str, tmp_path: Path) -> None:
    with Store.of(str(tmp_path / "lake"), control_url) as store:
        write(store, {0: [1]}, span(0, 1))
        own = sa.make_url(control_url)
        admin = sa.create_engine(own.set(database="postgres"), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {own.database} WITH (FORCE)"))
        with pytest.raises(StorageError, match="Check that it runs"):
            write(store, {0: [2]}, span(0, 1))
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {own.database}"))
        admin.dispose()
