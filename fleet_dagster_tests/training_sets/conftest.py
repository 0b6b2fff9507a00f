import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at


@pytest.fixture(scope="session")
def three_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of an installation with three computed days, which no test changes."""
    home = tmp_path_factory.mktemp("three") / "home"
    with Store.at(at.new_home(home)) as store:
        at.land(store, at.coarse(), at.telemetry(3, step_s=600), batch_id="all")
        at.refresh_all(store, at.coarse(), at.days(0, 3))
    return home


@pytest.fixture
def store(three_days: Path, tmp_path: Path) -> Iterator[Store]:
    shutil.copytree(three_days, tmp_path / "home")
    with Store.at(at.new_home(tmp_path / "home")) as opened:
        yield opened
