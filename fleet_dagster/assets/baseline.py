"""`baseline` as Dagster assets: trained on training days, in force until the next."""

import dagster as dg

from fleet_dagster.assets.shell import node_assets
from fleet_dagster.model import tables
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.partitions import Partitions
from fleet_dagster.refresh.refresh import Refresh


def baseline(config: FleetConfig, partitions: Partitions) -> dg.AssetsDefinition:
    """Learn what normal looks like: centre and scale of each KPI, their spectrum together, and how far normal windows stray."""
    return node_assets(
        config,
        partitions,
        name="baseline",
        description="learns what normal looks like on training days (daily for two weeks, then Mondays); other days rest on the last one",
        tables={
            tables.BASELINE: ["site_telemetry", "site_assignment"],
            tables.BASELINE_MODEL: ["site_telemetry", "site_assignment"],
        },
        refresh=Refresh.baselines,
    )
