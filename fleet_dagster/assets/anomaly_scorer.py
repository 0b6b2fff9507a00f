"""`anomaly_scorer` as a Dagster asset."""

import dagster as dg

from fleet_dagster.assets.shell import node_assets
from fleet_dagster.model import tables
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.partitions import Partitions
from fleet_dagster.refresh.refresh import Refresh


def anomaly_scorer(config: FleetConfig, partitions: Partitions) -> dg.AssetsDefinition:
    """Score how far each site is from its own normal, and say which KPIs make it so."""
    return node_assets(
        config,
        partitions,
        name="anomaly_scorer",
        description="scores how far each site is from its own normal, and says which KPIs make it so",
        tables={tables.ANOMALY_SCORE: ["site_kpi", "site_assignment", "baseline_model"]},
        refresh=Refresh.anomaly_scorer,
    )
