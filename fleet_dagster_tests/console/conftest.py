from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet_dagster.core.windows import DAY, HOUR, MINUTE
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.incidents import change, record

CONFIG = at.plant(n_sites=12, n_regions=3, interval_s=1800, staleness_threshold_s=2400)
END = at.FIRST + DAY
SITES = [m.site_id for m in CONFIG.region_mappings]


@pytest.fixture(scope="session")
def a_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an installation with one computed day and two open incidents, which no test changes."""
    folder = tmp_path_factory.mktemp("console")
    file = folder / "fleets" / "plant.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(CONFIG.model_dump(mode="json")), encoding="utf-8")
    raw = at.telemetry(1, n_sites=12, n_regions=3, step_s=600)
    with Store.at(at.new_home(folder / "home")) as store:
        at.land(store, CONFIG, raw, batch_id="day")
        at.refresh_all(store, CONFIG, at.days(0, 1))
        many: dict[str, Any] = {"sites": SITES[:5], "severity": "critical", "pattern": "regional"}
        unknown: dict[str, Any] = {
            "root_cause_site": None,
            "candidates": SITES[:2],
            "confidence": 0.97,
        }
        record(store, change("a" * 16, END - 2 * HOUR, sites=SITES[6:7]))
        record(store, change("b" * 16, END - 30 * MINUTE, **many, **unknown))
    return folder
