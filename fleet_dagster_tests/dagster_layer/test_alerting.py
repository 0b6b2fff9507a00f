"""The sensor that tells people: what it says, sends and knows of runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fleet_dagster.alerting.passes import CONSUMER, STREAM
from fleet_dagster.core.windows import MINUTE, Span, floor_to
from fleet_dagster.definitions import build_defs, create_fleet
from fleet_dagster.jobs import windows_job_name
from fleet_dagster.model.tables import FLEET_CORRELATION
from fleet_dagster.storage.alerts import Alerts
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.installation import Installation
from fleet_dagster.streams.subscription import held_alone
from fleet_dagster_tests.alert_rows import NAME, START, fleet, incident, write
from fleet_dagster_tests.dagster_layer.plants import install
from fleet_dagster_tests.incidents import stamp
from fleet_dagster_tests.receivers import HttpReceiver, http_receiver


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as running:
        yield running


def installed(folder: Path, receiver: HttpReceiver, **alerts: Any) -> Installation:
    config = fleet(("ops", receiver.url("/tokentoken")), **alerts)
    return install(folder, config.model_dump(mode="json"))


def tick(
    installation: Installation, instance: dg.DagsterInstance, cursor: str | None = None
) -> Any:  # Any: Dagster's own
    defs = create_fleet(installation.config(NAME), installation)
    sensor = defs.resolve_sensor_def(f"{NAME}_alerting")
    with dg.build_sensor_context(
        instance=instance,
        repository_def=defs.get_repository_def(),
        resources=defs.resources,
        cursor=cursor,
    ) as context:
        return sensor.evaluate_tick(context)


def incident_now(installation: Installation) -> None:
    """Write an incident that opened in the newest whole minute."""
    first = floor_to(now_us(), MINUTE) - 2 * MINUTE
    row = incident((first - START) // MINUTE, onset=stamp(first))
    with installation.store() as store:
        write(store, FLEET_CORRELATION, Span(first, first + MINUTE), [row])


def test_a_tick_sends_what_is_new_and_says_so(
    tmp_path: Path, instance: dg.DagsterInstance, receiver: HttpReceiver
) -> None:
    installation = installed(tmp_path, receiver)
    quiet = tick(installation, instance)
    assert str(quiet.skip_message) == "plant: 0 opened, 0 resolved, 0 open; 0 sent, 0 waiting"
    incident_now(installation)
    found = tick(installation, instance, quiet.cursor)
    assert "plant: 1 opened, 0 resolved, 1 open; 1 sent, 0 waiting" in str(found.skip_message)
    assert "opened 1: Simultaneous incident: 4 sites in 4 regions" in str(found.skip_message)
    assert receiver.titles == ["[plant] critical: Simultaneous incident: 4 sites in 4 regions"]
    assert found.run_requests == []


def test_a_tick_says_why_nothing_arrives_and_shows_no_address(
    tmp_path: Path, instance: dg.DagsterInstance, receiver: HttpReceiver
) -> None:
    installation = installed(tmp_path, receiver)
    receiver.down()
    incident_now(installation)
    words = str(tick(installation, instance).skip_message)
    assert "0 sent, 1 waiting" in words
    assert "Destination 'ops': A Connection error" in words
    assert "tokentoken" not in words


def failing() -> dg.JobDefinition:
    """Return a job with the name of the fleet's own that fails."""

    @dg.op
    def breaks() -> None:
        msg = "no such column\nand more"
        raise ValueError(msg)

    @dg.job(name=windows_job_name(NAME), partitions_def=dg.DailyPartitionsDefinition("2026-01-01"))
    def windows() -> None:
        breaks()

    return windows


def test_failed_runs_are_told_of_until_one_makes_up_for_them(
    tmp_path: Path, instance: dg.DagsterInstance, receiver: HttpReceiver
) -> None:
    rules = {"run": {"open_after_minutes": 0}}
    installation = installed(tmp_path, receiver, rules=rules)
    day = "2026-01-05"
    assert (
        not failing()
        .execute_in_process(instance=instance, partition_key=day, raise_on_error=False)
        .success
    )
    cursor = tick(installation, instance).cursor
    assert receiver.titles == [f"[plant] warning: A run of plant_windows {day} failed"]
    assert "no such column" in receiver.got[0]["message"]
    job = build_defs(installation).resolve_job_def(windows_job_name(NAME))
    assert job.execute_in_process(instance=instance, partition_key=day).success
    cursor = tick(installation, instance, cursor).cursor
    tick(installation, instance, cursor)
    assert receiver.titles[1:] == [f"[plant] resolved: A run of plant_windows {day} failed"]
    with installation.store() as store:
        (alert,) = Alerts(store.control).listed(NAME, everything=True)
    assert alert.detail["error"] == "ValueError: no such column"


def broken_asset(fleet_name: str) -> dg.AssetsDefinition:
    @dg.asset(key=[fleet_name, "fleet_kpi"])
    def broken() -> None:
        msg = f"{fleet_name} is broken"
        raise ValueError(msg)

    return broken


def test_runs_of_assets_chosen_by_hand_are_the_fleets_own_and_those_of_other_fleets_are_not(
    tmp_path: Path, instance: dg.DagsterInstance, receiver: HttpReceiver
) -> None:
    installation = installed(tmp_path, receiver, rules={"run": {"open_after_minutes": 0}})
    assets = [broken_asset(NAME), broken_asset("plant_2")]
    job = dg.Definitions(assets=assets).resolve_implicit_global_asset_job_def()
    for one in assets:
        job.execute_in_process(instance=instance, asset_selection=[one.key], raise_on_error=False)
    tick(installation, instance)
    assert receiver.titles == ["[plant] warning: A run of assets failed"]
    assert "ValueError: plant is broken" in receiver.got[0]["message"]


def test_a_run_that_never_began_is_told_of_too(
    tmp_path: Path, instance: dg.DagsterInstance, receiver: HttpReceiver
) -> None:
    installation = installed(tmp_path, receiver, rules={"run": {"open_after_minutes": 0}})
    tags = {
        "dagster/asset_partition_range_start": "2026-01-05",
        "dagster/asset_partition_range_end": "2026-01-07",
    }
    begun = instance.create_run_for_job(failing(), tags=tags)
    instance.report_run_failed(begun, "The launcher has lost it")
    tick(installation, instance)
    assert receiver.titles == [
        "[plant] warning: A run of plant_windows 2026-01-05...2026-01-07 failed"
    ]
    assert "The launcher has lost it" in receiver.got[0]["message"]


def test_a_tick_while_another_process_is_at_it_says_so(
    tmp_path: Path, instance: dg.DagsterInstance, receiver: HttpReceiver
) -> None:
    installation = installed(tmp_path, receiver)
    config = installation.config(NAME)
    with installation.store() as store, held_alone(store, config, STREAM, CONSUMER):
        found = tick(installation, instance, "7")
    assert "follows it as 'alerting'" in str(found.skip_message)
    assert found.cursor == "7"
