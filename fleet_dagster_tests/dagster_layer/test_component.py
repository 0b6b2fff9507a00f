import json
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from fleet_dagster.component import FleetAggregation, starter
from fleet_dagster.model.config import FleetConfig

DG = Path(sys.executable).with_name("dg")
PROJECT = """
[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "plants"
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out an empty Dagster project, as `create-dagster` does; no test changes it."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    defs = folder / "src" / "plants" / "defs"
    defs.mkdir(parents=True)
    (defs.parent / "__init__.py").touch()
    (defs / "__init__.py").touch()
    (defs.parent / "definitions.py").write_text(
        "from pathlib import Path\n\n"
        "import dagster as dg\n\n\n"
        "@dg.definitions\n"
        "def defs() -> dg.Definitions:\n"
        "    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)\n",
        encoding="utf-8",
    )
    return folder


@pytest.fixture(scope="module")
def with_a_fleet(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return such a project to which `dg` has added a fleet; no test changes it."""
    folder = tmp_path_factory.mktemp("scaffolded")
    shutil.copytree(project, folder, dirs_exist_ok=True)
    dg_cli(folder, "scaffold", "defs", "fleet_dagster.FleetAggregation", "myfleet")
    return folder


@pytest.fixture
def scaffolded(with_a_fleet: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    shutil.copytree(with_a_fleet, tmp_path, dirs_exist_ok=True)
    return tmp_path


def dg_cli(project: Path, *words: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own words
        [DG, *words],
        cwd=project,
        env={"PATH": str(DG.parent), "PYTHONPATH": str(project / "src"), "HOME": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_dg_lists_the_component(project: Path) -> None:
    found = json.loads(dg_cli(project, "list", "components", "--json"))
    own = {c["key"]: c["summary"] for c in found["items"]}
    assert "health, rankings and outliers" in own["fleet_dagster.FleetAggregation"]


def test_dg_adds_a_fleet_that_checks_and_loads(scaffolded: Path) -> None:
    written = scaffolded / "src" / "plants" / "defs" / "myfleet" / "defs.yaml"
    content = yaml.safe_load(written.read_text(encoding="utf-8"))
    assert content["type"] == "fleet_dagster.FleetAggregation"
    assert content["attributes"]["name"] == "myfleet"
    dg_cli(scaffolded, "check", "yaml")
    listed = dg_cli(scaffolded, "list", "defs", "--json")
    for table in ("site_telemetry", "fleet_kpi", "site_ranking"):
        assert f"myfleet/{table}" in listed


def test_dg_names_a_wrong_setting_and_its_line(scaffolded: Path) -> None:
    file = scaffolded / "src" / "plants" / "defs" / "myfleet" / "defs.yaml"
    text = file.read_text(encoding="utf-8").replace("profile: small", "profyle: small")
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(  # noqa: S603 - our own words
        [DG, "check", "yaml"],
        cwd=scaffolded,
        env={
            "PATH": str(DG.parent),
            "PYTHONPATH": str(scaffolded / "src"),
            "HOME": str(scaffolded),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "profyle" in done.stdout + done.stderr


def test_a_defs_folder_loads_without_dg(scaffolded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(scaffolded / "src"))
    defs = dg.load_from_defs_folder(path_within_project=scaffolded / "src" / "plants")
    assert {s.group_name for s in defs.resolve_all_asset_specs()} == {"myfleet", "myfleet_streams"}
    for name in [n for n in sys.modules if n.split(".")[0] == "plants"]:
        monkeypatch.delitem(sys.modules, name)


def test_the_starter_is_a_valid_fleet_for_any_folder_name() -> None:
    for name in ("plant", "plant_2"):
        assert FleetConfig.model_validate(starter(name)).name == name


def test_the_component_says_whose_it_is() -> None:
    assert FleetAggregation.get_spec().owners == ["team:fleet-operations"]
