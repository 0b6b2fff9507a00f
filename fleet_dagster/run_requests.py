"""Requests for runs of a fleet's windows job, as schedules and sensors make them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import dagster as dg

from fleet_dagster.core.windows import Span
from fleet_dagster.model.config import FleetConfig

if TYPE_CHECKING:
    from fleet_dagster.storage.store import Store

STORM_TAG = "fleet/storm_episode"
"""Run tag: the newest storm episode of the partition when the run was requested."""
STORM_CONFIG = "storm_episode"


def windows_run(
    config: FleetConfig,
    partition_key: str,
    *,
    run_key: str,
    storm: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> dg.RunRequest:
    """Request one partition of a fleet, tagged and configured with the storm episode that is on."""
    named = {STORM_TAG: storm} if storm else {}
    return dg.RunRequest(
        run_key=run_key,
        partition_key=partition_key,
        tags={**(tags or {}), **named},
        run_config=ingest_config(config, storm) if storm else {},
    )


def storm_in(store: "Store", config: FleetConfig, span: Span) -> str | None:
    """Return the newest storm episode of a span, if any."""
    found = store.storms.recorded(config.name, span)
    return found[-1].episode.episode_id if found else None


def ingest_op(config: FleetConfig) -> str:
    """Return the name of the op that ingests a fleet."""
    return f"{config.name}__site_ingest"


def ingest_config(config: FleetConfig, storm: str) -> dict[str, object]:
    """Return the run config that names the storm episode a run is for."""
    return {"ops": {ingest_op(config): {"config": {STORM_CONFIG: storm}}}}
