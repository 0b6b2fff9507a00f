import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.live.events import Event, Kind, Round
from fleet_dagster.live.trouble import Trouble
from fleet_dagster.live.work import next_batch
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import StorageError
from fleet_dagster.model.tables import AI_INFERENCE, FLEET_KPI
from fleet_dagster.refresh.due import CURRENT, left_by_live, owed
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.leases import live_key
from fleet_dagster.storage.maintenance import compact, compacted_at
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.live.days import (
    CONFIG,
    Hands,
    Said,
    engine_at,
    running,
    wait_current,
    wait_until,
)

WINDOW = 30 * MINUTE
MORNING = at.FIRST + 6 * HOUR


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return an installation with a day of telemetry and nothing computed."""
    folder = at.new_home(tmp_path / "home")
    with Store.at(folder) as store:
        at.land(store, CONFIG, at.telemetry(1, step_s=600), batch_id="first")
    return folder


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with Store.at(home) as opened:
        yield opened


def newest(store: Store, fleet: str = at.NAME) -> int:
    return store.history.coverage.newest_end(FLEET_KPI.name, fleet) or 0


def test_few_new_windows_come_first_and_a_backlog_in_order_of_time() -> None:
    late, new = Span(MORNING - 5 * HOUR, MORNING - 3 * HOUR), Span(MORNING, MORNING + WINDOW)
    assert next_batch([late, new], WINDOW) == new
    backlog = Span(MORNING + WINDOW, MORNING + DAY)
    assert next_batch([late, backlog], WINDOW) == Span(late.start, late.start + HOUR)
    assert next_batch([backlog], WINDOW) == Span(MORNING + WINDOW, MORNING + HOUR)


def test_a_backlog_is_told_and_that_it_is_done(home: Path, store: Store) -> None:
    said = Said()
    with running(engine_at(home, Hands(MORNING), said)) as engine:
        wait_current(engine)
        said.wait_for(Kind.CAUGHT_UP)
    assert "12 windows behind, catching up: 2026-01-01 00:00:00 to 01:00:00" in str(
        said.of(Kind.BEHIND)[0]
    )
    assert newest(store) == MORNING
    assert owed(store, CONFIG, MORNING).reason == CURRENT


def test_a_window_is_closed_a_while_after_its_end(home: Path, store: Store) -> None:
    hands = Hands(MORNING)
    with running(engine_at(home, hands, Said(), wait_s=60.0)) as engine:
        wait_current(engine)
        assert newest(store) == MORNING - WINDOW
        hands.now += MINUTE
        wait_until(lambda: newest(store) == MORNING)


def test_late_telemetry_restates_what_it_touches(home: Path, store: Store) -> None:
    hands = Hands(MORNING)
    with running(engine_at(home, hands, Said())) as engine:
        wait_current(engine)
        late = at.snapshots("MX-0002", [at.FIRST + 3 * HOUR + 1], CONFIG, share=0.9)
        at.land(store, CONFIG, late, batch_id="late", historical=True)
        hands.now += WINDOW
        wait_current(engine)
    touched = Span(at.FIRST + 3 * HOUR, at.FIRST + 3 * HOUR + WINDOW)
    assert store.history.entries(FLEET_KPI.name, at.NAME, touched, kind="restate")
    whole = Span(at.FIRST, hands.now)
    at.assert_same_tables(at.tables_of(store), at.recomputed(store, CONFIG, whole))


def test_of_two_engines_one_waits_and_takes_over_when_the_other_ends(
    home: Path, store: Store
) -> None:
    hands, first, second = Hands(MORNING), Said(), Said()
    with running(engine_at(home, hands, second)) as waiting:
        with running(engine_at(home, hands, first)) as engine:
            wait_until(lambda: bool(engine.keepers and waiting.keepers))
            wait_until(lambda: bool(first.of(Kind.STARTED) or second.of(Kind.STARTED)))
            at_work, other = (first, second) if first.of(Kind.STARTED) else (second, first)
            told = other.wait_for(Kind.WAITING)
            holder = at_work.of(Kind.STARTED)[0].figures["holder"]
            assert told.figures["holder"] == holder
            assert str(holder) in str(told)
            assert not other.of(Kind.STARTED)
        second.wait_for(Kind.STARTED)
        wait_current(waiting)
    assert newest(store) == MORNING
    assert store.door.leases.holder_of(live_key(at.NAME)) is None


def test_a_storage_that_fails_is_told_once_and_work_goes_on_when_it_is_mended(
    home: Path, store: Store
) -> None:
    hands, said = Hands(MORNING), Said()
    with running(engine_at(home, hands, said)) as engine:
        wait_current(engine)
        version = store.lake.version(FLEET_KPI) + 1
        entry = home / "lake" / FLEET_KPI.name / "_delta_log" / f"{version:020d}.json"
        entry.write_text("{", encoding="utf-8")
        hands.now += WINDOW
        said.wait_for(Kind.TROUBLE, FLEET_KPI.name)
        time.sleep(1.2)  # long enough for a second try
        entry.unlink()
        hands.now += 30 * 1_000_000
        said.wait_for(Kind.RECOVERED)
        wait_until(lambda: newest(store) == MORNING + WINDOW)
    assert len(said.of(Kind.TROUBLE)) == 1


def test_one_fleet_that_cannot_be_kept_holds_up_no_other(home: Path, store: Store) -> None:
    other = FleetConfig.model_validate({**CONFIG.model_dump(), "name": "other"})
    said = Said()

    def refuse(config: FleetConfig, _done: object) -> None:
        if config.name == "other":
            raise RuntimeError("nobody foresaw this")

    rows = at.telemetry(1, step_s=600)
    at.land(store, other, rows, batch_id="o")
    fleets = {at.NAME: CONFIG, "other": other}
    engine = engine_at(home, Hands(MORNING), said, fleets=fleets, listeners=[refuse])
    with running(engine):
        left_out = said.wait_for(Kind.LEFT_OUT)
        wait_current(engine)
    assert left_out.fleet == "other"
    assert "nobody foresaw this" in str(left_out)
    assert newest(store) == MORNING
    assert store.door.leases.holder_of(live_key("other")) is None


def test_answers_that_nobody_foresaw_leave_the_fleet_to_the_schedule(
    home: Path, store: Store
) -> None:
    at.put_model(store)
    said, config = Said(), at.with_models(CONFIG)
    store.registry.apply(config, valid_from=0)

    def refuse(_config: FleetConfig, done: Round) -> None:
        if any(outcome.table is AI_INFERENCE for outcome in done.outcomes):
            raise RuntimeError("nobody foresaw this answer")

    fleets = {at.NAME: config}
    with running(engine_at(home, Hands(MORNING), said, fleets=fleets, listeners=[refuse])):
        assert "nobody foresaw this answer" in str(said.wait_for(Kind.LEFT_OUT))
        wait_until(lambda: store.door.leases.holder_of(live_key(at.NAME)) is None)


def test_a_database_that_is_gone_is_not_asked_without_a_pause(home: Path) -> None:
    """While nothing can be asked, no window ends a pause: the newest one that was seen is long past."""
    hands, said = Hands(MORNING), Said()
    with running(engine_at(home, hands, said)) as engine:
        wait_current(engine)
        keeper = engine.keepers[at.NAME]
        tries, asked = [], keeper._leases.is_alive

        def counted(holder: str) -> bool:
            tries.append(holder)
            return asked(holder)

        keeper._leases.is_alive = counted  # type: ignore[method-assign] # counts, and asks as before
        (home / "control.db").rename(home / "gone.db")
        hands.now += 10 * WINDOW
        said.wait_for(Kind.TROUBLE, "is gone")
        time.sleep(2.0)
        (home / "gone.db").rename(home / "control.db")
        n_tries = len(tries)
        said.wait_for(Kind.RECOVERED)
    assert n_tries < 10


def test_troubles_are_told_once_with_growing_pauses() -> None:
    said = Said()
    trouble = Trouble(said, "plant", "Closing windows")
    pauses = [trouble.met(StorageError("disk full")) for _ in range(8)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert [str(e) for e in said.events] == [
        "fleet plant: Closing windows cannot be done, and is tried again until it can: disk full"
    ]
    trouble.over()
    trouble.over()
    assert [e.kind for e in said.events] == [Kind.TROUBLE, Kind.RECOVERED]


def test_what_an_engine_is_about_to_do_is_not_owed_by_the_schedule(store: Store) -> None:
    at.refresh_all(store, CONFIG, Span(at.FIRST, MORNING))
    now = MORNING + 2 * WINDOW
    assert left_by_live(store, CONFIG, now, ask=owed).spans == (Span(MORNING, now),)
    with store.door.leases.hold([live_key(at.NAME)]) as holder:
        found = left_by_live(store, CONFIG, now, ask=owed)
        assert found.spans == ()
        assert found.reason == f"the live engine {holder} keeps the fleet current"
    assert left_by_live(store, CONFIG, now, ask=owed).spans == (Span(MORNING, now),)


def test_what_an_engine_has_not_done_in_time_is_owed_by_the_schedule(store: Store) -> None:
    with store.control.transaction() as tx:  # landed long ago
        tx.exec_driver_sql("UPDATE commit_log SET recorded_at = 0")
    at.refresh_all(store, CONFIG, Span(at.FIRST, MORNING))
    now = MORNING + 6 * WINDOW
    with store.door.leases.hold([live_key(at.NAME)]):
        found = left_by_live(store, CONFIG, now, ask=owed)
    assert found.spans == (Span(MORNING, MORNING + 2 * WINDOW),)


def test_the_lake_is_compacted_at_once_where_that_is_due_and_not_again_within_the_hour(
    home: Path, store: Store
) -> None:
    hands = Hands(MORNING)
    at.refresh_all(store, CONFIG, Span(at.FIRST, at.FIRST + HOUR))
    at.refresh_all(store, CONFIG, Span(at.FIRST, MORNING))
    assert compacted_at(store) is None
    compact(store)
    last = compacted_at(store)
    assert last is not None
    assert abs(last - now_us()) < MINUTE
    said = Said()
    with running(engine_at(home, hands, said)) as engine:
        wait_current(engine)
    assert not said.of(Kind.COMPACTED)
    assert compacted_at(store) == last


def test_an_engine_that_is_told_to_end_ends_after_its_batch(home: Path, store: Store) -> None:
    said, at_work, stopping = Said(), threading.Event(), threading.Event()
    engine = engine_at(home, Hands(MORNING), said, listeners=[lambda *_: at_work.set()])
    thread = threading.Thread(target=engine.run, args=(stopping,))
    thread.start()
    assert at_work.wait(60)
    stopping.set()
    thread.join(60)
    assert not thread.is_alive()
    ended = [e for e in said.events if e.kind is Kind.ENDED]
    assert isinstance(ended[-1], Event)
    assert newest(store) < MORNING
    assert newest(store) % HOUR == 0
