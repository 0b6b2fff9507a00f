import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from pyarrow import csv as pa_csv

from fleet_dagster.assets.shell import RECOMPUTE_TAG
from fleet_dagster.core.windows import DAY, HOUR, MINUTE, SECOND, Span, floor_to, iso, union
from fleet_dagster.definitions import create_fleet
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.lookbacks import SCORING_WINDOWS
from fleet_dagster.model.tables import FLEET_CORRELATION, FLEET_KPI, Table, derived_tables
from fleet_dagster.partitions import partitions_of
from fleet_dagster.refresh.currency import SCORED
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.refresh.touched import touched
from fleet_dagster.sensors.late_data import (
    LATE_TAG,
    Changed,
    Cursor,
    Late,
    changes_since,
    decide,
    left_alone,
)
from fleet_dagster.sensors.requested import Request
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.leases import live_key
from fleet_dagster.storage.maintenance import expire_telemetry
from fleet_dagster.storage.restatements import earlier_rows
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.dagster_layer.plants import (
    SCENARIO,
    content,
    day_start,
    install,
    land,
    run,
    written,
)

WINDOW = 5 * MINUTE
SITE = "MX-0003"
CLEAN = replace(SCENARIO, malformed_share=0.0, late_share=0.0, too_late_share=0.0)


class Sensor:
    """An installation whose late data sensor is asked again and again, each time with the cursor it left."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, **changes: Any) -> None:
        self.installation = install(folder, content(**changes))
        self.instance = instance
        self.config: FleetConfig = self.installation.config("plant")
        self.inbox = self.installation.inbox_root / "plant"
        self.cursor: str | None = None

    def tick(self) -> Any:  # Any: Dagster gives what a tick returns no public name
        """Return what the sensor gives, and keep its cursor."""
        defs = create_fleet(self.config, self.installation)
        sensor = defs.resolve_sensor_def("plant_late_data_sensor")
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            repository_def=defs.get_repository_def(),
            resources=defs.resources,
            sensor_name=sensor.name,
        ) as context:
            found = sensor.evaluate_tick(context)
        self.cursor = found.cursor
        return found

    def keys(self) -> list[str]:
        """Return the partitions that a tick asks for."""
        return [str(request.partition_key) for request in self.tick().run_requests]

    def run_what_it_asks_for(self) -> list[str]:
        """Run what a tick asks for; returns the partitions."""
        requests = self.tick().run_requests
        for request in requests:
            key, tags = str(request.partition_key), dict(request.tags)
            assert run(self.installation, self.instance, key, tags=tags).success
        return [str(request.partition_key) for request in requests]

    def is_running(self, key: str) -> dg.DagsterRun:
        """Let the instance know of a run that is at a partition."""
        job = create_fleet(self.config, self.installation).resolve_job_def("plant_windows")
        return self.instance.create_run_for_job(
            job, tags={"dagster/partition": key}, status=dg.DagsterRunStatus.STARTED
        )

    def land_late(self, *stamps: int, batch: str) -> None:
        """Land snapshots of one site."""
        with self.installation.store() as store:
            raw = at.snapshots(SITE, stamps, self.config, received=received(stamps), share=0.97)
            at.land(store, self.config, raw, batch_id=batch)

    def compute(self, start: int, end: int, **options: Any) -> None:
        """Bring a span up to date without Dagster."""
        with self.installation.store() as store:
            Refresh(store, self.config, **options).everything(Span(start, end))

    def drop(self, name: str, *stamps: int) -> None:
        """Put a file of snapshots into the watched folder, written a while ago."""
        self.inbox.mkdir(parents=True, exist_ok=True)
        raw = at.snapshots(SITE, stamps, self.config, received=received(stamps), share=0.97)
        pa_csv.write_csv(raw, self.inbox / name)
        os.utime(self.inbox / name, (0, 0))


def received(stamps: Sequence[int]) -> int:
    """Return when late snapshots arrive: too late for any baseline of the days in question."""
    return max(day_start(3) + HOUR, *stamps)


@pytest.fixture
def sensor(tmp_path: Path, instance: dg.DagsterInstance) -> Sensor:
    return Sensor(tmp_path, instance)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of an installation with three days computed, to be copied."""
    folder = tmp_path_factory.mktemp("prepared")
    installation = install(folder, content())
    land(installation, day_start(0), day_start(3), scenario=CLEAN)
    with installation.store() as store:
        Refresh(store, installation.config("plant")).everything(Span(day_start(0), day_start(3)))
    return installation.home


