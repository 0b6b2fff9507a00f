"""Conversion between the unit a source gives and the unit a KPI is kept in."""

import functools
import re
from typing import Any

from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ConfigError

_PLAIN_EXPONENT = re.compile(r"(?<![A-Za-z0-9_^])([A-Za-zµΩ°]+)([23])(?![0-9A-Za-z])")
_PER_SO_MANY = re.compile(r"/(\d+(?:\.\d+)?)\s*([A-Za-zµ]+)")
_EXTRA_UNITS = ("volt_ampere_reactive = volt * ampere = var",)


class UnitError(ValueError):
    """Two units cannot be converted; the message says why, without naming the KPI."""


@functools.cache
def conversion(from_unit: str, to_unit: str) -> tuple[float, float]:
    """Return (factor, offset) such that `value_to = value_from * factor + offset`.

    Raises
    ------
    UnitError
        A unit is unknown, or the two measure different things.
    """
    if from_unit.strip() == to_unit.strip():
        return 1.0, 0.0
    registry = _registry()
    source, target = _unit(registry, from_unit), _unit(registry, to_unit)
    if source.dimensionality != target.dimensionality:
        msg = f"{from_unit!r} measures {source.dimensionality}, {to_unit!r} measures {target.dimensionality}"
        raise UnitError(msg)
    at_zero, at_one = (_converted(registry, x, source, target) for x in (0.0, 1.0))
    return at_one - at_zero, at_zero


def kpi_conversions(config: FleetConfig) -> tuple[tuple[float, float], ...]:
    """Return (factor, offset) from the source's unit for each KPI of the fleet, in KPI order.

    Raises
    ------
    ConfigError
        Units that cannot be converted; every such KPI is listed.
    """
    pairs, problems = [], []
    for kpi in config.kpis:
        mapped = config.source.kpis.get(kpi.name)
        source_unit = kpi.unit if mapped is None or mapped.unit is None else mapped.unit
        try:
            pairs.append(conversion(source_unit, kpi.unit))
        except UnitError as error:
            problems.append(
                f"KPI {kpi.name!r}: source unit {source_unit!r} cannot be converted to {kpi.unit!r}: {error}. "
                f"Write a unit such as 'degC', 'kW', 'bar' or 'percent' in source.kpis.{kpi.name}.unit, or leave it out"
            )
    if problems:
        raise ConfigError(f"fleet {config.name!r}", problems)
    return tuple(pairs)


@functools.cache
def _registry() -> Any:  # Any: pint builds its registry classes at run time
    import pint  # noqa: PLC0415 - takes most of a second, and most fleets convert nothing

    registry: Any = pint.UnitRegistry()
    for definition in _EXTRA_UNITS:
        registry.define(definition)
    return registry


def _unit(registry: Any, text: str) -> Any:  # Any: pint units and quantities
    powers = _PLAIN_EXPONENT.sub(r"\1**\2", text.strip().replace("²", "**2").replace("³", "**3"))
    spelled = _PER_SO_MANY.sub(r"/(\1*\2)", powers)
    try:
        return registry.parse_units(spelled)
    except Exception as error:
        scaled = _scaled_unit(registry, spelled)
        if scaled is None:
            msg = f"unit {text!r} is unknown"
            raise UnitError(msg) from error
        return scaled


def _scaled_unit(registry: Any, spelled: str) -> Any | None:  # Any: see _unit
    """Return a quantity for units with a number in them, such as l/100km; None if that fails too."""
    try:
        quantity = registry.parse_expression(spelled)
    except Exception:  # noqa: BLE001 - pint lets tokenizer, syntax and lookup errors of many types through
        return None
    return quantity if hasattr(quantity, "dimensionality") else None


def _converted(registry: Any, value: float, source: Any, target: Any) -> float:  # Any: see _unit
    try:
        start = value * source if hasattr(source, "magnitude") else registry.Quantity(value, source)
        if not hasattr(target, "magnitude"):
            return float(start.to(target).magnitude)
        return float(start.to(target.units).magnitude / target.magnitude)
    except Exception as error:
        msg = f"no formula leads from one to the other ({error})"
        raise UnitError(msg) from error
