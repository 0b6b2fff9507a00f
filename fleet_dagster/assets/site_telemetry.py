"""`site_telemetry`: the landed snapshots, which Dagster knows but does not make."""

import dagster as dg

from fleet_dagster.assets.shell import asset_spec
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import SITE_TELEMETRY
from fleet_dagster.partitions import Partitions


def site_telemetry(config: FleetConfig, partitions: Partitions) -> dg.AssetSpec:
    """Describe what is landed by `fleet import` and other sources."""
    spec = asset_spec(config, SITE_TELEMETRY, [], partitions)
    return spec.replace_attributes(kinds={"deltalake"}, code_version=None)