@pytest.fixture
def computed(sensor: Sensor, prepared: Path) -> Sensor:
    """Return an installation with three days computed, whose sensor has ticked once."""
    shutil.copytree(prepared, sensor.installation.home, dirs_exist_ok=True)
    assert sensor.keys() == []
    return sensor


def test_before_anything_is_landed_a_tick_says_so_and_makes_the_watched_folder(
    sensor: Sensor,
) -> None:
    assert "Nothing has landed" in sensor.tick().skip_message
    assert sensor.inbox.is_dir()


def test_a_late_batch_is_left_to_a_live_engine_while_that_is_at_work(computed: Sensor) -> None:
    computed.land_late(day_start(1) + HOUR + MINUTE, batch="late")
    now = day_start(3) + HOUR
    with computed.installation.store() as store:
        with store.door.leases.hold([live_key("plant")]):
            assert changes_since(store, computed.config, Cursor(0), now=now).windows == ()
        assert changes_since(store, computed.config, Cursor(0), now=now).windows


def test_a_late_batch_asks_for_its_partition_with_the_windows_as_a_tag(computed: Sensor) -> None:
    late = day_start(1) + HOUR + MINUTE
    computed.land_late(late, batch="late")
    (request,) = computed.tick().run_requests
    assert request.partition_key == "2026-01-02"
    assert request.run_key.startswith("plant:late:2026-01-02:")
    window = Span(floor_to(late, WINDOW), floor_to(late, WINDOW) + WINDOW)
    first, last = request.tags[LATE_TAG].split("/")
    assert first == iso(window.start)
    assert last >= iso(window.end)


def test_many_batches_are_one_request_for_each_partition(computed: Sensor) -> None:
    for n in range(6):
        computed.land_late(day_start(n % 2) + n * HOUR, batch=f"late-{n}")
    assert computed.keys() == ["2026-01-01", "2026-01-02"]


def test_a_tick_that_is_repeated_asks_under_the_same_run_key(computed: Sensor) -> None:
    before = computed.cursor
    computed.land_late(day_start(1), batch="late")
    (first,) = computed.tick().run_requests
    computed.cursor = before
    (again,) = computed.tick().run_requests
    assert first.run_key == again.run_key


def test_what_was_asked_for_is_not_asked_for_again_while_its_run_is_unfinished(
    computed: Sensor,
) -> None:
    computed.land_late(day_start(1) + HOUR, batch="late")
    assert computed.keys() == ["2026-01-02"]
    running = computed.is_running("2026-01-02")
    assert "Waiting for runs" in computed.tick().skip_message
    computed.compute(day_start(1), day_start(2))
    computed.instance.report_run_canceled(running)
    assert computed.keys() == []


def test_a_run_that_fails_is_asked_for_again_under_another_key_but_not_for_ever(
    computed: Sensor,
) -> None:
    computed.land_late(day_start(1) + HOUR, batch="late-1")
    keys = {computed.tick().run_requests[0].run_key for _ in range(3)}
    assert len(keys) == 3
    for _ in range(2):
        message = computed.tick().skip_message
        assert "Requested 3 times and still not current" in message
        assert "2026-01-02" in message
    computed.land_late(day_start(2) + HOUR, batch="elsewhere")
    assert computed.keys() == ["2026-01-03"]
    computed.land_late(day_start(1) + HOUR + SECOND, batch="late-2")
    assert computed.keys() == ["2026-01-02", "2026-01-03"]


def test_a_partition_asked_for_again_while_another_waits_has_a_key_of_its_own(
    computed: Sensor,
) -> None:
    running = computed.is_running("2026-01-03")
    computed.land_late(day_start(1) + HOUR, day_start(2) + HOUR, batch="late")
    (first,) = computed.tick().run_requests
    (second,) = computed.tick().run_requests
    computed.instance.report_run_canceled(running)
    third, other = computed.tick().run_requests
    assert [r.partition_key for r in (first, second, third)] == ["2026-01-02"] * 3
    assert len({r.run_key for r in (first, second, third, other)}) == 4


def test_a_reset_cursor_never_asks_under_a_key_of_before(computed: Sensor) -> None:
    computed.cursor = None
    computed.land_late(day_start(1) + HOUR, batch="late")
    (first,) = computed.tick().run_requests
    (second,) = computed.tick().run_requests
    assert int(first.run_key.rsplit(":", 1)[1]) >= now_us() // SECOND - 600
    assert first.run_key != second.run_key


