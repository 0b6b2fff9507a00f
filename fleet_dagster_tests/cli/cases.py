"""Installations in a temporary folder, and the real command line run on them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from click.testing import CliRunner, Result
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from fleet_dagster.cli.main import main
from fleet_dagster.core.windows import Span
from fleet_dagster.model.tables import TABLES, derived_tables, superseded
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.installation import Installation
from fleet_dagster_tests.installations import new_home

HEADER = "site_id,timestamp,temp,power"
GOOD = (
    "S1,2026-01-05T00:00:00Z,20.5,100",
    "S1,2026-01-05T00:01:00Z,21.5,110",
    "S2,2026-01-05T00:00:00Z,22.5,120",
)


def content(**changes: Any) -> dict[str, Any]:
    """Return a fleet of two sites and two KPIs, as its YAML file would hold it."""
    return {
        "name": "plant",
        "start_date": "2026-01-01",
        "kpis": [
            {"name": "temp", "unit": "degC", "lo": 0, "hi": 100, "direction": "lower"},
            {"name": "power", "unit": "kW", "lo": 0, "hi": 500},
        ],
        "region_mappings": [
            {"site_id": "S1", "region_id": "north"},
            {"site_id": "S2", "region_id": "south"},
        ],
        **changes,
    }


def write_fleet(folder: Path, name: str = "plant", **changes: Any) -> Path:
    """Write a fleet's file into the installation of a folder, whose storage is there from then on."""
    new_home(folder / "home")
    path = folder / "fleets" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content(name=name, **changes)), encoding="utf-8")
    return path


def csv(folder: Path, *rows: str, header: str = HEADER, name: str = "telemetry.csv") -> Path:
    """Write a CSV file; without rows, a sound one."""
    path = folder / name
    path.write_text("\n".join([header, *(rows or GOOD)]) + "\n", encoding="utf-8")
    return path


def fleet(folder: Path, *arguments: str | Path) -> Result:
    """Run the command line on the installation of a folder."""
    place = ["--home", str(folder / "home"), "--fleets", str(folder / "fleets")]
    return CliRunner().invoke(main, [*place, *(str(a) for a in arguments)])


def done(result: Result) -> str:
    """Return what a command printed, which must have gone well."""
    assert result.exit_code == 0, result.output
    return result.output


def printed(result: Result) -> Any:
    """Return the JSON that a command printed to standard output."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def compute(folder: Path, start: int, end: int) -> None:
    """Compute a span [us] as `fleet run` does, but without Dagster, which takes several times as long."""
    place = installation(folder)
    with place.store() as store:
        Refresh(store, place.config("plant")).everything(Span(start, end))


def installation(folder: Path) -> Installation:
    """Return the installation of a folder."""
    environment = {"FLEET_HOME": str(folder / "home"), "FLEET_FLEETS": str(folder / "fleets")}
    return Installation.from_environment(environment, folder=folder)


def lake(folder: Path) -> Mapping[str, pa.Table]:
    """Return every table of the installation's lake, whole and in one order."""
    found = {}
    with installation(folder).store() as store:
        for table in (*TABLES.values(), *(superseded(t) for t in derived_tables())):
            place = SubTreeFileSystem(store.lake.uri(table), LocalFileSystem())
            rows = store.lake.open(table).to_pyarrow_table(filesystem=place)
            found[table.name] = rows.sort_by([(k, "ascending") for k in table.key])
    return found
