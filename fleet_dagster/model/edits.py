"""Partial edits of a fleet's hot settings: pure functions from one version to the next, checked by whoever records them."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from fleet_dagster.model.changes import THRESHOLDS
from fleet_dagster.model.config import HotSettings, RegionMapping
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.fleet import EPOCH, mappings_as_of, valid_from
from fleet_dagster.model.profiles import PRESETS, HealthWeights

KPI_PREFIX = "weight."
"""Starts the name of a KPI's weight, as in `weight.power_kw`."""
_SHARES = ("uptime_weight", "fault_weight")
SETTABLE = (*THRESHOLDS, "health_weights", *_SHARES, f"{KPI_PREFIX}KPI")
"""Names of the settings that can be set one by one."""


def move_site(
    settings: HotSettings,
    site_id: str,
    region_id: str,
    *,
    at: int,
    **changes: Any,  # Any: a mapping's other fields
) -> HotSettings:
    """Put a site into a region from an instant on.

    Parameters
    ----------
    settings : HotSettings
        Settings in force at or after that instant.
    site_id, region_id : str
        The site, and the region it lies in from then on.
    at : int
        The instant. [us]
    **changes : Any
        Other fields of its mapping to change, such as weight; those not named stay.

    Returns
    -------
    HotSettings
        The settings with the site moved. Mappings of the site that begin later stay as they are.
    """
    wanted = {"region_id": region_id, **changes}
    current = mappings_as_of(settings.region_mappings, at).get(site_id)
    if current is None:
        added = _unchecked(RegionMapping, {"site_id": site_id, **wanted})
        return _with(settings, region_mappings=(*settings.region_mappings, added))
    moved = current.model_copy(update=wanted)
    entries = tuple(moved if m is current else m for m in settings.region_mappings)
    return _with(settings, region_mappings=entries)


def rebaseline_site(settings: HotSettings, site_id: str, *, at: int) -> HotSettings:
    """Let a site forget what was normal before an instant.

    Parameters
    ----------
    settings : HotSettings
        Settings in force at or after that instant.
    site_id : str
        The site.
    at : int
        The instant. [us]

    Returns
    -------
    HotSettings
        The settings with `baseline_from` in every mapping of the site, later ones included: where it moves to, what was
        normal before does not come back. A mapping that forgets more already stays as it is.
    """
    since = EPOCH + dt.timedelta(microseconds=at)
    entries = tuple(
        m.model_copy(update={"baseline_from": max(since, m.baseline_from or since)})
        if m.site_id == site_id
        else m
        for m in settings.region_mappings
    )
    return _with(settings, region_mappings=entries)


def unmap_site(settings: HotSettings, site_id: str) -> HotSettings:
    """Take every mapping of a site away: it then counts as region `unmapped`."""
    entries = tuple(m for m in settings.region_mappings if m.site_id != site_id)
    return _with(settings, region_mappings=entries)


def set_values(
    settings: HotSettings, values: Mapping[str, str], kpi_names: Sequence[str]
) -> HotSettings:
    """Set thresholds and weights by name.

    Parameters
    ----------
    settings : HotSettings
        Settings to start from.
    values : mapping of str to str
        New values by name, as text; a preset's name for health_weights.
    kpi_names : sequence of str
        Names of the fleet's KPIs, in KPI order.

    Returns
    -------
    HotSettings
        The settings with those values, limits not yet checked.

    Raises
    ------
    ConfigError
        A name or a preset is unknown, or a value is no number; every problem is listed.
    """
    problems = [p for name, text in values.items() for p in _problems(name, text, kpi_names)]
    if problems:
        raise ConfigError("what is to be set", problems)
    weights = PRESETS.get(values.get("health_weights", ""), settings.health_weights)
    thresholds = {name: _number(values[name]) for name in THRESHOLDS if name in values}
    shared = {name: float(values[name]) for name in _SHARES if name in values}
    each = {
        kpi_names.index(name.removeprefix(KPI_PREFIX)): float(text)
        for name, text in values.items()
        if name.startswith(KPI_PREFIX)
    }
    shares = tuple(each.get(k, weight) for k, weight in enumerate(weights.weights))
    changed: HealthWeights = weights.model_copy(update={**shared, "weights": shares})
    return _with(settings, **thresholds, health_weights=changed)


def redate_sites(
    settings: HotSettings, mappings: Sequence[RegionMapping], first: Mapping[str, int]
) -> HotSettings:
    """Let sites follow other mappings from an instant of each on.

    Parameters
    ----------
    settings : HotSettings
        Settings to start from.
    mappings : sequence of RegionMapping
        The mappings to follow.
    first : mapping of str to int
        For each site, the instant from which on its mappings are those. [us]

    Returns
    -------
    HotSettings
        The settings; mappings of those sites that begin earlier stay, other sites stay too.
    """
    kept = [m for m in settings.region_mappings if valid_from(m) < first.get(m.site_id, 2**63)]
    new = [m for m in mappings if m.site_id in first and valid_from(m) >= first[m.site_id]]
    return _with(settings, region_mappings=(*kept, *new))


def redated_sites(
    old: Sequence[RegionMapping], new: Sequence[RegionMapping], *, before: int
) -> dict[str, int]:
    """Find the sites whose dated mappings differ in the past.

    Mappings without a date say nothing about the past: they hold from when they are put in force.

    Parameters
    ----------
    old, new : sequence of RegionMapping
        The mappings in force, and those to come.
    before : int
        Where the past ends. [us]

    Returns
    -------
    dict of str to int
        Each such site, with the first date that differs. [us]
    """
    dated = [{m for m in entries if 0 < valid_from(m) < before} for entries in (old, new)]
    first: dict[str, int] = {}
    for mapping in dated[0] ^ dated[1]:
        start = valid_from(mapping)
        first[mapping.site_id] = min(start, first.get(mapping.site_id, start))
    return first


def _problems(name: str, text: str, kpi_names: Sequence[str]) -> list[str]:
    if name == "health_weights":
        known = ", ".join(sorted(PRESETS))
        wrong = f"health_weights: found {text!r}, expected a preset. Use one of {known}"
        return [] if text in PRESETS else [wrong]
    kpi = name.removeprefix(KPI_PREFIX)
    if name.startswith(KPI_PREFIX) and kpi not in kpi_names:
        return [f"{name}: the fleet has no KPI {kpi!r}. Use one of {', '.join(kpi_names)}"]
    if not name.startswith(KPI_PREFIX) and name not in SETTABLE:
        return [f"{name}: is no setting to be set here. Use one of {', '.join(SETTABLE)}"]
    try:
        float(text)
    except ValueError:
        return [f"{name}: found {text!r}, expected a number. Write it like {name}=2.5"]
    return []


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() else number


def _with(settings: HotSettings, **changes: object) -> HotSettings:
    """Return settings with other values; their limits are checked with the whole configuration."""
    return settings.model_copy(update=changes)


def _unchecked(model: type[RegionMapping], values: dict[str, Any]) -> RegionMapping:  # Any: fields
    return model.model_construct(**values)
