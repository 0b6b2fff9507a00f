"""`anomaly_correlator` as a Dagster asset."""

import dagster as dg

from fleet_dagster.assets.shell import node_assets
from fleet_dagster.model import tables
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.partitions import Partitions
from fleet_dagster.refresh.refresh import Refresh


def anomaly_correlator(config: FleetConfig, partitions: Partitions) -> dg.AssetsDefinition:
    """Find which anomalies belong together, since when, how sure that is, and where they began."""
    return node_assets(
        config,
        partitions,
        name="anomaly_correlator",
        description="finds which anomalies belong together, and where they began",
        tables={tables.FLEET_CORRELATION: ["anomaly_score", "site_assignment", "baseline_model"]},
        refresh=Refresh.anomaly_correlator,
    )
