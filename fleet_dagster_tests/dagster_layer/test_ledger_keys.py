"""A ledger without keys rests; one that has lost its keys says so wherever somebody looks."""

import datetime as dt
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fleet_dagster.definitions import build_defs
from fleet_dagster.ledger.keystore import KeyStore
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.storage.installation import Installation
from fleet_dagster_tests.dagster_layer.plants import content, install
from fleet_dagster_tests.ledger import tampering as t
from fleet_dagster_tests.streams import fleet_windows as fw


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """Return a fleet with a window that is not recorded."""
    place = install(tmp_path, content(interval_s=3600, staleness_threshold_s=3600))
    with place.store() as store:
        fw.write(store, {0: 0.5}, fw.span(0, 1))
    return place


def tick(
    installation: Installation, instance: dg.DagsterInstance
) -> Any:  # Any: Dagster gives what a tick returns no public name
    """Return what the schedule decides."""
    defs = build_defs(installation)
    with dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=dt.datetime(2026, 1, 6, tzinfo=dt.UTC),
        repository_def=defs.get_repository_def(),
        resources=defs.resources,
    ) as context:
        return defs.resolve_schedule_def("plant_ledger_schedule").evaluate_tick(context)


def test_a_ledger_without_keys_rests(
    installation: Installation, lasting_instance: dg.DagsterInstance
) -> None:
    found = tick(installation, lasting_instance)
    assert not found.run_requests
    assert "no keys yet" in found.skip_message
    job = build_defs(installation).resolve_job_def("plant_ledger")
    assert job.execute_in_process().success


def test_a_ledger_that_has_lost_its_keys_fails(
    installation: Installation, lasting_instance: dg.DagsterInstance
) -> None:
    with installation.store() as store:
        keys = KeyStore.of(store, fw.CONFIG)
        keys.create()
        t.append(store)
        keys.path.rename(keys.folder / "lost.pem")
        fw.write(store, {1: 0.5}, fw.span(1, 2))
    assert len(tick(installation, lasting_instance).run_requests) == 1
    job = build_defs(installation).resolve_job_def("plant_ledger")
    with pytest.raises(LedgerError, match="there is no such file of keys"):
        job.execute_in_process()
