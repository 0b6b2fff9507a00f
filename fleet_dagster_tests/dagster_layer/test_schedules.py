import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.definitions import create_fleet
from fleet_dagster.refresh.due import CATCH_UP_DAYS, Due, due
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.leases import live_key
from fleet_dagster.storage.maintenance import expire_telemetry
from fleet_dagster_tests.dagster_layer.plants import (
    SCENARIO,
    content,
    day_start,
    install,
    land,
    run,
)

WINDOW = 5 * MINUTE
NOW = day_start(20)


def decide(
    *stale: Span, first: int | None = day_start(0), newest: int | None = NOW, now: int = NOW
) -> Due:
    return due(
        list(stale), now=now, first_telemetry=first, newest_telemetry=newest, lateness=7 * DAY
    )


def test_a_fleet_without_telemetry_is_left_alone() -> None:
    found = decide(Span(NOW - DAY, NOW), first=None, newest=None)
    assert not found.spans
    assert "fleet import" in found.reason


def test_a_fleet_that_has_been_silent_for_longer_than_lateness_is_left_alone() -> None:
    found = decide(Span(NOW - DAY, NOW), newest=NOW - 8 * DAY)
    assert not found.spans
    assert "no telemetry for 8 days" in found.reason


def test_windows_that_are_current_are_not_asked_for() -> None:
    assert decide() == Due(reason="every closed window is current")


def test_windows_that_are_not_current_are_asked_for_in_order_of_time() -> None:
    late, open_end = Span(NOW - 3 * DAY, NOW - 3 * DAY + MINUTE), Span(NOW - MINUTE, NOW)
    assert decide(open_end, late).spans == (late, open_end)


def test_a_tick_looks_back_a_week() -> None:
    found = decide(Span(day_start(0), NOW))
    assert found.spans == (Span(NOW - CATCH_UP_DAYS * DAY, NOW),)


def test_days_before_the_first_telemetry_are_not_asked_for() -> None:
    found = decide(Span(day_start(0), NOW), first=NOW - 2 * DAY)
    assert found.spans == (Span(NOW - 2 * DAY, NOW),)


class Tick:
    """An installation whose schedule is asked what it would launch at an instant."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, **changes: Any) -> None:
        self.installation = install(folder, content(**changes))
        self.instance = instance

    def at(self, us: int) -> Any:  # Any: Dagster gives what a tick returns no public name
        """Return what the schedule's function gives."""
        defs = create_fleet(self.installation.config("plant"), self.installation)
        schedule = defs.resolve_schedule_def("plant_windows_schedule")
        with dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=dt.datetime.fromtimestamp(us / 1e6, tz=dt.UTC),
            repository_def=defs.get_repository_def(),
            resources=defs.resources,
        ) as context:
            return schedule.evaluate_tick(context)

    def keys(self, us: int) -> list[str | None]:
        """Return the partitions it asks for."""
        return [request.partition_key for request in self.at(us).run_requests]

    def is_running(self, key: str) -> None:
        """Let the instance know of a run that is at a partition."""
        defs = create_fleet(self.installation.config("plant"), self.installation)
        self.instance.create_run_for_job(
            defs.resolve_job_def("plant_windows"),
            tags={"dagster/partition": key},
            status=dg.DagsterRunStatus.STARTED,
        )

    def refresh(self, start: int, end: int) -> None:
        """Bring a span up to date without Dagster."""
        with self.installation.store() as store:
            Refresh(store, self.installation.config("plant")).everything(Span(start, end))


