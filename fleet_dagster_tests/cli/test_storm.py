import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from fleet_dagster.core.windows import MINUTE
from fleet_dagster.storage.installation import Installation
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.cli.cases import compute, fleet
from fleet_dagster_tests.storms import feed, storm_fleet

START = at.FIRST + 600 * MINUTE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an installation with forty landed minutes, five of them rough."""
    config = storm_fleet(24, start_date="2026-01-01")
    file = tmp_path / "fleets" / "plant.yaml"
    file.parent.mkdir()
    at.new_home(tmp_path / "home")
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    place = {"FLEET_HOME": str(tmp_path / "home"), "FLEET_FLEETS": str(file.parent)}
    with Installation.from_environment(place, folder=tmp_path).store() as store:
        feed(store, config, START, range(40), rough=range(11, 16))
    return tmp_path


def shown(folder: Path) -> dict[str, Any]:  # Any: JSON
    found: dict[str, Any] = json.loads(fleet(folder, "storm", "status", "plant", "--json").stdout)
    return found


def detect(folder: Path, *options: str) -> Result:
    hours = ("--from", "2026-01-01T10:00:00Z", "--to", "2026-01-01T10:40:00Z")
    return fleet(folder, "storm", "detect", "plant", *hours, *options)


def test_a_storm_is_begun_and_ended_by_hand(folder: Path) -> None:
    begun = fleet(folder, "storm", "start", "plant", "--from", "2026-01-01T10:05:30Z")
    assert begun.exit_code == 0
    assert "storm-20260101T100600Z is on since 2026-01-01T10:06:00Z" in begun.stderr
    assert "storm-20260101T100600Z is on" in fleet(folder, "storm", "status", "plant").stdout
    assert fleet(folder, "storm", "start", "plant", "--from", "2026-01-01T10:20:00Z").exit_code == 2
    ended = fleet(folder, "storm", "end", "plant", "--at", "2026-01-01T10:10:00Z")
    assert "ended at 2026-01-01T10:10:00Z" in ended.stderr
    (storm,) = shown(folder)["storms"]
    assert (storm["cause"], storm["started_by"], storm["ended_by"]) == (
        "begun by hand",
        "operator",
        "operator",
    )
    assert shown(folder)["current"] is None


def test_ending_no_storm_is_wrong_use(folder: Path) -> None:
    done = fleet(folder, "storm", "end", "plant")
    assert done.exit_code == 2
    assert "no storm is on" in done.stderr


def test_storms_are_found_in_history_once(folder: Path) -> None:
    tried = detect(folder, "--dry-run")
    assert "storm-20260101T101100Z" in tried.stdout
    assert shown(folder)["storms"] == []
    assert "1 storm recorded." in detect(folder).stderr
    assert json.loads(detect(folder, "--json").stdout) == []
    assert len(shown(folder)["storms"]) == 1


def test_an_episode_recorded_by_mistake_is_forgotten(folder: Path) -> None:
    detect(folder)
    assert fleet(folder, "storm", "forget", "plant", "storm-20260101T101100Z").exit_code == 0
    assert fleet(folder, "storm", "forget", "plant", "storm-20260101T101100Z").exit_code == 1
    assert shown(folder)["storms"] == []


def test_a_storm_over_computed_windows_says_what_is_computed_anew(folder: Path) -> None:
    day = ("--from", "2026-01-01T10:00:00Z", "--to", "2026-01-01T10:40:00Z")
    compute(folder, START, START + 40 * MINUTE)
    done = detect(folder)
    assert "are computed anew by the next scheduled run" in done.stderr
    fleet(folder, "run", "plant", *day)
    window = ("--at", "2026-01-01T10:12:00Z")
    status = fleet(folder, "status", "plant", *window).stdout
    assert "ingestion storm (storm-20260101T101100Z): KPIs of" in status
    assert "restated, revision 1" in status
    one = json.loads(
        fleet(folder, "status", "plant", "--site", "MX-0002", *window, "--json").stdout
    )
    assert one["disposition"] in {"sampled", "sampled_out"}
    assert fleet(folder, "status", "plant", "--site", "nobody").exit_code == 1
