"""Streams as Dagster shows them: which table each follows, its columns, how long it is kept and who reads it."""

import dagster as dg

from fleet_dagster.assets.spec import OWNER, asset_key
from fleet_dagster.metadata import column_schema
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.streams import CONSUMERS, STREAMS, Stream
from fleet_dagster.storage.store import Store
from fleet_dagster.streams.standing import stream_state


def stream_key(config: FleetConfig, stream: Stream) -> dg.AssetKey:
    """Return the key of one of a fleet's streams."""
    return dg.AssetKey([config.name, "streams", stream.name])


def stream_assets(config: FleetConfig) -> list[dg.AssetSpec]:
    """Describe a fleet's streams; nothing materializes them, since a stream is its table's history."""
    return [_spec(config, stream) for stream in STREAMS.values()]


def stream_observation(store: Store, config: FleetConfig, stream: Stream) -> dg.AssetObservation:
    """Tell how a stream stands: how much there is, who follows it and how far behind they are."""
    state = stream_state(store, config, stream)
    lines = [f"| {f.cursor.consumer} | {f.n_behind:,} | {len(f.missed)} |" for f in state.followers]
    head = ["| consumer | entries behind | days missed |", "|---|---:|---:|"]
    return dg.AssetObservation(
        stream_key(config, stream),
        metadata={
            "entries": state.n_entries,
            "newest_entry": state.newest,
            "consumers": dg.MetadataValue.md("\n".join([*head, *lines])),
            "entries_behind": max((f.n_behind for f in state.followers), default=0),
        },
    )


def _spec(config: FleetConfig, stream: Stream) -> dg.AssetSpec:
    address = stream.address(config.name)
    readers = "\n".join(f"- `{name}`: {CONSUMERS[name]}" for name in stream.consumers)
    kept = config.retention.days_of(stream.table)
    return dg.AssetSpec(
        stream_key(config, stream),
        deps=[asset_key(config, stream.table.name)],
        description=(
            f"The history of `{stream.table.name}` in the order of commit, kept {kept} days. Read it with "
            f"`fleet consume {address} --consumer NAME`.\n\nMade for:\n\n{readers}"
        ),
        group_name=group_of(config),
        kinds={"stream"},
        owners=[OWNER],
        metadata={
            "stream": address,
            "kept_days": kept,
            "consumers": ", ".join(stream.consumers),
            "dagster/column_schema": column_schema(stream.table, config.kpis),
        },
    )


def group_of(config: FleetConfig) -> str:
    """Return the asset group of a fleet's streams: apart from its tables, which are materialized together."""
    return f"{config.name}_streams"
