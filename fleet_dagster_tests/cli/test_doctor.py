import json
from pathlib import Path

from fleet_dagster_tests.cli.cases import csv, done, fleet, printed, write_fleet


def _findings(text: str) -> dict[str, bool]:
    return {one["what"]: one["is_fine"] for one in json.loads(text)}


def test_a_new_installation_is_fine_and_is_not_made_by_looking(tmp_path: Path) -> None:
    assert all(one["is_fine"] for one in printed(fleet(tmp_path, "doctor", "--json")))
    assert not (tmp_path / "home").exists()


def test_a_used_installation_is_fine(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    done(fleet(tmp_path, "import", "plant", csv(tmp_path), "--historical"))
    text = done(fleet(tmp_path, "doctor"))
    for word in ("plant", "up to date", "tables readable", "none open", "free"):
        assert word in text


def test_values_in_doubt_are_told_and_are_no_fault(tmp_path: Path) -> None:
    write_fleet(tmp_path, interval_s=300)
    assert "plant: values in doubt, see fleet validate" in done(fleet(tmp_path, "doctor"))


def test_a_broken_fleet_file_is_found(tmp_path: Path) -> None:
    write_fleet(tmp_path).write_text("name: [", encoding="utf-8")
    result = fleet(tmp_path, "doctor", "--json")
    assert result.exit_code == 1
    assert not _findings(result.stdout)["fleets"]


def test_a_control_database_that_is_none_is_found(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    (tmp_path / "home" / "control.db").write_bytes(b"not a database at all" * 100)
    result = fleet(tmp_path, "doctor", "--json")
    assert result.exit_code == 1
    assert not _findings(result.stdout)["control database"]


def test_a_home_that_is_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("", encoding="utf-8")
    result = fleet(tmp_path, "doctor")
    assert result.exit_code != 0
    assert "home" in result.output


def test_a_lake_that_cannot_be_read_is_found(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    done(fleet(tmp_path, "import", "plant", csv(tmp_path), "--historical"))
    for entry in (tmp_path / "home" / "lake" / "fleet_kpi" / "_delta_log").iterdir():
        entry.write_text("{", encoding="utf-8")
    result = fleet(tmp_path, "doctor", "--json")
    assert result.exit_code == 1
    assert "fleet_kpi" in result.stdout
