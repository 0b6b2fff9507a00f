from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.at(tmp_path / "home") as opened:
        yield opened
