from pathlib import Path

import dagster as dg
import pytest

from fleet_dagster.core.windows import DAY
from fleet_dagster.definitions import build_defs
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.storage.installation import Installation
from fleet_dagster.streams.subscription import subscribe
from fleet_dagster_tests.dagster_layer.plants import content, install
from fleet_dagster_tests.streams import fleet_windows as fw

KEY = dg.AssetKey(["plant", "retention"])
STREAM_KEY = dg.AssetKey(["plant", "streams", "fleet_kpi_stream"])


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """Return a fleet with two days of windows, and a consumer that has read nothing."""
    place = install(tmp_path, content(interval_s=3600, staleness_threshold_s=3600))
    with place.store() as store:
        fw.write(store, dict.fromkeys(range(48), 0.5), fw.span(0, 48))
        with subscribe(store, fw.CONFIG, fw.STREAM, "slow"):
            pass
    return place


def at_night(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, *, dry_run: bool = False
) -> dict[str, dg.MetadataValue]:
    """Run the job two years after the first day was written; returns what the asset shows."""
    with installation.store() as store:
        (entry, *_) = store.history.entries(FLEET_KPI.name, "plant")
    late = max(entry.recorded_at, fw.day(1).end) + 730 * DAY + 1
    for clock in ("assets.retention", "storage.cursors"):
        monkeypatch.setattr(f"fleet_dagster.{clock}.now_us", lambda: late)
    config = {"ops": {"plant__retention": {"config": {"dry_run": dry_run}}}}
    job = build_defs(installation).resolve_job_def("plant_retention")
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(instance=instance, run_config=config if dry_run else None)
        assert done.success
        shown = instance.get_latest_materialization_event(KEY)
        assert shown is not None
        assert shown.asset_materialization is not None
        (seen,) = instance.fetch_observations(STREAM_KEY, limit=1).records
    assert seen.asset_observation is not None
    readers = seen.asset_observation.metadata["consumers"].value
    assert "| slow |" in str(readers)
    return dict(shown.asset_materialization.metadata)


def n_windows(installation: Installation) -> int:
    with installation.store() as store:
        return store.lake.count(FLEET_KPI, "plant", [fw.span(0, 48)])


def test_a_night_removes_what_is_due_and_shows_it(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = at_night(installation, monkeypatch)
    assert shown["dry_run"].value is False
    assert shown["days_removed"].value == 2
    assert shown["rows_removed"].value == 48
    table = str(shown["removed"].value)
    assert "| `fleet_kpi` | 730&nbsp;d | 2: 2026-01-01 to 2026-01-02 | 48 |" in table
    assert "slow had not read 1 entry of fleet_kpi_stream about 2026-01-01" in table
    assert n_windows(installation) == 0


def test_a_rehearsal_shows_the_same_and_removes_nothing(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = at_night(installation, monkeypatch, dry_run=True)
    assert shown["dry_run"].value is True
    assert shown["rows_removed"].value == 48
    assert n_windows(installation) == 48


def test_every_fleet_has_its_night(installation: Installation) -> None:
    schedule = build_defs(installation).resolve_schedule_def("plant_retention_schedule")
    assert schedule.cron_schedule == "25 2 * * *"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.job_name == "plant_retention"
