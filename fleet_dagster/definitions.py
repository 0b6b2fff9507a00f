"""`create_fleet` and the code location: every fleet of the fleets folder, plus the upkeep they share."""

import datetime as dt
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from fleet_dagster.assets.ai_inference import IN_MEMORY, ai_inference
from fleet_dagster.assets.anomaly_correlator import anomaly_correlator
from fleet_dagster.assets.anomaly_scorer import anomaly_scorer
from fleet_dagster.assets.baseline import baseline
from fleet_dagster.assets.dashboard_sink import dashboard_sink
from fleet_dagster.assets.fleet_aggregator import fleet_aggregator
from fleet_dagster.assets.ledger import ledger
from fleet_dagster.assets.performance_comparator import performance_comparator
from fleet_dagster.assets.region_mapper import region_mapper
from fleet_dagster.assets.regional_scorer import regional_scorer
from fleet_dagster.assets.retention import retention
from fleet_dagster.assets.site_ingest import site_ingest
from fleet_dagster.assets.site_telemetry import site_telemetry
from fleet_dagster.assets.streams import stream_assets
from fleet_dagster.jobs import (
    ai_inference_job,
    lake_maintenance,
    ledger_job,
    purge_event_log,
    retention_job,
    windows_job,
)
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import FLEET_KPI, REGIONAL_HEALTH, SITE_RANKING
from fleet_dagster.model.yaml_file import validate_config
from fleet_dagster.partitions import Partitions, partitions_of
from fleet_dagster.resources import (
    FILES_KEY,
    INBOX_KEY,
    RESOURCE_KEY,
    files_of,
    inbox_of,
    resource_of,
)
from fleet_dagster.schedules import (
    ai_inference_schedule,
    ledger_schedule,
    maintenance_schedule,
    purge_schedule,
    retention_schedule,
    windows_schedule,
)
from fleet_dagster.sensors import FleetSensor
from fleet_dagster.sensors.alerting import alerting_sensor
from fleet_dagster.sensors.fleet_file import fleet_file_sensor
from fleet_dagster.sensors.late_data import late_data_sensor
from fleet_dagster.sensors.storm_monitor import storm_monitor
from fleet_dagster.storage.installation import Installation
from fleet_dagster.trial_job import trial_job

_log = logging.getLogger(__name__)
WARN_AFTER, FAIL_AFTER = dt.timedelta(hours=2), dt.timedelta(days=1)
"""How long a live table may go without a materialization."""
NODES = (
    region_mapper,
    site_ingest,
    baseline,
    anomaly_scorer,
    anomaly_correlator,
    fleet_aggregator,
    regional_scorer,
    performance_comparator,
)
SENSORS: tuple[FleetSensor, ...] = (
    fleet_file_sensor,
    storm_monitor,
    late_data_sensor,
    alerting_sensor,
)


def create_fleet(
    config: FleetConfig | Mapping[str, Any], installation: Installation | None = None
) -> dg.Definitions:
    """Return the definitions of one fleet: its assets and checks, its job, its schedule and its sensors.

    `config` may be a mapping, with the content of a fleet's file. Without an installation, storage is where FLEET_HOME and
    its kin point when a run starts.

    Raises
    ------
    ConfigError
        The mapping breaks a rule; every problem is listed.
    """
    if not isinstance(config, FleetConfig):
        config = validate_config(dict(config), source="config")
    partitions = partitions_of(config)
    job, removal, recording = windows_job(config), retention_job(config), ledger_job(config)
    sensors = [sensor(config, partitions, job) for sensor in SENSORS]
    nodes = [node(config, partitions) for node in NODES]
    models = _models(config, partitions) if config.profile.ai_slots else dg.Definitions()
    own = dg.Definitions(
        assets=[
            site_telemetry(config, partitions),
            *dg.map_asset_specs(_watched, nodes),
            *stream_assets(config),
            retention(config),
            ledger(config),
            dashboard_sink(config),
        ],
        jobs=[job, trial_job(config), removal, recording],
        schedules=[
            windows_schedule(config, partitions, job),
            retention_schedule(config, removal),
            ledger_schedule(config, recording),
        ],
        sensors=sensors,
        resources={
            RESOURCE_KEY: resource_of(installation),
            FILES_KEY: files_of(installation),
            INBOX_KEY: inbox_of(installation),
        },
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(own, models)


def _models(config: FleetConfig, partitions: Partitions) -> dg.Definitions:
    """Return the definitions of a fleet's AI slots."""
    job = ai_inference_job(config)
    return dg.Definitions(
        assets=[ai_inference(config, partitions)],
        jobs=[job],
        schedules=[ai_inference_schedule(config, partitions, job)],
        resources={IN_MEMORY: dg.mem_io_manager},
        executor=dg.in_process_executor,
    )


def _watched(spec: dg.AssetSpec) -> dg.AssetSpec:
    """Let Dagster tell when a table that people look at has not been brought up to date."""
    if spec.key.path[-1] not in {t.name for t in (FLEET_KPI, REGIONAL_HEALTH, SITE_RANKING)}:
        return spec
    policy = dg.FreshnessPolicy.time_window(fail_window=FAIL_AFTER, warn_window=WARN_AFTER)
    return spec.replace_attributes(freshness_policy=policy)


def upkeep(installation: Installation | None = None) -> dg.Definitions:
    """Return the definitions that the fleets of one installation share."""
    tidy = lake_maintenance()
    return dg.Definitions(
        jobs=[tidy, purge_event_log],
        schedules=[maintenance_schedule(tidy), purge_schedule()],
        resources={RESOURCE_KEY: resource_of(installation)},
        executor=dg.in_process_executor,
    )


def build_defs(installation: Installation | None = None) -> dg.Definitions:
    """Return everything in the code location: the fleets of the installation's folder, and their upkeep.

    A fleet whose file is invalid runs as it was last accepted, or is left out; the others never notice.
    """
    place = installation or Installation.from_environment(os.environ, folder=Path.cwd())
    standing = place.standing()
    for one in standing.invalid:
        _log.warning("%s", one)
    configs = list(standing.configs.values())
    return dg.Definitions.merge(*(create_fleet(c, place) for c in configs), upkeep(place))


@dg.definitions
def defs() -> dg.Definitions:
    """Load the code location; nothing happens when this module is merely imported."""
    return build_defs()
