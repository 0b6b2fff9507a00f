"""A late file dropped into the watched folder, under the real daemon: its windows are restated by one run."""

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv

from fleet_dagster.cli.dagster_home import prepare_dagster_home
from fleet_dagster.cli.webserver import webserver
from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.sensors.late_data import LATE_TAG
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.history import Entry
from fleet_dagster.storage.installation import Installation
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.dagster_layer.graphql import Client, wait_for
from fleet_dagster_tests.dagster_layer.plants import content, install, land
from fleet_dagster_tests.ports import free_port

PATIENCE_S = 240.0
MINUTES_LATE = [7 * MINUTE, 8 * MINUTE, 9 * MINUTE]


def restated(installation: Installation) -> list[Entry]:
    with installation.store() as store:
        return store.history.entries(FLEET_KPI.name, "plant", kind="restate")


def settled_through(installation: Installation) -> int:
    with installation.store() as store:
        return store.history.coverage.settled_through("plant", FLEET_KPI.name) or 0


@pytest.mark.services
def test_a_late_file_is_restated_by_one_run_under_the_real_daemon(tmp_path: Path) -> None:
    now = now_us()
    yesterday = now - now % DAY - DAY
    first = dt.datetime.fromtimestamp(yesterday / 1e6, tz=dt.UTC).date().isoformat()
    installation = install(tmp_path, content(start_date=first, schedule_minutes=1))
    land(installation, yesterday, yesterday + DAY)
    ten = yesterday + 10 * HOUR
    with webserver(installation, prepare_dagster_home(installation), free_port()) as server:
        server.wait_until_up()
        wait_for(
            "the schedule settled yesterday",
            lambda: settled_through(installation) >= yesterday + DAY,
            at_most_s=PATIENCE_S,
        )
        assert restated(installation) == []
        drop(installation, [ten + late for late in MINUTES_LATE])
        wait_for("restated", lambda: restated(installation) != [], at_most_s=PATIENCE_S)
        ui = Client(server.url)
        wait_for(
            "the run ended",
            lambda: all(r["status"] == "SUCCESS" for r in late_runs(ui)),
            at_most_s=PATIENCE_S,
        )
        (run,) = late_runs(ui)
    assert {"key": "dagster/partition", "value": first} in run["tags"]
    windows = [Span(e.span.start, e.span.end) for e in restated(installation)]
    assert windows == [Span(ten + 5 * MINUTE, ten + 10 * MINUTE)]
    assert [f.name for f in (tmp_path / ".fleet/inbox/plant/done").iterdir()] == ["late.csv"]


def drop(installation: Installation, stamps: list[int]) -> None:
    """Drop snapshots of one site into the watched folder, as another program would."""
    rows = at.snapshots("MX-0001", stamps, installation.config("plant"), share=0.01)
    rows = rows.set_column(
        rows.schema.get_field_index("received_at"), "received_at", pa.nulls(len(rows), pa.string())
    )
    folder = installation.inbox_root / "plant"
    folder.mkdir(parents=True, exist_ok=True)
    csv.write_csv(rows, folder / ".late.csv.part")
    (folder / ".late.csv.part").rename(folder / "late.csv")


def late_runs(ui: Client) -> list[dict[str, Any]]:  # Any: JSON
    """Return the runs that the sensor of late data asked for."""
    return [r for r in ui.runs() if any(t["key"] == LATE_TAG for t in r["tags"])]