@pytest.fixture
def instance(lasting_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """Return an instance that schedules can be evaluated with."""
    return lasting_instance


@pytest.fixture
def tick(tmp_path: Path, instance: dg.DagsterInstance) -> Tick:
    return Tick(tmp_path, instance)


def test_before_anything_is_landed_a_tick_says_what_to_do(tick: Tick) -> None:
    assert "no telemetry yet" in tick.at(day_start(1)).skip_message


def test_the_first_tick_asks_for_every_day_that_telemetry_is_about(tick: Tick) -> None:
    land(tick.installation, day_start(1), day_start(2) + HOUR)
    assert tick.keys(day_start(2) + HOUR) == ["2026-01-02", "2026-01-03"]


def test_a_tick_asks_for_the_open_day_alone_once_yesterday_is_current(tick: Tick) -> None:
    land(tick.installation, day_start(1), day_start(2) + HOUR)
    tick.refresh(day_start(1), day_start(2) + HOUR)
    assert tick.keys(day_start(2) + HOUR + WINDOW) == ["2026-01-03"]


def test_the_first_tick_after_midnight_includes_the_end_of_yesterday(tick: Tick) -> None:
    land(tick.installation, day_start(1), day_start(2))
    tick.refresh(day_start(1), day_start(2) - WINDOW)
    assert tick.keys(day_start(2)) == ["2026-01-02"]
    assert tick.keys(day_start(2) + WINDOW) == ["2026-01-02", "2026-01-03"]


def test_between_two_windows_there_is_nothing_to_do(tick: Tick) -> None:
    land(tick.installation, day_start(1), day_start(1) + HOUR)
    tick.refresh(day_start(1), day_start(1) + HOUR)
    assert "every closed window is current" in tick.at(day_start(1) + HOUR + MINUTE).skip_message


def test_a_tick_leaves_to_a_live_engine_what_it_is_about_to_do(tick: Tick) -> None:
    land(tick.installation, day_start(1), day_start(1) + HOUR)
    tick.refresh(day_start(1), day_start(1) + HOUR - 3 * WINDOW)
    assert tick.keys(day_start(1) + HOUR) == ["2026-01-02"]
    with (
        tick.installation.store() as store,
        store.door.leases.hold([live_key("plant")]) as holder,
    ):
        said = tick.at(day_start(1) + HOUR).skip_message
    assert said == f"fleet plant: the live engine {holder} keeps the fleet current"
    assert tick.keys(day_start(1) + HOUR) == ["2026-01-02"]


def test_late_telemetry_brings_back_its_day(tick: Tick) -> None:
    clean = replace(SCENARIO, malformed_share=0.0)
    cut = day_start(3) - 4 * HOUR
    land(tick.installation, day_start(1), cut, scenario=clean)
    tick.refresh(day_start(1), day_start(4))
    land(tick.installation, cut, cut + HOUR, batch="late", scenario=clean)
    assert tick.keys(day_start(4)) == ["2026-01-03"]


def test_a_gap_older_than_a_week_does_not_keep_the_schedule_busy(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    hourly: dict[str, Any] = {"interval_s": 3600, "staleness_threshold_s": 4200}
    tick = Tick(tmp_path, instance, **hourly, kpis=content()["kpis"][:1])
    rare = replace(SCENARIO, step_s=3600)
    land(tick.installation, day_start(0), day_start(12), batch="all", scenario=rare)
    tick.refresh(day_start(0), day_start(0) + HOUR)
    tick.refresh(day_start(5), day_start(12))
    assert tick.keys(day_start(12)) == []


def test_days_after_a_fleets_last_are_left_alone(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    ending = Tick(tmp_path, instance, end_date="2026-01-02")
    land(ending.installation, day_start(1), day_start(3))
    assert ending.keys(day_start(3)) == ["2026-01-02"]
    ending.refresh(day_start(1), day_start(2))
    assert ending.keys(day_start(3)) == []
    assert "last day 2026-01-02" in ending.at(day_start(3)).skip_message


def test_a_fleet_that_takes_nothing_late_is_still_caught_up(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    strict = Tick(tmp_path, instance, allowed_lateness_days=0)
    clean = replace(SCENARIO, malformed_share=0.0, late_share=0.0, too_late_share=0.0)
    land(strict.installation, day_start(1), day_start(2), scenario=clean)
    assert strict.keys(day_start(3)) == ["2026-01-02", "2026-01-03"]


def test_days_whose_telemetry_expired_are_not_asked_for(tick: Tick) -> None:
    land(tick.installation, day_start(0), day_start(1))
    land(tick.installation, day_start(2), day_start(3), batch="later")
    with tick.installation.store() as store:
        gone = expire_telemetry(store, "plant", now=day_start(5), retention_days=3)
    assert gone == ["2026-01-01", "2026-01-02"]
    assert tick.keys(day_start(3)) == ["2026-01-03"]


def test_a_partition_that_a_run_is_at_already_is_not_asked_for_again(tick: Tick) -> None:
    land(tick.installation, day_start(1), day_start(2) + HOUR)
    tick.is_running("2026-01-02")
    assert tick.keys(day_start(2) + HOUR) == ["2026-01-03"]


def test_a_tick_waits_where_all_that_is_due_is_running(tick: Tick) -> None:
    land(tick.installation, day_start(1), day_start(1) + HOUR)
    tick.is_running("2026-01-02")
    assert "still running: 2026-01-02" in tick.at(day_start(1) + HOUR).skip_message


def test_what_a_tick_asks_for_makes_the_next_tick_content(tick: Tick) -> None:
    land(tick.installation, day_start(1), day_start(2))
    for key in tick.keys(day_start(2)):
        assert run(tick.installation, tick.instance, str(key)).success
    assert tick.keys(day_start(2)) == []


@pytest.mark.parametrize("minutes", [1, 5, 7, 59, 60])
def test_every_allowed_period_is_a_valid_schedule(tmp_path: Path, minutes: int) -> None:
    installation = install(tmp_path, content(schedule_minutes=minutes))
    dg.Definitions.validate_loadable(create_fleet(installation.config("plant"), installation))


def test_schedules_run_without_being_switched_on(tick: Tick) -> None:
    config = tick.installation.config("plant")
    for schedule in create_fleet(config, tick.installation).schedules or []:
        assert getattr(schedule, "default_status", None) == dg.DefaultScheduleStatus.RUNNING
