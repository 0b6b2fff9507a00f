"""`fleet_aggregator` as Dagster assets."""

import dagster as dg

from fleet_dagster.assets.shell import node_assets
from fleet_dagster.model import tables
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.partitions import Partitions
from fleet_dagster.refresh.refresh import Refresh


def fleet_aggregator(config: FleetConfig, partitions: Partitions) -> dg.AssetsDefinition:
    """Roll site rows up to regions and to the fleet by weight."""
    return node_assets(
        config,
        partitions,
        name="fleet_aggregator",
        description="rolls site rows up to regions and to the fleet, by weight",
        tables={
            tables.FLEET_KPI: ["site_kpi", "site_assignment", "anomaly_score"],
            tables.REGION_KPI: ["site_kpi", "site_assignment", "anomaly_score"],
        },
        refresh=Refresh.fleet_aggregator,
    )
