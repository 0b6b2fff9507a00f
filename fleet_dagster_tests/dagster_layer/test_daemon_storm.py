"""A storm planted in live telemetry, under the real daemon: its sensor enters and leaves."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_dagster.cli.dagster_home import prepare_dagster_home
from fleet_dagster.cli.webserver import webserver
from fleet_dagster.core.windows import SECOND, floor_to
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.run_requests import STORM_TAG
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.installation import Installation
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.dagster_layer.graphql import Client
from fleet_dagster_tests.dagster_layer.plants import install
from fleet_dagster_tests.ports import free_port
from fleet_dagster_tests.storms import snapshots, storm_fleet

INTERVAL = 5 * SECOND
PATIENCE_S = 240.0


@pytest.mark.services
def test_the_sensor_enters_and_leaves_a_storm_under_the_real_daemon(tmp_path: Path) -> None:
    today = time.strftime("%Y-%m-%d", time.gmtime())
    config = storm_fleet(24, start_date=today, interval_s=5, staleness_threshold_s=60)
    installation = install(tmp_path, {**config.model_dump(mode="json"), "schedule_minutes": 1})
    with webserver(installation, prepare_dagster_home(installation), free_port()) as server:
        live = Live(installation, config)
        live.until(lambda: False, at_most_s=10)
        server.wait_until_up()
        live.until(lambda: live.recorded() != [], at_most_s=PATIENCE_S, is_rough=True)
        (began,) = live.recorded()
        live.until(lambda: not live.recorded()[0].is_open, at_most_s=PATIENCE_S)
        ended = live.recorded()[0]
        ui = Client(server.url)

        def is_written() -> bool:
            with installation.store() as store:
                newest = store.history.coverage.newest_end(FLEET_KPI.name, at.NAME)
            return newest is not None and newest >= ended.end

        live.until(is_written, at_most_s=PATIENCE_S)
        runs = ui.runs(tags=[{"key": STORM_TAG, "value": began.episode_id}])
    assert runs
    assert ended.start == began.start
    with installation.store() as store:
        rows = at.rows_of(store, FLEET_KPI)
    inside = rows["window_start"].astype("int64").between(ended.start, ended.end - 1)
    assert (rows["ingestion_mode"] == "storm").equals(inside)
    assert inside.sum() >= 5


class Live:
    """Lands what each site would send in each window, as time goes by."""

    def __init__(self, installation: Installation, config: FleetConfig) -> None:
        self.installation, self.config = installation, config
        self.start = floor_to(now_us(), 60 * SECOND) - 60 * SECOND
        self.sent = 0

    def recorded(self) -> list[StormEpisode]:
        """Return the episodes recorded so far."""
        with self.installation.store() as store:
            return [r.episode for r in store.storms.recorded(at.NAME)]

    def until(self, is_so: Callable[[], bool], *, at_most_s: float, is_rough: bool = False) -> None:
        """Send until something is so; without a deadline missed where it never can be."""
        deadline = time.monotonic() + at_most_s
        while not is_so():
            if time.monotonic() > deadline:
                assert at_most_s < PATIENCE_S, "not in time"
                return
            self.send(is_rough=is_rough)
            time.sleep(1)

    def send(self, *, is_rough: bool) -> None:
        """Land the windows that have begun since the last time."""
        end = (now_us() - self.start) // INTERVAL
        numbers = list(range(self.sent, end))
        if not numbers:
            return
        rough = numbers if is_rough else []
        rows = snapshots(
            self.config, self.start, numbers, rough=rough, every=INTERVAL, after=2 * SECOND
        )
        with self.installation.store() as store:
            at.land(store, self.config, rows, batch_id=f"live-{self.sent}")
        self.sent = end
