"""Fleets of real machines, made from `../shared/data`; a simulated fleet stands in where that folder is absent.

The data has neither units nor meanings: sixteen metrics are taken, those that vary most in training, and less is better.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from fleet_dagster.core.windows import DAY
from fleet_dagster.ingest.simulator import Scenario, demo_config, simulate
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import N_KPIS

DATA = Path(__file__).parents[2] / "shared" / "data"
START = dt.date(2026, 1, 5)
START_US = 1_767_571_200_000_000
STAND_IN_DAYS = 3


@dataclass(frozen=True, slots=True)
class RealFleet:
    """A fleet file's content, and the telemetry file that belongs to it."""

    content: dict[str, Any]  # Any: what YAML holds
    telemetry: Path
    first_day: str
    last_day: str


def server_machines(folder: Path) -> RealFleet:
    """Return the Server Machine Dataset: 4 servers in 3 groups, one snapshot a minute for 33 days."""
    return _fleet(DATA / "smd", folder, name="smd", interval_s=60, staleness_threshold_s=120)


def application_servers(folder: Path) -> RealFleet:
    """Return the Application Server Dataset: 6 servers in 2 racks, one snapshot in 5 minutes for 45 days."""
    return _fleet(DATA / "asd", folder, name="asd", interval_s=300, staleness_threshold_s=600)


def _fleet(source: Path, folder: Path, **settings: Any) -> RealFleet:  # Any: fields of a config
    if not source.is_dir():
        return _stand_in(folder, **settings)
    file = source / "telemetry.parquet"
    rows = pd.read_parquet(file)
    kpis = _kpis(_training_rows(rows, source))
    content = {
        "profile": "small",
        "start_date": START.isoformat(),
        "health_weights": "logistics",
        "kpis": kpis,
        "region_mappings": pd.read_csv(source / "regions.csv").to_dict("records"),
        "source": {"kpis": {kpi["name"]: {"column": kpi["name"]} for kpi in kpis}},
        **settings,
    }
    last = rows["timestamp"].max().date().isoformat()
    return RealFleet(content, file, START.isoformat(), last)


def _training_rows(rows: pd.DataFrame, source: Path) -> pd.DataFrame:
    """Return the rows before each site's labels begin."""
    labels = pd.read_parquet(source / "labels.parquet")
    tested_from = rows["site_id"].map(labels.groupby("site_id")["timestamp"].min())
    return rows[rows["timestamp"] < tested_from].drop(columns=["timestamp", "site_id"])


def _kpis(training: pd.DataFrame) -> list[dict[str, Any]]:  # Any: what YAML holds
    widest = training.std().sort_values(ascending=False, kind="stable").index[:N_KPIS]
    return [
        {
            "name": metric,
            "unit": "1",
            "lo": float(training[metric].min()),
            "hi": float(training[metric].max()),
            "direction": "lower",
            "domain": "server",
        }
        for metric in sorted(widest)
    ]


def _stand_in(folder: Path, **settings: Any) -> RealFleet:  # Any: fields of a config
    content = demo_config(settings["name"], "mixed", n_sites=4, n_regions=3, start_date=START)
    content = {**content, **settings, "source": {}}
    scenario = Scenario(kind="mixed", n_sites=4, n_regions=3, step_s=settings["interval_s"])
    config = FleetConfig.model_validate(content)
    rows = simulate(config, scenario, START_US, START_US + STAND_IN_DAYS * DAY).telemetry
    file = folder / f"{settings['name']}.parquet"
    pq.write_table(rows.drop_columns(["received_at"]), file)
    last = START + dt.timedelta(days=STAND_IN_DAYS - 1)
    return RealFleet(content, file, START.isoformat(), last.isoformat())
