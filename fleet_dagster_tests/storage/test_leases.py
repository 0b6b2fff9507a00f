import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from fleet_dagster.core.windows import MINUTE
from fleet_dagster.model.errors import LeaseError, StorageError
from fleet_dagster.storage import leases as module
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control import schema
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.leases import Leases, is_dead, new_holder
from fleet_dagster.storage.store import Store

KEY = "fleet_kpi/plant/20454"
ELSEWHERE = "another-host/1:4711:12:abcdef01"


def test_a_second_writer_waits_for_the_first(store: Store) -> None:
    order, entered = [], threading.Event()

    def second() -> None:
        entered.set()
        with store.door.leases.hold([KEY]):
            order.append("second")

    with ThreadPoolExecutor(1) as threads:
        with store.door.leases.hold([KEY]):
            waiting = threads.submit(second)
            entered.wait()
            assert not waiting.done()
            order.append("first")
        waiting.result(timeout=60)
    assert order == ["first", "second"]


def test_writers_of_other_days_do_not_wait(store: Store) -> None:
    with store.door.leases.hold([KEY]), store.door.leases.hold([f"{KEY}5"]):
        assert len(held(store)) == 2
    assert held(store) == []


def test_all_leases_are_taken_or_none(store: Store) -> None:
    impatient = Leases(store.control, wait_s=0.0)
    with store.door.leases.hold(["b"]):
        with pytest.raises(LeaseError), impatient.hold(["a", "b", "c"]):
            pytest.fail("the lease is held by another")
        assert [key for key, _ in held(store)] == ["b"]


def test_a_writer_that_waits_in_vain_is_told_who_holds_what(store: Store) -> None:
    impatient = Leases(store.control, wait_s=0.0)
    with store.door.leases.hold([KEY]) as holder:
        with pytest.raises(LeaseError) as caught, impatient.hold([KEY]):
            pytest.fail("the lease is held by another")
        assert (caught.value.key, caught.value.holder) == (KEY, holder)
    assert f"{KEY} is held by {holder}" in str(caught.value)
    assert f":{os.getpid()}:" in str(caught.value)


def test_the_lease_of_a_dead_process_is_taken_over_at_once(store: Store, tmp_path: Path) -> None:
    process = hold_in_another_process(tmp_path)
    assert len(held(store)) == 1
    process.kill()
    process.wait()
    with Leases(store.control, wait_s=0.0).hold([KEY]) as holder:
        assert held(store) == [(KEY, holder)]


def test_a_killed_process_that_nobody_has_waited_for_is_dead(store: Store, tmp_path: Path) -> None:
    process = hold_in_another_process(tmp_path)
    ((_, holder),) = held(store)
    assert not is_dead(holder)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(holder)
    process.wait()


def test_a_process_id_used_again_is_not_the_holder() -> None:
    host, pid, started, nonce = new_holder().rsplit(":", 3)
    assert not is_dead(f"{host}:{pid}:{started}:{nonce}")
    assert is_dead(f"{host}:{pid}:{int(started) - 1}:{nonce}")


def test_a_living_process_of_this_host_keeps_its_lease_whatever_the_clock_says(
    store: Store,
) -> None:
    with store.door.leases.hold([KEY]) as holder:
        set_expiry(store, holder, now_us() - 3600 * 1_000_000)
        assert store.door.leases.is_alive(holder)
        impatient = Leases(store.control, wait_s=0.0)
        with pytest.raises(LeaseError), impatient.hold([KEY]):
            pytest.fail("the lease is held by another")


def test_the_lease_of_another_host_stands_until_it_expires(store: Store) -> None:
    impatient = Leases(store.control, wait_s=0.0)
    row = {"key": KEY, "holder": ELSEWHERE, "expires_at": now_us() + MINUTE}
    with store.control.transaction() as tx:
        tx.execute(sa.insert(schema.leases), [row])
    assert impatient.is_alive(ELSEWHERE)
    with pytest.raises(LeaseError), impatient.hold([KEY]):
        pytest.fail("the lease is held by another")
    set_expiry(store, ELSEWHERE, now_us() - 1)
    assert not impatient.is_alive(ELSEWHERE)
    with impatient.hold([KEY]) as holder:
        assert held(store) == [(KEY, holder)]


