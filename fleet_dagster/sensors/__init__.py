"""One module per sensor: a thin shell around a decision that is a plain function."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import dagster as dg

from fleet_dagster.model.config import FleetConfig
from fleet_dagster.partitions import Partitions

if TYPE_CHECKING:  # Dagster gives this class no public name
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

WindowsJob: TypeAlias = "UnresolvedAssetJobDefinition"
FleetSensor = Callable[[FleetConfig, Partitions, WindowsJob], dg.SensorDefinition]
"""Makes one of a fleet's sensors, given the job that brings its windows up to date."""
