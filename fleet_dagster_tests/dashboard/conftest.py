import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.core.windows import HOUR, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.dashboard.serving import Served, served

PLANT: FleetConfig = at.plant(n_sites=12, n_regions=3, interval_s=1800, staleness_threshold_s=2400)
COMPUTED = Span(at.FIRST, at.FIRST + 12 * HOUR)
"""Windows that stand; telemetry has landed for the whole day."""


@pytest.fixture(scope="session")
def half_a_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with telemetry of a day, half of it computed, which no test changes."""
    home = at.new_home(tmp_path_factory.mktemp("dashboard") / "home")
    with Store.at(home) as store:
        raw = at.telemetry(1, n_sites=12, n_regions=3, step_s=600)
        at.land(store, PLANT, raw, batch_id="day")
        at.refresh_all(store, PLANT, COMPUTED)
    return home


@pytest.fixture
def store(half_a_day: Path, tmp_path: Path) -> Iterator[Store]:
    """Return a store of one's own, with half a day computed."""
    shutil.copytree(half_a_day, tmp_path / "home")
    with Store.at(tmp_path / "home") as store:
        yield store


@pytest.fixture
def dashboard(store: Store) -> Iterator[Served]:
    """Serve the plant, to somebody with a viewer's token."""
    with served(store, PLANT, dagster_url="http://127.0.0.1:3000") as running:
        yield running.as_("viewer")


@pytest.fixture
def store_of_minutes(tmp_path: Path) -> Iterator[Store]:
    """Return an empty store, for rows that are written by hand."""
    with Store.at(at.new_home(tmp_path / "minutes")) as store:
        yield store
