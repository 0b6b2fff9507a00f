"""`performance_comparator` as Dagster assets."""

import dagster as dg

from fleet_dagster.assets.shell import node_assets
from fleet_dagster.model import tables
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.partitions import Partitions
from fleet_dagster.refresh.refresh import Refresh


def performance_comparator(config: FleetConfig, partitions: Partitions) -> dg.AssetsDefinition:
    """Rank sites within region and fleet and find the odd ones out."""
    return node_assets(
        config,
        partitions,
        name="performance_comparator",
        description="ranks sites within region and fleet, and finds the odd ones out",
        tables={tables.SITE_RANKING: ["site_kpi", "site_assignment", "baseline"]},
        refresh=Refresh.performance_comparator,
    )
