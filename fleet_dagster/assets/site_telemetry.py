"""`site_telemetry`: the landed snapshots, which Dagster knows but does not make."""

from collections.abc import Mapping

import dagster as dg

from fleet_dagster.assets.spec import asset_key, asset_spec
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import SITE_TELEMETRY
from fleet_dagster.partitions import Partitions
from fleet_dagster.views.score_figures import Figures


def site_telemetry(config: FleetConfig, partitions: Partitions) -> dg.AssetSpec:
    """Describe what is landed by `fleet import` and other sources."""
    spec = asset_spec(config, SITE_TELEMETRY, [], partitions, made_by=_MADE_BY)
    return spec.replace_attributes(kinds={"deltalake"}, code_version=None).merge_attributes(
        metadata={"kept_days": config.telemetry_retention_days}
    )


def landed(config: FleetConfig, books: Mapping[str, Figures]) -> list[dg.AssetMaterialization]:
    """Tell which partitions hold telemetry and how much, from the books of ingest."""
    return [
        dg.AssetMaterialization(
            asset_key(config, SITE_TELEMETRY.name),
            partition=partition,
            description="Landed so far, as ingest counted it.",
            metadata={"dagster/row_count": own["landed"], "quarantined": own["quarantined"]},
            tags={"dagster/data_version": f"{own['landed']} landed"},
        )
        for partition, own in books.items()
        if own["landed"]
    ]


_MADE_BY = "landing: `fleet import` and `fleet simulate --land` append to it, so there is nothing to materialize"
