"""Reports of nodes on PostgreSQL, whose writers do not queue up by themselves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.storage.test_node_reports import check_that_nothing_is_lost
from fleet_dagster_tests.telemetry.busy_fleet import compute, figures

pytestmark = pytest.mark.services


@pytest.fixture
def store(control_url: str, tmp_path: Path) -> Iterator[Store]:
    with Store.of(str(tmp_path / "lake"), control_url) as opened:
        yield opened


def test_processes_that_record_at_once_lose_nothing(store: Store) -> None:
    check_that_nothing_is_lost(store)


def test_figures_are_those_of_the_tables(store: Store) -> None:
    config = at.coarse()
    at.land(store, config, at.telemetry(1, step_s=600), batch_id="first")
    compute(store, config)
    found = figures(store, config)
    assert found["fleet_stream_windows_total", "append", "fleet_kpi_stream"] == 12
    assert found["fleet_node_windows_total", "site_ingest"] == 12
