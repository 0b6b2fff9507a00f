"""Rules that the values of a configuration must keep together, and doubts: each says where, what and what to do."""

import datetime as dt
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING

from fleet_dagster.model.alerts import alert_problems
from fleet_dagster.model.errors import RuleError
from fleet_dagster.model.features import unknown_sources
from fleet_dagster.model.ledger import ledger_problems
from fleet_dagster.model.profiles import PROFILES
from fleet_dagster.model.streamsight import streamsight_problems
from fleet_dagster.model.tables import ALL_DOMAINS

if TYPE_CHECKING:
    from fleet_dagster.model.config import FleetConfig, RegionMapping

MAX_WEIGHT_RATIO = 1e9
"""Largest weight over smallest: up to here weighted means are exact to 1e-9 (see `core.exact`)."""
Rule = tuple[tuple[str | int, ...], str]
"""A broken rule or a doubt: where it stands, and the sentence that says so."""
_BEGINNING = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def broken_rules(config: "FleetConfig") -> list[Rule]:
    """Return the rules that a configuration breaks; empty where all values go together."""
    checks = (_size_rules, _repeat_rules, _reference_rules, _slot_rules, _date_rules, _weight_rules)
    found = [rule for check in checks for rule in check(config)]
    return [
        *found,
        *alert_problems(config.alerts),
        *ledger_problems(config.ledger),
        *streamsight_problems(config.streamsight),
    ]


def doubts(config: "FleetConfig") -> list[Rule]:
    """Return what is allowed but probably not meant; empty where nothing is in doubt."""
    # Not refused: sites that send every second are fresh at the end of a window, however long it is.
    interval_s, fresh_s = config.interval_s, config.staleness_threshold_s
    if interval_s <= fresh_s:
        return []
    is_own = "staleness_threshold_s" in config.model_fields_set
    words = (
        f"staleness_threshold_s is {fresh_s}, a window lasts {interval_s} s: a site that sends less often than every {fresh_s} s "
        f"is offline when its windows end, has no KPIs and is never scored. Set staleness_threshold_s to {2 * interval_s}, "
        "unless all sites send more often"
    )
    return [(("staleness_threshold_s" if is_own else "interval_s",), words)]


def refuse_broken(config: "FleetConfig") -> None:
    """Refuse a configuration whose values do not go together; raises RuleError."""
    broken = broken_rules(config)
    if broken:
        raise RuleError(broken)


def larger_profile(n_sites: int, n_regions: int = 0) -> str:
    """Say which profile would hold that many sites and regions."""
    for profile in sorted(PROFILES.values(), key=lambda p: p.max_sites):
        if n_sites <= profile.max_sites and n_regions <= profile.max_regions:
            return f"Use profile {profile.name!r} (up to {profile.max_sites} sites, {profile.max_regions} regions)"
    return "No profile holds more: split the sites over several fleets"


def _size_rules(config: "FleetConfig") -> Iterator[Rule]:
    sites = {m.site_id for m in config.region_mappings}
    regions = {m.region_id for m in config.region_mappings}
    profile, advice = config.profile, larger_profile(len(sites), len(regions))
    for found, limit, label in (
        (sites, profile.max_sites, "sites"),
        (regions, profile.max_regions, "regions"),
    ):
        if len(found) > limit:
            yield (
                ("region_mappings",),
                (
                    f"region_mappings name {len(found)} {label}, "
                    f"profile {profile.name!r} allows {limit}. {advice}"
                ),
            )
    for i, model in enumerate(config.ai_models or ()):
        if model.slot_id >= profile.ai_slots:
            yield (
                ("ai_models", i),
                (
                    f"ai_models use slot {model.slot_id}, profile {profile.name!r} has "
                    f"{profile.ai_slots} (numbered from 0). Renumber it or use a larger profile"
                ),
            )
    n_weights = config.health_weights.weight_count
    if n_weights < len(config.kpis):
        yield (
            ("health_weights",),
            (
                f"health_weights has {n_weights} weights for {len(config.kpis)} kpis. "
                "Give one weight per KPI (0 to leave one out)"
            ),
        )


