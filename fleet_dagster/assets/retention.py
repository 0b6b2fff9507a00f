"""`retention`: whole days that go when their time is over."""

from typing import TYPE_CHECKING

import dagster as dg

from fleet_dagster.assets.spec import OWNER, asset_key
from fleet_dagster.assets.streams import group_of, stream_observation
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.streams import STREAMS
from fleet_dagster.resources import RESOURCE_KEY
from fleet_dagster.storage.clock import now_us
from fleet_dagster.streams.retention import Retention
from fleet_dagster.views.retention_table import missed_text, retention_table

if TYPE_CHECKING:
    from fleet_dagster.storage.store import Store

NAME = "retention"
_DESCRIPTION = (
    "Removes whole days of telemetry and tables, with the rows that restatements replaced, once their retention is over, and merges "
    "the commit log of settled days. Every removal is an entry of the log. With `dry_run`, it says what would go. Files are removed "
    "from the disk a week later, by `lake_maintenance`."
)


def retention(config: FleetConfig) -> dg.AssetsDefinition:
    """Build the asset whose materialization removes what is due."""

    @dg.asset(
        key=asset_key(config, NAME),
        description=_DESCRIPTION,
        group_name=group_of(config),
        owners=[OWNER],
        kinds={"deltalake"},
        required_resource_keys={RESOURCE_KEY},
        config_schema={
            "dry_run": dg.Field(
                bool, default_value=False, description="Say what would go, and remove nothing."
            )
        },
        op_tags={"fleet": config.name, "node": NAME},
        metadata={"telemetry_kept_days": config.telemetry_retention_days}
        | {f"{name}_kept_days": days for name, days in config.retention.model_dump().items()},
    )
    def shell(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        store: Store = getattr(context.resources, RESOURCE_KEY)
        is_dry = bool(context.op_execution_context.op_config["dry_run"])
        done = Retention(store, config, now_us(), context.log.info).run(dry_run=is_dry)
        for one in (m for d in done for m in d.missed):
            context.log.warning("fleet %s: %s", config.name, missed_text(one))
        for stream in STREAMS.values():
            context.log_event(stream_observation(store, config, stream))
        return dg.MaterializeResult(
            metadata={
                "dry_run": is_dry,
                "days_removed": sum(len(d.days) for d in done),
                "rows_removed": sum((d.n_rows or 0) + d.n_replaced for d in done),
                "log_entries_merged": sum(d.n_merged for d in done),
                "removed": dg.MetadataValue.md(retention_table(done)),
            }
        )

    return shell
