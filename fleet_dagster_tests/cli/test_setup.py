import json
from pathlib import Path

import pytest
import yaml

from fleet_dagster.cli.setup import schema_text
from fleet_dagster.ingest.simulator import KINDS
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.yaml_file import load_config
from fleet_dagster_tests.cli.cases import done, fleet, printed, write_fleet


@pytest.mark.parametrize("kind", KINDS)
def test_init_writes_a_valid_file_of_every_kind(tmp_path: Path, kind: str) -> None:
    done(fleet(tmp_path, "init", "plant", "--kind", kind, "--sites", "9", "--regions", "3"))
    config = load_config(tmp_path / "fleets" / "plant.yaml")
    assert len(config.region_mappings) == 9
    assert len({m.region_id for m in config.region_mappings}) == 3


def test_init_never_replaces_a_file(tmp_path: Path) -> None:
    path = write_fleet(tmp_path)
    before = path.read_text(encoding="utf-8")
    result = fleet(tmp_path, "init", "plant")
    assert result.exit_code == 2
    assert "exists" in result.output
    assert path.read_text(encoding="utf-8") == before


def test_init_writes_nothing_under_a_bad_name(tmp_path: Path) -> None:
    result = fleet(tmp_path, "init", "My-Plant")
    assert result.exit_code == 2
    assert "My-Plant" in result.output
    assert not (tmp_path / "fleets").exists()


def test_init_says_which_profile_would_fit(tmp_path: Path) -> None:
    result = fleet(tmp_path, "init", "plant", "--profile", "small", "--sites", "51")
    assert result.exit_code == 2
    assert "medium" in result.output


def test_a_new_file_tells_editors_its_schema(tmp_path: Path) -> None:
    done(fleet(tmp_path, "init", "plant"))
    first = (tmp_path / "fleets" / "plant.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=fleet.schema.json"
    assert (tmp_path / "fleets" / "fleet.schema.json").read_text(encoding="utf-8") == schema_text()


def test_the_schema_knows_every_field_and_the_names_of_profiles_and_presets(tmp_path: Path) -> None:
    schema = printed(fleet(tmp_path, "config", "schema"))
    assert set(schema["properties"]) == set(FleetConfig.model_fields)
    assert schema["properties"]["profile"]["anyOf"][0] == {"enum": ["large", "medium", "small"]}
    assert "energy" in schema["properties"]["health_weights"]["anyOf"][0]["enum"]


def test_validate_describes_a_sound_fleet(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    assert printed(fleet(tmp_path, "validate", "--json")) == [
        {
            "file": str(tmp_path / "fleets" / "plant.yaml"),
            "fleet": "plant",
            "profile": "small",
            "sites": 2,
            "regions": 2,
            "kpis": 2,
            "problems": [],
            "doubts": [],
        }
    ]


def test_validate_names_the_line_of_a_doubt_and_does_not_refuse_it(tmp_path: Path) -> None:
    path = write_fleet(tmp_path, interval_s=300)
    rows = path.read_text(encoding="utf-8").splitlines()
    line = next(i for i, row in enumerate(rows, start=1) if "interval_s" in row)
    said = done(fleet(tmp_path, "validate"))
    assert "fine" in said
    assert f"? line {line}: staleness_threshold_s is 120" in said
    assert "Set staleness_threshold_s to 600" in said


def test_validate_names_the_line_of_a_problem(tmp_path: Path) -> None:
    path = write_fleet(tmp_path)
    text = path.read_text(encoding="utf-8").replace("direction: lower", "direction: sideways")
    path.write_text(text, encoding="utf-8")
    line = next(i for i, row in enumerate(text.splitlines(), start=1) if "sideways" in row)
    result = fleet(tmp_path, "validate")
    assert result.exit_code == 1
    assert f"line {line}" in result.output
    assert "sideways" in result.output


def test_validate_names_the_line_of_a_source_unit_that_cannot_be_converted(tmp_path: Path) -> None:
    path = write_fleet(tmp_path, source={"kpis": {"power": {"column": "power", "unit": "degF"}}})
    rows = path.read_text(encoding="utf-8").splitlines()
    line = next(i for i, row in enumerate(rows, start=1) if "degF" in row)
    result = fleet(tmp_path, "validate")
    assert result.exit_code == 1
    for words in (f"line {line}: KPI 'power'", "'degF'", "'kW'"):
        assert words in result.output


def test_validate_says_that_a_file_is_not_there(tmp_path: Path) -> None:
    result = fleet(tmp_path, "validate", tmp_path / "absent.yaml")
    assert result.exit_code == 1
    assert "is not there" in result.output


def test_validate_sees_that_two_files_define_one_fleet(tmp_path: Path) -> None:
    path = write_fleet(tmp_path)
    (path.parent / "twin.yaml").write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    result = fleet(tmp_path, "validate")
    assert result.exit_code == 1
    assert "is defined by" in result.output


def test_validate_says_no_where_there_is_no_file(tmp_path: Path) -> None:
    result = fleet(tmp_path, "validate")
    assert result.exit_code == 1
    assert "fleet init" in result.output


def test_validate_checks_the_files_it_is_given(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({"name": "other"}), encoding="utf-8")
    result = fleet(tmp_path, "validate", other, "--json")
    assert result.exit_code == 1
    assert "kpis" in str(json.loads(result.stdout)[0]["problems"])
