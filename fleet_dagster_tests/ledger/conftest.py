import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_dagster.storage.control.engine import Control


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a control database with all tables and no rows."""
    path = tmp_path_factory.mktemp("ledger") / "control.db"
    control = Control(f"sqlite:///{path}")
    control.migrate()
    control.dispose()
    return path


@pytest.fixture
def control(empty_database: Path, tmp_path: Path) -> Iterator[Control]:
    """Return a control database of its own."""
    path = tmp_path / "control.db"
    shutil.copyfile(empty_database, path)
    opened = Control(f"sqlite:///{path}")
    yield opened
    opened.dispose()
