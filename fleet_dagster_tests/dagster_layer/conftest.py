"""What the Dagster tests share: an instance of their own."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from fleet_dagster_tests.dagster_layer.plants import instance_in, instance_in_memory


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Return a Dagster instance that keeps its history in memory."""
    with instance_in_memory(tmp_path / "dagster") as opened:
        yield opened


@pytest.fixture
def lasting_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Return a Dagster instance that keeps its history in the test's folder, as installations do."""
    with instance_in(tmp_path / "dagster") as opened:
        yield opened
