"""The storm monitor as a sensor: what it records, requests and says; and runs configured for a storm."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fleet_dagster.core.windows import MINUTE, Span, floor_to
from fleet_dagster.definitions import build_defs, create_fleet
from fleet_dagster.jobs import windows_job_name
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.run_requests import STORM_TAG, ingest_config
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.installation import Installation
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.dagster_layer.plants import install, instance_in, metadata
from fleet_dagster_tests.storms import feed, storm_fleet


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return install(tmp_path, storm_fleet(24, start_date="2026-01-01").model_dump(mode="json"))


@contextmanager
def context_of(
    installation: Installation, instance: dg.DagsterInstance
) -> Iterator[tuple[dg.SensorDefinition, dg.SensorEvaluationContext]]:
    defs = create_fleet(installation.config(at.NAME), installation)
    sensor = defs.resolve_sensor_def(f"{at.NAME}_storm_monitor")
    with dg.build_sensor_context(
        instance=instance, repository_def=defs.get_repository_def(), resources=defs.resources
    ) as context:
        yield sensor, context


def tick(installation: Installation, instance: dg.DagsterInstance) -> Any:  # Any: Dagster's own
    with context_of(installation, instance) as (sensor, context):
        return sensor.evaluate_tick(context)


def live_minutes(installation: Installation, *, rough: range) -> int:
    """Land the last twenty minutes up to now; returns the first one's start [us]."""
    config, now = installation.config(at.NAME), now_us()
    start = floor_to(now, MINUTE) - 20 * MINUTE
    with installation.store() as store:
        feed(store, config, start, range(20), rough=rough)
    return start


def test_a_tick_in_a_storm_records_it_requests_its_day_and_says_so(
    installation: Installation, tmp_path: Path
) -> None:
    live_minutes(installation, rough=range(14, 20))
    with instance_in(tmp_path / "dagster") as instance:
        found = tick(installation, instance)
        with installation.store() as store:
            episode = store.storms.open(at.NAME)
        assert episode is not None
        (request,) = found.run_requests
        assert request.tags[STORM_TAG] == episode.episode_id
        assert request.run_config == ingest_config(installation.config(at.NAME), episode.episode_id)
        (seen,) = found.asset_events
        assert seen.asset_key == dg.AssetKey([at.NAME, "fleet_kpi"])
        assert seen.metadata["storm"].value == episode.episode_id
        again = tick(installation, instance)
    assert again.run_requests == []
    assert f"{episode.episode_id} is on" in str(again.skip_message)


def test_a_tick_without_a_storm_says_what_it_saw(
    installation: Installation, tmp_path: Path
) -> None:
    live_minutes(installation, rough=range(0))
    with instance_in(tmp_path / "dagster") as instance:
        found = tick(installation, instance)
    assert "no storm; in the window of" in str(found.skip_message)
    assert "0 of 24 sites changed status or raised a fault, 24 messages" in str(found.skip_message)


def test_a_tick_without_telemetry_says_so(installation: Installation, tmp_path: Path) -> None:
    with instance_in(tmp_path / "dagster") as instance:
        found = tick(installation, instance)
    assert "no window to judge: no new telemetry" in str(found.skip_message)


def test_a_run_configured_for_a_storm_tells_of_it(
    installation: Installation, tmp_path: Path
) -> None:
    config, start = installation.config(at.NAME), at.FIRST + 600 * MINUTE
    episode = StormEpisode.of(start + 5 * MINUTE, cause="test")
    with installation.store() as store:
        feed(store, config, start, range(20), rough=[])
        store.storms.record(at.NAME, [episode], by="test")
    with instance_in(tmp_path / "dagster") as instance:
        job = build_defs(installation).resolve_job_def(windows_job_name(at.NAME))
        done = job.execute_in_process(
            instance=instance,
            partition_key="2026-01-01",
            run_config=ingest_config(config, episode.episode_id),
        )
        assert done.success
        own = metadata(instance, "fleet_kpi", fleet=at.NAME)["2026-01-01"]
        books = metadata(instance, "ingest_stats", fleet=at.NAME)["2026-01-01"]
        whole_day = metadata(instance, "site_kpi", fleet=at.NAME)["2026-01-01"]
        forgotten = job.execute_in_process(
            instance=instance,
            partition_key="2026-01-01",
            run_config=ingest_config(config, "storm-nobody-knows"),
        )
    assert own["storm"] == episode.episode_id
    assert own["ingestion_mode_newest"] == "storm"
    assert own["storm_windows"] == Span(episode.start, at.FIRST + 1440 * MINUTE).starts(MINUTE).size
    assert books["sampled_out"] == books["landed"] - books["used"] > 0
    assert 0 < whole_day["published_pct"] < 100
    assert forgotten.success
