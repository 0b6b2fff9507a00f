"""How a table is described as an asset: key, description, columns, kinds, owner."""

from collections.abc import Sequence

import dagster as dg

from fleet_dagster.metadata import column_schema
from fleet_dagster.model.config import NUMERICS_VERSION, FleetConfig
from fleet_dagster.model.tables import Table
from fleet_dagster.partitions import Partitions

OWNER = "team:fleet-operations"


def asset_key(config: FleetConfig, name: str) -> dg.AssetKey:
    """Return the key of one of a fleet's assets."""
    return dg.AssetKey([config.name, name])


def asset_spec(
    config: FleetConfig,
    table: Table,
    deps: Sequence[str],
    partitions: Partitions,
    *,
    made_by: str,
) -> dg.AssetSpec:
    """Describe a table as an asset; `made_by` says where its rows come from."""
    return dg.AssetSpec(
        asset_key(config, table.name),
        deps=[asset_key(config, dep) for dep in deps],
        description=_description(config, table, made_by),
        group_name=config.name,
        kinds={"deltalake", "numpy"},
        owners=[OWNER],
        code_version=NUMERICS_VERSION,
        partitions_def=partitions,
        metadata={
            "dagster/column_schema": column_schema(table, config.kpis),
            "dagster/table_name": f"{config.name}.{table.name}",
            **({"stream": f"esn/fleet/{config.name}/{table.stream}"} if table.stream else {}),
        },
    )


def _description(config: FleetConfig, table: Table, made_by: str) -> str:
    lines = [
        f"- one row per {table.grain}, windows of {config.interval_s} s",
        f"- key: {', '.join(f'`{name}`' for name in table.key)}",
        f"- made by {made_by}",
    ]
    return table.description + "\n\n" + "\n".join(lines)
