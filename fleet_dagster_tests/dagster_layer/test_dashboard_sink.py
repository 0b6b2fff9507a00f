import json
from pathlib import Path

import dagster as dg
import pytest

from fleet_dagster.definitions import build_defs
from fleet_dagster.model.snapshot import Snapshot
from fleet_dagster.storage.installation import Installation
from fleet_dagster_tests import alert_rows as rows
from fleet_dagster_tests.dagster_layer.plants import content, install

DAY = "2026-01-03"
"""A partition that the newest window does not lie in."""


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """Return a fleet with an hour of windows."""
    place = install(tmp_path, content())
    with place.store() as store:
        rows.kpis(store, 60)
        rows.regions(store, {"R-00": ["healthy"] * 60, "R-01": ["degraded"] * 60})
        rows.incidents(store, rows.incident(50), since=0, until=60)
    return place


def test_the_newest_snapshot_is_a_file_that_other_programs_read(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    job = build_defs(installation).resolve_job_def("plant_windows")
    result = job.execute_in_process(
        instance=instance,
        partition_key=DAY,
        asset_selection=[dg.AssetKey(["plant", "dashboard_snapshot"])],
    )
    assert result.success
    path = installation.home / "snapshots" / "plant.json"
    document = json.loads(path.read_text())
    assert set(document) == set(Snapshot.__dataclass_fields__)
    assert document["window"]["end"] == "2026-01-05T01:00:00.000000Z"
    (made,) = result.asset_materializations_for_node("plant__dashboard_snapshot")
    told = {name: value.value for name, value in made.metadata.items()}
    assert told["path"] == str(path)
    assert told["size_bytes"] == path.stat().st_size
    assert told["incidents_open"] == 1
    assert isinstance(told["window_age_s"], float)
    assert told["window_age_s"] > 0
    assert "| R-01 | 0.600 | degraded |" in str(told["regions"])
    assert made.partition is None


def test_a_fleet_without_windows_has_a_snapshot_too(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    place = install(tmp_path, content())
    job = build_defs(place).resolve_job_def("plant_windows")
    chosen = [dg.AssetKey(["plant", "dashboard_snapshot"])]
    assert job.execute_in_process(
        instance=instance, asset_selection=chosen, partition_key=DAY
    ).success
    document = json.loads((place.home / "snapshots" / "plant.json").read_text())
    assert document["window"] is None


def test_backfills_of_a_fleet_s_tables_do_not_touch_it(installation: Installation) -> None:
    spec = next(
        s
        for s in build_defs(installation).resolve_all_asset_specs()
        if s.key.path == ["plant", "dashboard_snapshot"]
    )
    assert (spec.group_name, spec.partitions_def) == ("plant_streams", None)