def test_leases_are_renewed_while_they_are_held(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEW_EVERY_S", 0.01)
    with store.door.leases.hold([KEY, f"{KEY}5"]) as holder:
        set_expiry(store, holder, 1)
        while min(expiries(store)) == 1:
            time.sleep(0.01)
        assert min(expiries(store)) > now_us()


def test_a_renewal_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEW_EVERY_S", 0.01)
    with Store.at(tmp_path / "home") as store:
        hasty = Control(store.control.url, busy_timeout_s=0.01)
        with Leases(hasty).hold([KEY]) as holder:
            with store.control.transaction():
                time.sleep(0.2)
            set_expiry(store, holder, 1)
            while min(expiries(store)) == 1:
                time.sleep(0.01)
        hasty.dispose()
        assert held(store) == []


def test_a_lease_that_could_not_be_given_back_is_given_back_by_the_next_hold(
    store: Store,
) -> None:
    hasty = Control(store.control.url, busy_timeout_s=0.01)
    own = Leases(hasty)
    holding = own.hold([KEY])
    holding.__enter__()
    with store.control.transaction():
        holding.__exit__(None, None, None)
    assert len(held(store)) == 1
    with own.hold([KEY]) as holder:
        assert held(store) == [(KEY, holder)]
    hasty.dispose()


def test_what_killed_processes_held_is_gone_after_the_next_start(
    store: Store, tmp_path: Path
) -> None:
    process = hold_in_another_process(tmp_path)
    process.kill()
    process.wait()
    with store.door.leases.hold(["mine"]) as holder, Store.at(tmp_path / "home"):
        assert held(store) == [("mine", holder)]


def test_a_hold_leaves_no_thread_behind(store: Store) -> None:
    before = threading.active_count()
    for _ in range(20):
        with store.door.leases.hold([KEY]):
            pass
    assert threading.active_count() == before


def test_a_lost_lease_is_noticed_before_anything_is_written(store: Store) -> None:
    with store.door.leases.hold([KEY]) as holder:
        with store.control.transaction() as tx:
            tx.execute(sa.delete(schema.leases))
        with pytest.raises(LeaseError, match="taken over"), store.control.transaction() as tx:
            store.door.leases.confirm(tx, holder)


def test_a_locked_database_is_an_error_of_storage(store: Store) -> None:
    hasty = Control(store.control.url, busy_timeout_s=0.01)
    with (
        store.control.transaction(),
        pytest.raises(StorageError, match=r"locked.*run the same again"),
        Leases(hasty).hold([KEY]),
    ):
        pytest.fail("the database is locked")
    hasty.dispose()


HOLD = """
import sys, time
from pathlib import Path
from fleet_dagster.storage.store import Store
with Store.at(Path(sys.argv[1])) as store, store.door.leases.hold([sys.argv[2]]):
    print("held", flush=True)
    time.sleep(600)
"""


def hold_in_another_process(tmp_path: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", HOLD, str(tmp_path / "home"), KEY]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own code
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.stdout.close()
    return process


def held(store: Store) -> list[tuple[str, str]]:
    with store.control.reading() as tx:
        query = sa.select(schema.leases).order_by(schema.leases.c.key)
        return [(row.key, row.holder) for row in tx.execute(query)]


def expiries(store: Store) -> list[int]:
    with store.control.reading() as tx:
        return list(tx.execute(sa.select(schema.leases.c.expires_at)).scalars())


def set_expiry(store: Store, holder: str, expires_at: int) -> None:
    with store.control.transaction() as tx:
        here = schema.leases.c.holder == holder
        tx.execute(sa.update(schema.leases).where(here).values(expires_at=expires_at))
