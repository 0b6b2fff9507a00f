import subprocess
import sys
from pathlib import Path

import pytest

import fleet_dagster

BLOCK = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"dagster", "dagster_shared", "dagster_pipes", "dagster_graphql"}:
            raise ImportError(name)

sys.meta_path.insert(0, Block())
"""
NUMERICS = """
import numpy as np
import pandas as pd
from fleet_dagster import FleetConfig, compute_health_score, default_weights_energy, detect_outlier
from fleet_dagster.core.windows import HOUR, Span
from fleet_dagster.ingest.simulator import demo_config, demo_scenario, simulate
from fleet_dagster.ingest.snapshots import landed_table
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.store import Store
from pathlib import Path

assert compute_health_score(np.ones(16), default_weights_energy(), 100.0, 0) == 1.0
config = FleetConfig.model_validate(demo_config("p", "mixed", n_sites=4, n_regions=2, start_date="2026-01-01"))
start = 1_767_225_600_000_000
raw = simulate(config, demo_scenario("mixed", n_sites=4, n_regions=2), start, start + HOUR).telemetry
with Store.at(Path(sys.argv[1])) as store:
    store.registry.apply(config)
    rows = landed_table(config, raw, batch_id="b", received_at_us=start + HOUR, historical=False,
                        admit=lambda seen: store.registry.admit(config, seen))
    store.landing.append("p", rows, batch_id="b", idempotency_key="b", source="s", historical=False)
    outcomes = Refresh(store, config).everything(Span(start, start + HOUR))
print(sum(o.rows_written for o in outcomes))
"""
PUBLIC = {
    "AIModelSlot",
    "FleetAggregation",
    "FleetConfig",
    "FleetProfile",
    "HealthWeights",
    "Kpi",
    "RegionMapping",
    "compute_health_score",
    "correlate_anomalies",
    "create_fleet",
    "default_weights_energy",
    "default_weights_logistics",
    "default_weights_manufacturing",
    "detect_outlier",
    "fleet_profile_large",
    "fleet_profile_medium",
    "fleet_profile_small",
}


def python(code: str, *words: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_names_are_these() -> None:
    assert set(fleet_dagster.__all__) == PUBLIC
    assert set(dir(fleet_dagster)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(fleet_dagster, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fleet'"):
        _ = fleet_dagster.fleet


def test_importing_the_package_pulls_in_neither_dagster_nor_pandas() -> None:
    heavy = "{'dagster', 'pandas', 'numpy', 'pyarrow', 'sqlalchemy', 'deltalake'}"
    found = python(f"import sys, fleet_dagster; print(sorted({heavy} & set(sys.modules)))")
    assert found.strip() == "[]"


def test_importing_the_definitions_looks_at_no_folder(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("name: [", encoding="utf-8")
    code = (
        "import os, sys; os.environ['FLEET_FLEETS'] = sys.argv[1]; import fleet_dagster.definitions"
    )
    assert python(code, str(tmp_path)) == ""


def test_a_fleet_is_ingested_and_computed_where_dagster_is_not_installed(tmp_path: Path) -> None:
    assert int(python(BLOCK + NUMERICS, str(tmp_path))) > 0


def test_the_block_of_dagster_works() -> None:
    with pytest.raises(AssertionError, match="ImportError: dagster"):
        python(BLOCK + "import fleet_dagster.definitions")
