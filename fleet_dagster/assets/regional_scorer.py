"""`regional_scorer` as Dagster assets."""

import dagster as dg

from fleet_dagster.assets.shell import node_assets
from fleet_dagster.model import tables
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.partitions import Partitions
from fleet_dagster.refresh.refresh import Refresh


def regional_scorer(config: FleetConfig, partitions: Partitions) -> dg.AssetsDefinition:
    """Score each region and name its band."""
    return node_assets(
        config,
        partitions,
        name="regional_scorer",
        description="scores each region and names its band",
        tables={tables.REGIONAL_HEALTH: ["region_kpi"]},
        refresh=Refresh.regional_scorer,
    )
