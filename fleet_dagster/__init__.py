"""Fleet Dagster: how healthy a fleet of industrial sites is, minute by minute, as Dagster assets.

The names below are the public ones. They are loaded on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleet_dagster.component import FleetAggregation
    from fleet_dagster.core.health import compute_health_score
    from fleet_dagster.core.ranking import detect_outlier
    from fleet_dagster.definitions import create_fleet
    from fleet_dagster.model.config import FleetConfig, Kpi, RegionMapping
    from fleet_dagster.model.profiles import (
        FleetProfile,
        HealthWeights,
        default_weights_energy,
        default_weights_logistics,
        default_weights_manufacturing,
        fleet_profile_large,
        fleet_profile_medium,
        fleet_profile_small,
    )
    from fleet_dagster.model.slots import AIModelSlot
    from fleet_dagster.nodes.anomaly_correlator import correlate_anomalies

__version__ = "0.1.0"

_HOMES = {
    "FleetAggregation": "component",
    "create_fleet": "definitions",
    "compute_health_score": "core.health",
    "correlate_anomalies": "nodes.anomaly_correlator",
    "detect_outlier": "core.ranking",
    "AIModelSlot": "model.slots",
    "FleetConfig": "model.config",
    "Kpi": "model.config",
    "RegionMapping": "model.config",
    "FleetProfile": "model.profiles",
    "HealthWeights": "model.profiles",
    "default_weights_energy": "model.profiles",
    "default_weights_logistics": "model.profiles",
    "default_weights_manufacturing": "model.profiles",
    "fleet_profile_large": "model.profiles",
    "fleet_profile_medium": "model.profiles",
    "fleet_profile_small": "model.profiles",
}

__all__ = [
    "AIModelSlot",
    "FleetAggregation",
    "FleetConfig",
    "FleetProfile",
    "HealthWeights",
    "Kpi",
    "RegionMapping",
    "compute_health_score",
    "correlate_anomalies",
    "create_fleet",
    "default_weights_energy",
    "default_weights_logistics",
    "default_weights_manufacturing",
    "detect_outlier",
    "fleet_profile_large",
    "fleet_profile_medium",
    "fleet_profile_small",
]


def __getattr__(name: str) -> object:
    """Load a public name from its module."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names, which Dagster's component discovery reads."""
    return sorted({*globals(), *__all__})