@pytest.mark.parametrize(
    "text",
    [
        "something else",
        "7",
        "[]",
        '{"seq": 3, "pending": [[0, 1]], "seen": {}}',
        '{"seq": 3, "asked": {"a": 1}, "seen": {}, "number": 1}',
        '{"seq": "x", "asked": {}, "seen": {}, "number": 1}',
        '{"seq": 3, "asked": {"a": [1, [[2, 1]]]}, "seen": {}, "number": 1}',
        '{"seq": 3, "asked": {}, "seen": {"a": [1]}, "number": 1}',
    ],
)
def test_a_foreign_or_older_cursor_is_taken_for_none(text: str) -> None:
    assert Cursor.read(text) == Cursor()


def test_a_watched_folder_that_cannot_be_used_keeps_no_landing_from_being_restated(
    computed: Sensor,
) -> None:
    shutil.rmtree(computed.inbox)
    computed.inbox.write_text("a file where the folder should be", encoding="utf-8")
    assert "Nothing was landed from the watched folder" in computed.tick().skip_message
    computed.land_late(day_start(1) + HOUR, batch="late")
    assert computed.keys() == ["2026-01-02"]


def test_windows_wait_while_a_run_is_at_their_partition(computed: Sensor) -> None:
    running = computed.is_running("2026-01-02")
    computed.land_late(day_start(1) + HOUR, batch="late")
    assert "Waiting for runs and the schedule at 2026-01-02." in computed.tick().skip_message
    assert "Waiting" in computed.tick().skip_message
    computed.instance.report_run_canceled(running)
    assert computed.keys() == ["2026-01-02"]


def test_the_partition_that_goes_on_is_left_to_the_schedule_that_was_just_at_it(
    sensor: Sensor,
) -> None:
    now = now_us()
    today, yesterday = (iso(t)[:10] for t in (now, now - DAY))
    for key in (today, yesterday):
        sensor.instance.report_run_canceled(sensor.is_running(key))
    partitions, period = partitions_of(sensor.config), sensor.config.schedule_minutes * MINUTE
    ask = partial(left_alone, sensor.instance, "plant_windows", sensor.config, partitions)
    assert ask(now=now) == {today}
    assert ask(now=now + 2 * period) == set()


def test_windows_that_the_run_waited_for_has_served_are_not_asked_for(computed: Sensor) -> None:
    running = computed.is_running("2026-01-02")
    computed.land_late(day_start(1) + HOUR, batch="late")
    computed.tick()
    computed.compute(day_start(1), day_start(2))
    computed.instance.report_run_canceled(running)
    assert computed.keys() == []


def test_a_lost_cursor_finds_what_is_not_current_without_replaying_the_log(
    computed: Sensor,
) -> None:
    computed.land_late(day_start(0) + HOUR, batch="late-1")
    computed.compute(day_start(0), day_start(1))
    computed.land_late(day_start(2) + HOUR, batch="late-2")
    computed.cursor = None
    assert computed.keys() == ["2026-01-03"]


def test_history_that_was_never_computed_is_left_to_a_backfill_and_the_command_is_named(
    computed: Sensor,
) -> None:
    land(computed.installation, day_start(5), day_start(7), batch="more", scenario=CLEAN)
    found = computed.tick()
    assert not found.run_requests
    assert "fleet run plant --from 2026-01-06 --to 2026-01-07" in found.skip_message


def test_days_that_have_expired_are_not_asked_for_and_a_run_at_them_is_refused(
    computed: Sensor,
) -> None:
    with computed.installation.store() as store:
        gone = expire_telemetry(store, "plant", now=day_start(4), retention_days=3)
    assert gone == ["2026-01-01"]
    computed.land_late(day_start(0) + HOUR, batch="late")
    found = computed.tick()
    assert not found.run_requests
    assert "1 day (2026-01-01) will not be recomputed" in found.skip_message
    result = run_unraised(computed, "2026-01-01")
    assert not result.success
    assert "has expired" in str(result.all_events)


def run_unraised(sensor: Sensor, key: str) -> dg.ExecuteInProcessResult:
    job = create_fleet(sensor.config, sensor.installation).resolve_job_def("plant_windows")
    return job.execute_in_process(instance=sensor.instance, partition_key=key, raise_on_error=False)


def test_a_file_dropped_into_the_watched_folder_ends_in_restated_windows(
    computed: Sensor,
) -> None:
    """The whole way: the tick lands the file, asks for its day, and the run restates the window."""
    computed.drop("late.csv", day_start(1) + HOUR + 7 * SECOND)
    computed.drop("note.txt", day_start(1))
    assert "Not whole or not finished yet" in computed.tick().skip_message
    assert computed.run_what_it_asks_for() == ["2026-01-02"]
    assert sorted(p.name for p in (computed.inbox / "done").iterdir()) == ["late.csv"]
    assert (computed.inbox / "failed" / "note.txt.reason.txt").exists()
    with computed.installation.store() as store:
        restated = store.history.entries(FLEET_KPI.name, "plant", kind="restate")
    assert [e.span for e in restated] == [Span(day_start(1) + HOUR, day_start(1) + HOUR + WINDOW)]
    assert computed.keys() == []