def _repeat_rules(config: "FleetConfig") -> Iterator[Rule]:
    names = [k.name for k in config.kpis]
    for i in _repeats(names):
        yield ("kpis", i), f"kpis repeat name {names[i]!r}. Rename one of them"
    places = [(m.site_id, m.valid_from) for m in config.region_mappings]
    for i in _repeats(places):
        words = f"region_mappings repeat site {places[i][0]!r}. Keep one per site and valid_from"
        yield ("region_mappings", i), words
    slots = [m.slot_id for m in config.ai_models or ()]
    for i in _repeats(slots):
        yield ("ai_models", i), f"ai_models repeat slot_id {slots[i]}. Give each model its own slot"


def _reference_rules(config: "FleetConfig") -> Iterator[Rule]:
    sites = {m.site_id for m in config.region_mappings}
    for i, m in enumerate(config.region_mappings):
        for stranger in [s for s in m.depends_on if s not in sites or s == m.site_id][:1]:
            yield (
                ("region_mappings", i, "depends_on"),
                (
                    f"region_mappings: site {m.site_id!r} depends_on {stranger!r}, "
                    "which is not another mapped site. Add it or fix the name"
                ),
            )
    for name in sorted(set(config.source.kpis) - set(config.kpi_names)):
        yield (
            ("source", "kpis", name),
            (
                f"source.kpis names {name!r}, which is not one of the kpis. "
                "Add the KPI or remove the column"
            ),
        )


def _slot_rules(config: "FleetConfig") -> Iterator[Rule]:
    domains = {ALL_DOMAINS, *(kpi.domain for kpi in config.kpis)}
    for i, slot in enumerate(config.ai_models or ()):
        if slot.domain not in domains:
            yield (
                ("ai_models", i, "domain"),
                (
                    f"ai_models: slot {slot.slot_id} analyses domain {slot.domain!r}, of which the fleet has no KPI. "
                    f"Use one of {', '.join(sorted(domains))}"
                ),
            )
        for source in unknown_sources(slot.features, config.kpi_names)[:1]:
            yield (
                ("ai_models", i, "features"),
                (
                    f"ai_models: slot {slot.slot_id} is fed {source!r}, which is neither a KPI of the fleet nor a value of "
                    "a site. Fix the name, or see the list in docs/reference/features.md"
                ),
            )
        if slot.rate_limit_hz * config.interval_s < 1:
            yield (
                ("ai_models", i, "rate_limit_hz"),
                (
                    f"ai_models: slot {slot.slot_id} has a rate limit of {slot.rate_limit_hz:g} Hz, less than one inference "
                    f"in a window of {config.interval_s} s. Raise it to {1 / config.interval_s:.3g} or more, or disable the slot"
                ),
            )


def _date_rules(config: "FleetConfig") -> Iterator[Rule]:
    if config.end_date is not None and config.end_date < config.start_date:
        yield (
            ("end_date",),
            f"end_date {config.end_date} is before start_date {config.start_date}. Swap the two",
        )


def _weight_rules(config: "FleetConfig") -> Iterator[Rule]:
    for region in _weightless_regions(config.region_mappings):
        yield (
            ("region_mappings",),
            (
                f"region_mappings: every site of region {region!r} has weight 0 from some instant on. "
                "Give at least one a weight above 0"
            ),
        )
    weights = [m.weight for m in config.region_mappings if m.weight > 0]
    if weights and min(weights) * MAX_WEIGHT_RATIO < max(weights):
        yield (
            ("region_mappings",),
            (
                f"region_mappings: weights span {min(weights):g} to {max(weights):g}, a ratio of at most "
                f"{MAX_WEIGHT_RATIO:g} is allowed. Give all weights in one unit, or 0 to leave a site out"
            ),
        )


def _weightless_regions(mappings: "Sequence[RegionMapping]") -> list[str]:
    """Return the regions that at some instant have sites but no weight."""
    ordered = sorted(mappings, key=lambda m: m.valid_from or _BEGINNING)
    found: set[str] = set()
    for instant in {m.valid_from or _BEGINNING for m in ordered}:
        current = {m.site_id: m for m in ordered if (m.valid_from or _BEGINNING) <= instant}
        weights: dict[str, float] = {}
        for m in current.values():
            weights[m.region_id] = weights.get(m.region_id, 0.0) + m.weight
        found |= {region for region, weight in weights.items() if weight <= 0}
    return sorted(found)


def _repeats(keys: Sequence[Hashable]) -> list[int]:
    """Return the positions of keys that stood before."""
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    return [i for i, key in enumerate(keys) if first[key] != i]
