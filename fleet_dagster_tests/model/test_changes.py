from typing import Any

import pytest

from fleet_dagster.core.windows import DAY, HOUR
from fleet_dagster.model.changes import differences
from fleet_dagster.model.config import HotSettings
from fleet_dagster.model.edits import (
    SETTABLE,
    move_site,
    redate_sites,
    redated_sites,
    set_values,
    unmap_site,
)
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.fleet import mappings_as_of
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import MIDNIGHT, NOON

FIRST = fleets.config(3, 2).hot
NAMES = fleets.config().kpi_names
SLOT = {"slot_id": 0, "model_id": "mender"}


def said(new: HotSettings, old: HotSettings = FIRST) -> list[str]:
    return [str(change) for change in differences(old, new)]


def hot(*mappings: dict[str, Any], **changes: Any) -> HotSettings:
    return fleets.config(region_mappings=list(mappings), **changes).hot


def site(name: str, region: str, start: int | None = None, **more: Any) -> dict[str, Any]:
    dated = {} if start is None else {"valid_from": fleets.utc(start).isoformat()}
    return {"site_id": name, "region_id": region, **dated, **more}


def regions(settings: HotSettings, instant: int) -> dict[str, str]:
    return {s: m.region_id for s, m in mappings_as_of(settings.region_mappings, instant).items()}


def test_equal_settings_have_no_differences() -> None:
    assert said(FIRST) == []


def test_thresholds_and_weights_are_told_with_both_values() -> None:
    new = fleets.config(3, 2, outlier_sigma=2.5, health_weights="logistics").hot
    found = said(new)
    assert found[:3] == [
        "outlier_sigma: 3 → 2.5",
        "uptime_weight: 0.3 → 0.25",
        "fault_weight: 0.2 → 0.25",
    ]
    assert found[3] == "weight of KPI 00: 0.2 → 0.0625"
    assert len(found) == 3 + 16


def test_sites_that_move_come_and_go_are_told_apart() -> None:
    old = hot(site("a", "r"), site("b", "r"), site("c", "r"))
    new = hot(site("a", "q", weight=2), site("c", "r"), site("d", "q", depends_on=["a"]))
    assert said(new, old) == [
        "site a, region: r → q",
        "site a, weight: 1 → 2",
        "site b: removed (was in r)",
        "site d: added (in q)",
    ]


def test_a_dated_mapping_is_told_with_its_date() -> None:
    new = hot(site("a", "r"), site("a", "q", NOON))
    assert said(new, hot(site("a", "r"))) == ["site a from 2026-01-05T12:00:00+0000: added (in q)"]


def test_model_slots_are_told_by_number() -> None:
    old, new = hot(ai_models=[SLOT]), hot(ai_models=[{**SLOT, "active": False}])
    assert said(new, old) == ["slot 0, active: True → False"]
    assert said(old, hot()) == ["slot 0: added (mender)"]


def test_a_moved_site_keeps_what_is_not_named() -> None:
    old = hot(site("a", "r"), site("b", "r", weight=3, critical=True, depends_on=["a"], latitude=5))
    moved = move_site(old, "b", "q", at=NOON)
    assert said(moved, old) == ["site b, region: r → q"]
    heavier = move_site(old, "b", "r", at=NOON, weight=4.0, critical=False)
    assert said(heavier, old) == ["site b, weight: 3 → 4", "site b, critical: True → False"]
    assert move_site(moved, "b", "r", at=NOON) == old


def test_a_move_leaves_mappings_that_begin_later() -> None:
    old = hot(site("a", "r"), site("a", "later", NOON + DAY))
    moved = move_site(old, "a", "q", at=NOON)
    assert regions(moved, NOON) == {"a": "q"}
    assert regions(moved, NOON + DAY) == {"a": "later"}
    assert regions(move_site(old, "a", "q", at=NOON + DAY), NOON + DAY) == {"a": "q"}


def test_a_site_nobody_mapped_is_added_by_a_move() -> None:
    moved = move_site(hot(site("a", "r")), "b", "q", at=NOON, depends_on=("a",))
    assert regions(moved, NOON) == {"a": "r", "b": "q"}


def test_an_unmapped_site_has_no_mapping_left() -> None:
    old = hot(site("a", "r"), site("a", "q", NOON + DAY), site("b", "r"))
    assert regions(unmap_site(old, "a"), NOON + 2 * DAY) == {"b": "r"}


def test_values_are_set_by_name() -> None:
    values = {
        "outlier_sigma": "2",
        "staleness_threshold_s": "300",
        "health_weights": "logistics",
        "fault_weight": "0.1",
        "weight.vibration": "0.5",
    }
    new = set_values(FIRST, values, NAMES)
    assert (new.outlier_sigma, new.staleness_threshold_s) == (2, 300)
    assert (new.health_weights.uptime_weight, new.health_weights.fault_weight) == (0.25, 0.1)
    assert new.health_weights.weights[:3] == (1 / 16, 0.5, 1 / 16)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("outlier_sigmas", "2", "is no setting"),
        ("interval_s", "60", "is no setting"),
        ("outlier_sigma", "two", "expected a number"),
        ("health_weights", "solar", "Use one of energy, logistics, manufacturing"),
        ("weight.noise", "1", "no KPI 'noise'"),
    ],
)
def test_a_name_or_value_that_makes_no_sense_is_refused(name: str, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        set_values(FIRST, {name: text}, NAMES)
    assert name not in SETTABLE or words != "is no setting"


def test_dated_mappings_that_differ_before_an_instant_are_found_with_their_first_date() -> None:
    old = hot(site("a", "r"), site("a", "q", NOON), site("b", "r"))
    new = hot(
        site("a", "p"), site("a", "q", NOON - HOUR), site("b", "r"), site("b", "q", NOON + DAY)
    )
    found = redated_sites(old.region_mappings, new.region_mappings, before=NOON + HOUR)
    assert found == {"a": NOON - HOUR}


def test_redated_sites_keep_the_mappings_before_their_first_date() -> None:
    old = hot(site("a", "r"), site("a", "q", NOON), site("b", "r"))
    new = hot(site("a", "p"), site("a", "s", NOON - HOUR), site("b", "p"))
    found = redate_sites(old, new.region_mappings, {"a": NOON - HOUR})
    assert regions(found, MIDNIGHT) == {"a": "r", "b": "r"}
    assert regions(found, NOON - HOUR) == regions(found, NOON) == {"a": "s", "b": "r"}