def test_a_tick_says_what_it_landed_and_what_failed(computed: Sensor) -> None:
    computed.compute(day_start(0), day_start(3))
    computed.drop("a.csv", day_start(20))
    computed.drop("b.txt", day_start(20))
    computed.tick()
    message = computed.tick().skip_message
    assert "Landed 1 rows (0 quarantined) of a.csv." in message
    assert "b.txt went to failed/: has an unknown ending" in message


def test_the_first_look_at_a_file_that_is_being_written_is_remembered(computed: Sensor) -> None:
    computed.drop("a.csv", day_start(1))
    assert "Not whole or not finished yet: a.csv" in computed.tick().skip_message
    assert computed.keys() == ["2026-01-02"]


def look_ahead(table: Table) -> int:
    """Return how long after a snapshot the rows of a table may still differ for it [us]."""
    scored = SCORING_WINDOWS * WINDOW if table in SCORED else 0
    days = 4 * DAY if table is FLEET_CORRELATION else 0
    return 5 * WINDOW + scored + days


@pytest.mark.parametrize(
    ("n_batches", "n_rounds", "n_runs"),
    [(4, 1, 3), pytest.param(20, 2, 6, marks=pytest.mark.slow)],
)
def test_late_batches_leave_what_a_quiet_run_over_everything_gives(
    computed: Sensor, n_batches: int, n_rounds: int, n_runs: int
) -> None:
    """Only windows that a late snapshot reaches are restated, and what stood before stays readable."""
    rng, reached = np.random.default_rng(11), []
    with computed.installation.store() as store:
        before, log_end = at.tables_of(store), store.history.last_number()
    keys: list[str] = []
    for n in range(n_batches):
        stamps = (day_start(0) + rng.integers(0, 2 * DAY, 1 + n % 3) // SECOND * SECOND).tolist()
        reached += [Span(t, t + 1).to_whole(WINDOW) for t in stamps]
        computed.land_late(*stamps, batch=f"late-{n}")
        if (n + 1) % (n_batches // n_rounds) == 0:
            keys += computed.run_what_it_asks_for()
    assert len(keys) == n_runs
    assert "2026-01-03" in keys  # scores look back far enough for the third day to be touched, too
    assert computed.keys() == []
    with computed.installation.store() as store:
        for table in derived_tables():
            entries = [e for e in store.history.entries(table.name, "plant") if e.seq > log_end]
            assert {e.kind for e in entries} <= {"restate"}, table.name
            widened = [span.widen(after=look_ahead(table)) for span in reached]
            for entry in entries:
                assert any(within(entry.span, r) for r in union(widened)), table.name
        assert touched(store, computed.config, Span(day_start(0), day_start(3))) == []
        assert_readable(store, before)
        now = at.tables_of(store)
        quiet = at.recomputed(store, computed.config, Span(day_start(0), day_start(3)))
        assert at.assert_same_tables(now, quiet) > 5000
    everything = run(
        computed.installation,
        computed.instance,
        "2026-01-01",
        "2026-01-03",
        tags={RECOMPUTE_TAG: "true"},
    )
    assert sum(written(everything).values()) == 0


def within(inner: Span, outer: Span) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end


def assert_readable(store: Store, before: at.Tables) -> None:
    """Assert that the first earlier values of every restated window are what was stored before."""
    whole, n_rows = Span(day_start(0), day_start(3)), 0
    for table in derived_tables():
        earlier = earlier_rows(store, table, "plant", whole)
        first = earlier[earlier["revision"] == 0]
        stored = before[table.name]
        stored = stored[stored["window_start"].isin(first["window_start"])]
        at.assert_same(table, first, stored)
        n_rows += len(first)
    assert n_rows > 100


def asked(sensor: Sensor, cursor: Cursor, *, now: int, busy: set[str] | None = None) -> Late:
    with sensor.installation.store() as store:
        changed = changes_since(store, sensor.config, cursor, now=now)
    return decide(changed, sensor.config, partitions_of(sensor.config), now=now, busy=busy or set())


def cursor_of(sensor: Sensor) -> Cursor:
    return Cursor.read(sensor.cursor)


def settle(sensor: Sensor, through: int) -> None:
    """Put the settled watermark where a run at that instant would have put it."""
    with sensor.installation.store() as store:
        store.history.coverage.settle("plant", [FLEET_KPI.name], through)


@pytest.fixture(scope="module")
def half_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of an installation whose newest day is half over, to be copied."""
    folder, noon = tmp_path_factory.mktemp("half-day"), day_start(2) + 12 * HOUR
    installation = install(folder, content())
    land(installation, day_start(0), noon, scenario=CLEAN)
    with installation.store() as store:
        for span in (Span(day_start(0), noon - HOUR), Span(noon - HOUR, noon)):
            Refresh(store, installation.config("plant")).everything(span)
        with store.control.transaction() as tx:
            tx.exec_driver_sql(f"UPDATE watermarks SET settled_through = {noon - HOUR}")  # noqa: S608 - a number
    return installation.home


@pytest.fixture
def live(sensor: Sensor, half_day: Path) -> Sensor:
    """Return an installation whose newest day is half over, settled through 11:00, and computed through 12:00."""
    shutil.copytree(half_day, sensor.installation.home, dirs_exist_ok=True)
    sensor.cursor = Cursor(seq_of(sensor)).text()
    return sensor


def seq_of(sensor: Sensor) -> int:
    with sensor.installation.store() as store:
        return store.history.landing_version("plant")


def test_windows_that_are_not_settled_are_left_to_the_schedule(live: Sensor) -> None:
    now = day_start(2) + 12 * HOUR
    live.land_late(now - 30 * MINUTE, now - 10 * MINUTE, batch="fresh")
    late = asked(live, cursor_of(live), now=now)
    assert not late.requests
    assert "the schedule computes the others" in " ".join(late.reasons)


def test_settled_windows_of_the_open_day_are_asked_for(live: Sensor) -> None:
    now, stamp = day_start(2) + 12 * HOUR, day_start(2) + 10 * HOUR
    live.land_late(stamp, now - 10 * MINUTE, batch="late")
    late = asked(live, cursor_of(live), now=now)
    assert list(late.requests) == ["2026-01-03"]
    assert max(s.end for s in late.requests["2026-01-03"]) <= day_start(2) + 11 * HOUR


def test_what_lies_beyond_the_schedules_reach_is_asked_for_though_it_never_settled(
    live: Sensor,
) -> None:
    live.land_late(day_start(2) + 11 * HOUR + 30 * MINUTE, batch="late")
    now = day_start(2) + 12 * HOUR
    assert not asked(live, cursor_of(live), now=now).requests
    assert list(asked(live, cursor_of(live), now=now + 7 * DAY).requests) == ["2026-01-03"]


def test_a_site_first_heard_of_late_brings_back_the_settled_windows_from_then_on(
    live: Sensor,
) -> None:
    with live.installation.store() as store:
        raw = at.snapshots("X-1", [day_start(0) + 13 * HOUR], live.config)
        at.land(store, live.config, raw, batch_id="late")
    late = asked(live, cursor_of(live), now=day_start(2) + 12 * HOUR)
    assert list(late.requests) == ["2026-01-01", "2026-01-02", "2026-01-03"]


def test_a_tick_without_anything_new_asks_for_nothing() -> None:
    config = FleetConfig.model_validate(content())
    late = decide(Changed(7), config, partitions_of(config), now=day_start(3), busy=set())
    assert late == Late({}, {}, ("Nothing has landed since.",))


def test_windows_outside_every_partition_are_not_asked_for() -> None:
    config = FleetConfig.model_validate(content(end_date="2026-01-02"))
    windows = (Span(day_start(4), day_start(4) + WINDOW),)
    changed = Changed(7, landed=windows, windows=windows)
    late = decide(changed, config, partitions_of(config), now=day_start(9), busy=set())
    assert not late.requests
    assert "no partition of the fleet holds" in late.reasons[0]


def test_a_span_over_midnight_asks_for_both_days_with_their_own_windows() -> None:
    config = FleetConfig.model_validate(content())
    windows = (Span(day_start(1) - WINDOW, day_start(1) + WINDOW),)
    changed = Changed(7, landed=windows, windows=windows)
    late = decide(changed, config, partitions_of(config), now=day_start(9), busy={"2026-01-02"})
    assert late.requests == {"2026-01-01": (Span(day_start(1) - WINDOW, day_start(1)),)}
    assert late.asked["2026-01-02"] == Request((Span(day_start(1), day_start(1) + WINDOW),))


def test_the_sensor_runs_without_being_switched_on(sensor: Sensor) -> None:
    defs = create_fleet(sensor.config, sensor.installation)
    found = defs.resolve_sensor_def("plant_late_data_sensor")
    assert found.default_status == dg.DefaultSensorStatus.RUNNING
    assert found.minimum_interval_seconds == 15
