"""KPIs keep their places, and no configuration makes a fleet larger than its profile."""

from typing import Any

import pytest

from fleet_dagster.core.windows import HOUR
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import KPIS, NOON

FIRST = fleets.config()


def with_kpis(*kpis: dict[str, Any], **changes: Any) -> FleetConfig:
    return fleets.config(kpis=[dict(kpi) for kpi in kpis], **changes)


MOVED = [
    with_kpis(KPIS[1], KPIS[0], KPIS[2]),
    with_kpis(KPIS[0], KPIS[1]),
    with_kpis({**KPIS[0], "unit": "MW"}, KPIS[1], KPIS[2]),
    with_kpis({"name": "other"}, *KPIS[1:]),
]


@pytest.mark.parametrize("moved", MOVED, ids=["swapped", "removed", "another unit", "replaced"])
def test_kpis_that_moved_are_refused_at_both_doors_though_no_setting_changed(
    store: Store, moved: FleetConfig
) -> None:
    store.registry.apply(FIRST)
    assert moved.hot == FIRST.hot
    with pytest.raises(ConfigError, match=r"no longer has its place .* or unit.*Put it back"):
        store.registry.apply(moved)
    with pytest.raises(ConfigError, match="no longer has its place"):
        store.registry.ensure(moved)
    assert not store.registry.apply(FIRST)


@pytest.mark.parametrize("door", ["apply", "ensure"])
def test_a_kpi_that_was_appended_may_not_move_from_then_on(store: Store, door: str) -> None:
    store.registry.apply(FIRST)
    new = {"name": "noise", "unit": "dB"}
    getattr(store.registry, door)(with_kpis(*KPIS, new))
    for moved in (FIRST, with_kpis(*KPIS, {"name": "hum"}), with_kpis(*KPIS, {**new, "unit": "B"})):
        with pytest.raises(ConfigError, match="'noise'"):
            store.registry.ensure(moved)
    assert not store.registry.apply(with_kpis(*KPIS, new))
    assert len(store.registry.fleet(FIRST).versions) == 1


def test_a_kpi_may_change_its_range_and_direction_in_place(store: Store) -> None:
    store.registry.apply(FIRST)
    other = {**KPIS[0], "hi": 600.0, "direction": "lower"}
    store.registry.ensure(with_kpis(other, *KPIS[1:]))
    assert not store.registry.apply(with_kpis(other, *KPIS[1:]))


def test_sites_of_earlier_configurations_count_against_the_profile(store: Store) -> None:
    store.registry.apply(mapped(0, 40))
    with pytest.raises(ConfigError, match=r"would have 51 sites.*'small' allows 50.*'medium'"):
        store.registry.apply(mapped(20, 51))
    assert len(store.registry.fleet(FIRST).sites) == 40
    assert store.registry.apply(mapped(20, 50))
    assert len(store.registry.fleet(FIRST).sites) == 50


def test_sites_that_telemetry_named_count_against_the_profile(store: Store) -> None:
    store.registry.apply(mapped(0, 40))
    seen = [(f"X-{i}", NOON) for i in range(20)]
    assert len(store.registry.admit(mapped(0, 40), seen)) == 50
    with pytest.raises(ConfigError, match="would have 51 sites"):
        store.registry.apply(mapped(0, 41), valid_from=NOON + HOUR)
    assert store.registry.apply(mapped(0, 41, profile="medium"), valid_from=NOON + HOUR)


def mapped(first: int, end: int, **changes: Any) -> FleetConfig:
    """Return a fleet that maps sites by number."""
    sites = [{"site_id": f"T-{i:04d}", "region_id": "r"} for i in range(first, end)]
    return fleets.config(region_mappings=sites, **changes)
