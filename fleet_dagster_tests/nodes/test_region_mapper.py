import datetime as dt
from dataclasses import replace
from typing import Any

import pandas as pd

from fleet_dagster.core.windows import HOUR, MINUTE, SECOND, Span
from fleet_dagster.model.fleet import BEGINNING, ConfigVersion, Fleet
from fleet_dagster.nodes.region_mapper import region_mapper
from fleet_dagster.pipeline import evaluate
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import NOON


def at(us: int) -> str:
    return str(fleets.utc(us).isoformat())


def mapped(*mappings: dict[str, Any], seen: dict[str, int] | None = None) -> Fleet:
    return Fleet.of(fleets.config(region_mappings=list(mappings)), seen)


def regions_of(fleet: Fleet, site: str, span: Span) -> list[tuple[int, str, float]]:
    """Return (minutes since noon, region, weight) of each row of a site."""
    rows = region_mapper(fleet, span)
    own = rows[rows["site_id"].astype(str) == site]
    minutes = (own["window_start"] - fleets.utc(NOON)) // pd.Timedelta(minutes=1)
    return list(zip(minutes, own["region_id"].astype(str), own["weight"], strict=True))


HALF_PAST = NOON + 30 * MINUTE


def test_a_site_moves_within_the_hour() -> None:
    fleet = mapped(
        {"site_id": "a", "region_id": "north"},
        {"site_id": "a", "region_id": "south", "weight": 3.0, "valid_from": at(HALF_PAST)},
    )
    found = regions_of(fleet, "a", Span(NOON, NOON + 2 * HOUR))
    assert found == [(0, "north", 1.0), (30, "south", 3.0), (60, "south", 3.0)]


def test_a_move_inside_a_window_waits_for_the_next() -> None:
    fleet = mapped(
        {"site_id": "a", "region_id": "north"},
        {"site_id": "a", "region_id": "south", "valid_from": at(HALF_PAST + 1)},
    )
    found = regions_of(fleet, "a", Span(NOON, NOON + HOUR))
    assert found == [(0, "north", 1.0), (31, "south", 1.0)]


def test_rows_do_not_depend_on_the_span_asked_for() -> None:
    fleet = mapped(
        {"site_id": "a", "region_id": "north"},
        {"site_id": "b", "region_id": "north"},
        {"site_id": "a", "region_id": "south", "valid_from": at(HALF_PAST)},
    )
    whole = region_mapper(fleet, Span(NOON, NOON + 2 * HOUR))
    window = region_mapper(fleet, Span(HALF_PAST + MINUTE, HALF_PAST + 2 * MINUTE))
    fleets.assert_same_rows(window, whole[whole["window_start"] < fleets.utc(NOON + HOUR)])


def test_a_site_whose_mapping_comes_later_is_unmapped_until_then() -> None:
    fleet = mapped(
        {"site_id": "b", "region_id": "north"},
        {"site_id": "a", "region_id": "north", "valid_from": at(HALF_PAST)},
        seen={"a": NOON},
    )
    found = regions_of(fleet, "a", Span(NOON, NOON + HOUR))
    assert found == [(0, "unmapped", 1.0), (30, "north", 1.0)]


def test_a_site_has_no_row_before_the_fleet_has_it() -> None:
    fleet = mapped({"site_id": "b", "region_id": "north"}, seen={"new": HALF_PAST + 5 * SECOND})
    found = regions_of(fleet, "new", Span(NOON, NOON + HOUR))
    assert found == [(30, "unmapped", 1.0)]
    assert len(regions_of(fleet, "b", Span(NOON, NOON + HOUR))) == 2


def test_unknown_sites_are_counted_as_unmapped() -> None:
    frame = fleets.telemetry(("S-01", "X", "Y"), NOON, HALF_PAST, seed=1, dropouts=False)
    result = evaluate(fleets.config(1, 1), frame, at(NOON), at(HALF_PAST))
    assert (result.fleet_kpi["unmapped_count"] == 2).all()
    assert (result.fleet_kpi["total_sites"] == 3).all()
    unmapped = result.regional_health[result.regional_health["region_id"] == "unmapped"]
    assert (unmapped["n_sites"] == 2).all()


def test_an_unknown_site_joins_with_its_first_window() -> None:
    frame = fleets.telemetry(("S-01",), NOON, HALF_PAST, seed=1, dropouts=False)
    late = fleets.telemetry(("X",), NOON + 10 * MINUTE + SECOND, HALF_PAST, seed=2, dropouts=False)
    result = evaluate(fleets.config(1, 1), pd.concat([frame, late]), at(NOON), at(HALF_PAST))
    assert result.fleet_kpi["total_sites"].tolist() == [1] * 10 + [2] * 20


def test_every_row_names_the_version_that_assigned_it() -> None:
    fleet = mapped({"site_id": "a", "region_id": "north"})
    later = fleets.config(region_mappings=[{"site_id": "a", "region_id": "south"}]).hot
    first = fleet.versions[0]
    changed = replace(fleet, versions=(first, ConfigVersion(HALF_PAST, later)))
    rows = region_mapper(changed, Span(NOON, NOON + HOUR))
    assert rows["config_version"].astype(str).tolist() == [first.version, later.digest]
    assert rows["region_id"].astype(str).tolist() == ["north", "south"]


def test_a_mapping_since_ever_precedes_one_with_a_date() -> None:
    early = dt.datetime(1999, 1, 1, tzinfo=dt.UTC).isoformat()
    fleet = mapped(
        {"site_id": "a", "region_id": "new", "valid_from": early},
        {"site_id": "a", "region_id": "old"},
    )
    assert regions_of(fleet, "a", Span(NOON, NOON + HOUR)) == [(0, "new", 1.0)]
    assert fleet.sites[0].active_from == BEGINNING


def test_a_fleet_without_sites_has_no_rows() -> None:
    assert region_mapper(mapped(), Span(NOON, NOON + HOUR)).empty
