"""`region_mapper` as Dagster assets."""

import dagster as dg

from fleet_dagster.assets.shell import node_assets
from fleet_dagster.model import tables
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.partitions import Partitions
from fleet_dagster.refresh.refresh import Refresh


def region_mapper(config: FleetConfig, partitions: Partitions) -> dg.AssetsDefinition:
    """Assign every registered site to its region, as of each window."""
    return node_assets(
        config,
        partitions,
        name="region_mapper",
        description="assigns every registered site to its region, as of each window",
        tables={tables.SITE_ASSIGNMENT: []},
        refresh=Refresh.site_assignment,
    )
