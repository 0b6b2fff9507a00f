import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from deltalake import DeltaTable

from fleet_dagster.cli.dagster_home import prepare_dagster_home
from fleet_dagster.cli.webserver import webserver
from fleet_dagster.storage.installation import Installation
from fleet_dagster_tests.dagster_layer.graphql import FINISHED, Client, wait_for
from fleet_dagster_tests.dagster_layer.plants import DERIVED
from fleet_dagster_tests.ports import free_port
from fleet_dagster_tests.real_data import RealFleet, application_servers, server_machines

FLEET = Path(sys.executable).with_name("fleet")


def cli(folder: Path, *words: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own command
        [FLEET, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def imported(folder: Path, fleet: RealFleet) -> tuple[str, int]:
    """Write a fleet's file and land its telemetry; returns its name and the rows landed."""
    name = str(fleet.content["name"])
    fleets = folder / "fleets"
    fleets.mkdir(exist_ok=True)
    (fleets / f"{name}.yaml").write_text(yaml.safe_dump(fleet.content), encoding="utf-8")
    report = json.loads(cli(folder, "import", name, str(fleet.telemetry), "--historical", "--json"))
    return name, int(report[0]["n_landed"])


def newest_of_each_day(installation: Installation, fleet: str) -> pd.DataFrame:
    """Read what stands in the lake as anybody with pandas would: the last window of each day."""
    table = DeltaTable(f"{installation.lake_root}/fleet_kpi")
    rows = table.to_pandas(filters=[("fleet", "=", fleet)]).sort_values("window_start")
    return rows.groupby(rows["window_start"].dt.strftime("%Y-%m-%d")).last()


@pytest.mark.slow
@pytest.mark.parametrize("dataset", [server_machines, application_servers])
def test_lake_command_line_and_ui_say_the_same_of_a_backfilled_fleet(
    tmp_path: Path, dataset: Callable[[Path], RealFleet]
) -> None:
    fleet = dataset(tmp_path)
    name, n_landed = imported(tmp_path, fleet)
    assert n_landed == len(pd.read_parquet(fleet.telemetry, columns=["timestamp"]))
    installation = Installation.from_environment({}, folder=tmp_path)
    workspace = prepare_dagster_home(installation)
    with webserver(installation, workspace, free_port()) as server:
        server.wait_until_up()
        ui = Client(server.url)
        backfill = ui.backfill(name, DERIVED, fleet.first_day, fleet.last_day)
        wait_for(
            "the backfill ends", lambda: ui.backfill_status(backfill) in FINISHED, at_most_s=900
        )
        assert ui.backfill_status(backfill) == "COMPLETED_SUCCESS"
        days = [str(day.date()) for day in pd.date_range(fleet.first_day, fleet.last_day)]
        shown = {day: ui.figures(name, "fleet_kpi", day)["fleet_health_newest"] for day in days}
        landed = {day: ui.figures(name, "site_telemetry", day)["dagster/row_count"] for day in days}
        checks = {check for table in DERIVED for check in ui.checks(name, table).values()}
    stored = newest_of_each_day(installation, name)
    assert sum(int(n) for n in landed.values()) == n_landed
    assert checks == {"SUCCEEDED"}
    assert shown == stored["fleet_health"].to_dict()
    for day in (days[1], days[-1]):
        at = f"{day}T23:59:59Z"
        status = json.loads(cli(tmp_path, "status", name, "--json", "--at", at))
        assert status["health"] == shown[day]
        assert pd.Timestamp(status["window_start"]) == stored["window_start"][day]
    assert float(shown[days[1]]) > 0
