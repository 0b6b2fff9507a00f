"""`FleetAggregation`: a fleet as a Dagster component, configured by YAML."""

import datetime as dt
from typing import Any

import dagster as dg
from dagster.components.component_scaffolding import scaffold_component
from pydantic import BaseModel, ConfigDict

from fleet_dagster.definitions import create_fleet
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.profiles import PRESETS, PROFILES


def _allow_names(schema: dict[str, Any]) -> None:  # Any: JSON
    """Let the profile and the weights be given by name as well as spelled out."""
    for field, known in (("profile", PROFILES), ("health_weights", PRESETS)):
        spelled = schema["properties"][field]
        schema["properties"][field] = {"anyOf": [{"enum": sorted(known)}, spelled]}


class FleetAttributes(FleetConfig):
    """A fleet's configuration with the schema that `dg check yaml` and editors go by."""

    model_config = ConfigDict(json_schema_extra=_allow_names)


class FleetScaffolder(dg.Scaffolder[Any]):
    """Writes the defaults of a new fleet for `dg scaffold defs`."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write a small fleet named after its folder."""
        name = "".join(c if c.isalnum() else "_" for c in request.target_path.name.lower())
        scaffold_component(request, starter(name if name[:1].isalpha() else f"fleet_{name}"))


@dg.scaffold_with(FleetScaffolder)
class FleetAggregation(dg.Component):
    """Aggregate a fleet of industrial sites: health, rankings and outliers by region and fleet."""

    def __init__(self, config: FleetConfig) -> None:
        self.config = config

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Describe the component in listings."""
        return dg.ComponentTypeSpec(
            description=cls.__doc__,
            tags=["fleet", "telemetry", "health"],
            owners=["team:fleet-operations"],
        )

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return the model of the component's attributes: the fleet's configuration itself."""
        return FleetAttributes

    @classmethod
    def load(
        cls, attributes: BaseModel | None, context: dg.ComponentLoadContext
    ) -> "FleetAggregation":
        """Build the component from its YAML attributes; text fields may hold templates."""
        raw = {} if attributes is None else attributes.model_dump(exclude_unset=True)
        return cls(FleetConfig.model_validate(context.resolution_context.resolve_value(raw)))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002 - Dagster's signature
        """Return the fleet's definitions."""
        return create_fleet(self.config)


def starter(name: str) -> dict[str, Any]:
    """Return a small valid configuration to start from."""
    return {
        "name": name,
        "profile": "small",
        "start_date": dt.date(2026, 1, 1).isoformat(),
        "health_weights": "energy",
        "kpis": [
            {
                "name": "power_kw",
                "unit": "kW",
                "lo": 0,
                "hi": 250,
                "direction": "higher",
                "domain": "electrical",
            },
            {
                "name": "temperature_c",
                "unit": "degC",
                "lo": 20,
                "hi": 120,
                "direction": "lower",
                "domain": "thermal",
            },
        ],
        "region_mappings": [
            {"site_id": "site-1", "region_id": "north"},
            {"site_id": "site-2", "region_id": "south"},
        ],
    }
