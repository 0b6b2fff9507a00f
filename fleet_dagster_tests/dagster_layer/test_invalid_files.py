import datetime as dt
import logging
from pathlib import Path

import dagster as dg
import pytest

from fleet_dagster.definitions import build_defs
from fleet_dagster.storage.installation import Installation
from fleet_dagster_tests.dagster_layer.plants import (
    content,
    day_start,
    days,
    install,
    land,
    run,
    written,
)


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    """Return an installation of two fleets, one with a day of telemetry, that Dagster has loaded."""
    installation = install(tmp_path, content(), content("north"))
    land(installation, day_start(0), day_start(1))
    build_defs(installation)
    return installation


def spoil(place: Installation, fleet: str) -> None:
    path = place.fleets_folder / f"{fleet}.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("interval_s: 300", "interval_s: 7"), encoding="utf-8")


def groups(defs: dg.Definitions) -> set[str | None]:
    dg.Definitions.validate_loadable(defs)
    return {spec.group_name for spec in defs.resolve_all_asset_specs()}


@pytest.mark.parametrize("broken", ["north", "plant"])
def test_a_fleet_computes_on_while_its_file_or_anothers_is_broken(
    place: Installation, instance: dg.DagsterInstance, broken: str
) -> None:
    spoil(place, broken)
    result = run(place, instance, *days(0, 0))
    assert result.success
    assert written(result)["fleet_kpi"] == 288


@pytest.mark.parametrize("broken", ["north", "plant"])
def test_a_schedule_ticks_on_while_a_file_is_broken(
    place: Installation, lasting_instance: dg.DagsterInstance, broken: str
) -> None:
    spoil(place, broken)
    defs = build_defs(place)
    with dg.build_schedule_context(
        instance=lasting_instance,
        scheduled_execution_time=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        repository_def=defs.get_repository_def(),
        resources=defs.resources,
    ) as context:
        tick = defs.resolve_schedule_def("plant_windows_schedule").evaluate_tick(context)
    assert [request.partition_key for request in tick.run_requests or ()] == list(days(0, 0))


def test_a_broken_file_is_named_in_the_log_with_its_line(
    place: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(place, "north")
    assert groups(build_defs(place)) == {"north", "plant", "north_streams", "plant_streams"}
    (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "north.yaml: line" in record.getMessage()
    assert "goes on as its file last was" in record.getMessage()


def test_a_broken_file_that_was_never_valid_is_left_out_and_named_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = install(tmp_path, content(), content("north", interval_s=7))
    assert groups(build_defs(place)) == {"plant", "plant_streams"}
    assert "interval_s" in caplog.text
    assert "fleet north is left out" in caplog.text


def test_without_a_valid_file_the_code_location_still_loads(tmp_path: Path) -> None:
    assert groups(build_defs(install(tmp_path, content(interval_s=7)))) == set()
