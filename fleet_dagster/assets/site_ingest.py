"""`site_ingest` as Dagster assets."""

import dagster as dg

from fleet_dagster.assets.shell import node_assets
from fleet_dagster.model import tables
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.partitions import Partitions
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.run_requests import STORM_CONFIG


def site_ingest(config: FleetConfig, partitions: Partitions) -> dg.AssetsDefinition:
    """Validate, deduplicate and reduce landed snapshots to one row per site and window."""
    return node_assets(
        config,
        partitions,
        name="site_ingest",
        description="validates, deduplicates and reduces landed snapshots",
        tables={
            tables.SITE_KPI: ["site_telemetry", "site_assignment", "baseline"],
            tables.QUARANTINE: ["site_telemetry"],
            tables.INGEST_STATS: ["site_telemetry"],
        },
        refresh=Refresh.site_ingest,
        config_schema={
            STORM_CONFIG: dg.Field(
                str,
                default_value="",
                description="Storm episode that the run was requested for. Windows always follow the recorded episodes, "
                "whatever stands here.",
            )
        },
    )
