"""`dashboard_sink`: the newest of all tables as one document, in a file for wall displays and other programs."""

import datetime as dt
from typing import TYPE_CHECKING, Any

import dagster as dg

from fleet_dagster.assets.spec import OWNER, asset_key
from fleet_dagster.assets.streams import group_of
from fleet_dagster.dashboard.documents import Document, document_of, encoded
from fleet_dagster.dashboard.gathering import Gathering
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import (
    ANOMALY_SCORE,
    FLEET_CORRELATION,
    FLEET_KPI,
    REGIONAL_HEALTH,
    SITE_KPI,
    SITE_RANKING,
)
from fleet_dagster.resources import RESOURCE_KEY
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.durable import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from fleet_dagster.storage.store import Store

NAME = "dashboard_snapshot"
_READ = (FLEET_KPI, REGIONAL_HEALTH, SITE_KPI, SITE_RANKING, ANOMALY_SCORE, FLEET_CORRELATION)
_DESCRIPTION = (
    "The fleet as it stands in its newest window, whichever partition a run is about: health, regions, sites, incidents and how "
    "the figures came to be, in one JSON file. It is the document that `fleet dashboard` pushes to its pages; the file is for "
    "wall displays and other programs, and is replaced as a whole."
)


def dashboard_sink(config: FleetConfig) -> dg.AssetsDefinition:
    """Build the asset whose materialization writes the newest snapshot; it has no partitions, since it is about now."""

    @dg.asset(
        key=asset_key(config, NAME),
        deps=[asset_key(config, table.name) for table in _READ],
        description=_DESCRIPTION,
        group_name=group_of(config),
        owners=[OWNER],
        kinds={"json"},
        required_resource_keys={RESOURCE_KEY},
        op_tags={"fleet": config.name, "node": "dashboard_sink"},
    )
    def shell(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        store: Store = getattr(context.resources, RESOURCE_KEY)
        return dg.MaterializeResult(metadata=written(store, config))

    return shell


def written(store: "Store", config: FleetConfig) -> dict[str, Any]:  # Any: metadata
    """Write the newest snapshot; returns what Dagster is told of it."""
    now, path = now_us(), store.snapshots / f"{config.name}.json"
    document = document_of(Gathering(store, config).snapshot(now))
    content = encoded(document)
    with replacing(path) as partial:
        partial.write_bytes(content)
    return _figures(document, path, len(content))


def _figures(document: Document, path: "Path", size: int) -> dict[str, Any]:  # Any: metadata
    told: dict[str, Any] = {  # Any: metadata
        "path": dg.MetadataValue.path(str(path)),
        "size_bytes": size,
        "sites": document["total_sites"],
        "incidents_open": sum(one["is_open"] for one in document["incidents"]),
    }
    if document["window"] is None:
        return told
    return {
        **told,
        "window_end": document["window"]["end"],
        "window_age_s": _age_s(document),
        "health": document["health"]["score"],
        "coverage": document["coverage"],
        "regions": dg.MetadataValue.md(_region_table(document)),
    }


def _age_s(document: Document) -> float:
    taken, end = (
        dt.datetime.fromisoformat(text)
        for text in (document["taken_at"], document["window"]["end"])
    )
    return (taken - end).total_seconds()


def _region_table(document: Document) -> str:
    lines = ["| region | health | band | online / sites |", "|---|---:|---|---:|"]
    lines += [
        f"| {r['region_id'].replace('|', '')} | {r['health']['score']:.3f} | {r['health']['band']} "
        f"| {r['online']} / {r['n_sites']} |"
        for r in document["regions"]
    ]
    return "\n".join(lines)
