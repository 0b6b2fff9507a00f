from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.at(at.new_home(tmp_path / "home")) as opened:
        yield opened
