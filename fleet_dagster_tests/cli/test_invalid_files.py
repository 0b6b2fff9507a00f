import json
import shutil
from pathlib import Path

import pytest

from fleet_dagster.core.windows import DAY
from fleet_dagster_tests.cli.cases import (
    compute,
    csv,
    done,
    fleet,
    installation,
    printed,
    write_fleet,
)
from fleet_dagster_tests.fleets import MIDNIGHT

SPAN = ("--from", "2026-01-05", "--to", "2026-01-05")


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an installation with a computed day of `plant`, and a fleet `north`; no test changes it."""
    folder = tmp_path_factory.mktemp("computed")
    write_fleet(folder)
    write_fleet(folder, "north")
    done(fleet(folder, "import", "plant", csv(folder), "--historical"))
    compute(folder, MIDNIGHT, MIDNIGHT + DAY)
    return folder


@pytest.fixture
def folder(computed: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    shutil.copytree(computed, tmp_path, dirs_exist_ok=True)
    return tmp_path


def spoil(folder: Path, name: str) -> None:
    write_fleet(folder, name, interval_s=7)


def test_another_fleets_broken_file_stops_no_command(folder: Path) -> None:
    spoil(folder, "north")
    more = csv(folder, "S1,2026-01-06T00:00:00Z,20,100", name="more.csv")
    out = folder / "rows.csv"
    for arguments in (
        ("import", "plant", more, "--historical"),
        ("run", "plant", "--from", "2026-01-06", "--to", "2026-01-06"),
        ("config", "set", "plant", "outlier_sigma=2.5"),
        ("regions", "list", "plant"),
        ("storm", "start", "plant"),
        ("storm", "end", "plant"),
        ("export", "plant", "fleet_kpi", *SPAN, "--out", out),
        ("status", "plant"),
    ):
        assert "north.yaml" not in done(fleet(folder, *arguments))


def test_what_changes_a_fleet_refuses_its_own_broken_file(folder: Path) -> None:
    spoil(folder, "plant")
    for arguments in (
        ("run", "plant", *SPAN),
        ("import", "plant", csv(folder)),
        ("config", "apply", "plant"),
        ("regions", "list", "plant"),
        ("storm", "start", "plant"),
    ):
        result = fleet(folder, *arguments)
        assert result.exit_code == 2
        assert "line 1: interval_s" in result.stderr


def test_what_shows_a_fleet_shows_it_as_it_was_and_says_so(folder: Path) -> None:
    spoil(folder, "plant")
    out = folder / "rows.csv"
    for arguments in (
        ("status", "plant"),
        ("status", "plant", "--restated"),
        ("storm", "status", "plant"),
        ("export", "plant", "fleet_kpi", *SPAN, "--out", out),
    ):
        result = fleet(folder, *arguments)
        assert result.exit_code == 0, result.output
        assert "interval_s" in result.stderr
        assert "goes on as its file last was" in result.stderr
    assert len(out.read_text(encoding="utf-8").splitlines()) == 1441


def test_status_of_all_fleets_notes_each_broken_file(folder: Path) -> None:
    write_fleet(folder, "south", interval_s=7)
    spoil(folder, "plant")
    result = fleet(folder, "status", "--json")
    assert [one["fleet"] for one in printed(result)] == ["plant"]
    assert "plant.yaml" in result.stderr
    assert "fleet south is left out" in result.stderr


def test_up_starts_what_stands_and_leaves_what_is_in_force(folder: Path) -> None:
    done(fleet(folder, "config", "set", "plant", "outlier_sigma=2.5"))
    spoil(folder, "plant")
    result = fleet(folder, "up", "--once")
    assert result.exit_code == 0, result.output
    assert "plant.yaml" in result.stderr
    assert "Fleet north: no telemetry yet" in result.stderr
    with installation(folder).store() as store:
        assert store.registry.newest_version("plant") == 2


def test_doctor_finds_the_broken_file_and_names_the_fleets_that_stand(folder: Path) -> None:
    spoil(folder, "plant")
    result = fleet(folder, "doctor", "--json")
    assert result.exit_code == 1
    (found,) = [one for one in json.loads(result.stdout) if one["what"] == "fleets"]
    assert not found["is_fine"]
    assert found["found"].startswith("north, plant; ")
    assert "interval_s" in found["found"]
