import datetime as dt
from typing import Any

import pytest

from fleet_dagster.model.config import (
    FleetConfig,
    Kpi,
    RegionMapping,
)
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.profiles import (
    PRESETS,
    PROFILES,
    HealthWeights,
    default_weights_energy,
    fleet_profile_large,
    fleet_profile_medium,
)
from fleet_dagster.model.rules import doubts, larger_profile
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster.model.yaml_file import validate_config
from fleet_dagster_tests import fleets

KPI = {"name": "power"}
MODEL = {"slot_id": 0, "model_id": "m"}


def mappings(n_sites: int, n_regions: int = 1) -> list[dict[str, Any]]:
    return [{"site_id": f"S{i:04d}", "region_id": f"R{i % n_regions}"} for i in range(n_sites)]


def problems(**changes: Any) -> tuple[str, ...]:
    """Return what is wrong with a small fleet after these changes."""
    with pytest.raises(ConfigError) as caught:
        validate_config({"name": "plant", "kpis": [KPI], **changes}, source="plant.yaml")
    return caught.value.problems


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"region_mappings": mappings(51)},
            ["region_mappings", "51 sites", "'small' allows 50", "Use profile 'medium'"],
        ),
        (
            {"region_mappings": mappings(5, 5)},
            ["region_mappings", "5 regions", "allows 4", "Use profile 'medium'"],
        ),
        (
            {"profile": "medium", "region_mappings": mappings(201)},
            ["201 sites", "'medium' allows 200", "Use profile 'large'"],
        ),
        (
            {"profile": "large", "region_mappings": mappings(1001)},
            ["1001 sites", "'large' allows 1000", "split the sites over several fleets"],
        ),
        ({"profile": "tiny"}, ["profile 'tiny'", "large, medium, small"]),
        (
            {"kpis": [{"name": f"k{i}"} for i in range(17)]},
            ["kpis", "found 17", "at most 16", "Remove"],
        ),
        ({"kpis": []}, ["kpis", "found 0", "at least 1", "Add"]),
        ({"kpis": [KPI, KPI]}, ["kpis repeat name 'power'", "Rename"]),
        ({"kpis": [{"name": "k", "lo": 2, "hi": 2}]}, ["'k'", "lo 2", "below hi 2", "Swap"]),
        (
            {"kpis": [{"name": "k", "direction": "band"}]},
            ["'k'", "'band' needs target_lo and target_hi", "Add both"],
        ),
        (
            {"kpis": [{"name": "k", "target_lo": 0.1}]},
            ["'k'", "go with direction 'band', found 'higher'", "Remove"],
        ),
        (
            {"kpis": [{"name": "k", "direction": "band", "target_lo": 0.5, "target_hi": 1.5}]},
            ["'k'", "[0.5, 1.5]", "within [0, 1]", "Narrow"],
        ),
        (
            {"kpis": [{"name": "k", "direction": "up"}]},
            ["kpis[0].direction", "'up'", "'higher', 'lower' or 'band'"],
        ),
        ({"health_weights": "wind"}, ["health_weights 'wind'", "energy, logistics, manufacturing"]),
        (
            {"health_weights": {"weights": [1], "uptime_weight": 0.7, "fault_weight": 0.6}},
            ["uptime_weight 0.7 + fault_weight 0.6 = 1.3", "at most 1", "Lower"],
        ),
        (
            {"health_weights": {"weights": [0], "uptime_weight": 0.5, "fault_weight": 0.2}},
            ["weights sum to 0", "0.3", "Give at least one"],
        ),
        (
            {"health_weights": {"weights": [-1], "uptime_weight": 0.5, "fault_weight": 0.2}},
            ["health_weights.weights[0]", "found -1", "at least 0", "Raise"],
        ),
        (
            {
                "kpis": [KPI, {"name": "b"}],
                "health_weights": {"weights": [1], "uptime_weight": 0, "fault_weight": 0},
            },
            ["health_weights has 1 weights for 2 kpis", "Give one weight per KPI"],
        ),
        ({"interval_s": 7}, ["interval_s", "found 7", "divide an hour", "Use 1, 5, 10"]),
        ({"interval_s": 7200}, ["interval_s", "found 7200", "divide an hour"]),
        ({"timezone": "Mars/Phobos"}, ["timezone", "'Mars/Phobos'", "'Europe/Berlin'"]),
        ({"timezone": "../../etc"}, ["timezone", "'../../etc'", "'Europe/Berlin'"]),
        ({"source": {"timezone": "Bonn"}}, ["source.timezone", "'Bonn'", "'Europe/Berlin'"]),
        ({"source": {"encoding": "utf-9"}}, ["source.encoding", "'utf-9'", "'latin-1'"]),
        (
            {"region_mappings": [*mappings(1), *mappings(1)]},
            ["region_mappings repeat site 'S0000'", "Keep one per site and valid_from"],
        ),
        (
            {"region_mappings": [{"site_id": "a", "region_id": "r", "depends_on": ["b"]}]},
            ["site 'a' depends_on 'b'", "not another mapped site", "Add it"],
        ),
        (
            {"region_mappings": [{"site_id": "a", "region_id": "r", "depends_on": ["a"]}]},
            ["site 'a' depends_on 'a'", "not another mapped site"],
        ),
        (
            {"region_mappings": [{"site_id": "a", "region_id": "unmapped"}]},
            ["region_mappings[0].region_id", "'unmapped' is reserved", "Choose another"],
        ),
        (
            {"region_mappings": [{"site_id": "a", "region_id": "r", "weight": 0}]},
            ["every site of region 'r' has weight 0", "above 0"],
        ),
        (
            {
                "region_mappings": [
                    {"site_id": "a", "region_id": "r"},
                    {"site_id": "b", "region_id": "r", "weight": 0},
                    {"site_id": "a", "region_id": "s", "valid_from": "2026-03-01T00:00:00Z"},
                ]
            },
            ["every site of region 'r' has weight 0 from some instant on"],
        ),
        *(
            ({"region_mappings": [{"site_id": f"a{sign}b", "region_id": "r"}]}, ["site_id", "text"])
            for sign in "\x00\x07\t\r\x1b\x7f"
        ),
        (
            {"region_mappings": [{"site_id": "a", "region_id": "r", "weight": 2e9}]},
            ["region_mappings[0].weight", "at most 1e+09", "Lower"],
        ),
        (
            {
                "region_mappings": [
                    {"site_id": "a", "region_id": "r", "weight": 1e-3},
                    {"site_id": "b", "region_id": "r", "weight": 1e8},
                ]
            },
            ["weights span 0.001 to 1e+08", "at most 1e+09", "in one unit"],
        ),
        (
            {"region_mappings": [{"site_id": "a", "region_id": "r", "latitude": 91}]},
            ["region_mappings[0].latitude", "found 91", "at most 90", "Lower"],
        ),
        (
            {
                "region_mappings": [
                    {"site_id": "a", "region_id": "r", "valid_from": "2026-01-05T08:00"}
                ]
            },
            ["region_mappings[0].valid_from", "offset"],
        ),
        (
            {"ai_models": [{**MODEL, "slot_id": 2}]},
            ["ai_models use slot 2", "'small' has 2", "larger profile"],
        ),
        ({"ai_models": [MODEL, MODEL]}, ["ai_models repeat slot_id 0", "its own slot"]),
        (
            {"ai_models": [{**MODEL, "sha256": "abc"}]},
            ["ai_models[0].sha256", "'abc'", "text that matches"],
        ),
        (
            {"source": {"kpis": {"heat": {"column": "h"}}}},
            ["source.kpis names 'heat'", "not one of the kpis", "Add the KPI"],
        ),
        ({"kpis": [{"name": "k", "unti": "kW"}]}, ["kpis[0].unti", "Did you mean 'unit'?"]),
        ({"stalenes_threshold_s": 3}, ["Did you mean 'staleness_threshold_s'?"]),
        ({"qqq": 3}, ["qqq", "not a known field", "use one of"]),
        ({"name": "Plant 9"}, ["name", "'Plant 9'", "text that matches"]),
        ({"start_date": "soon"}, ["start_date", "'soon'", "2026-01-31"]),
        ({"telemetry_retention_days": 0}, ["telemetry_retention_days", "found 0", "at least 40"]),
        ({"outlier_sigma": float("inf")}, ["outlier_sigma", "finite"]),
        ({"kpis": [{"unit": "kW"}]}, ["kpis[0].name", "is missing", "Add it"]),
    ],
)
def test_a_broken_rule_names_field_value_limit_and_fix(
    changes: dict[str, Any], parts: list[str]
) -> None:
    sentences = problems(**changes)
    assert any(all(part in sentence for part in parts) for sentence in sentences), sentences


def test_every_broken_rule_is_told_at_once() -> None:
    found = problems(kpis=[KPI, KPI], region_mappings=mappings(51, 5))
    assert len(found) == 3


@pytest.mark.parametrize(
    ("profile", "limits"),
    [
        ("small", (50, 4, 2, 60, 0.7, 3.0)),
        ("medium", (200, 16, 8, 60, 0.6, 2.5)),
        ("large", (1000, 64, 16, 30, 0.5, 2.0)),
    ],
)
def test_profiles_hold_their_published_limits(profile: str, limits: tuple[float, ...]) -> None:
    found = PROFILES[profile]
    assert (
        found.max_sites,
        found.max_regions,
        found.ai_slots,
        found.interval_s,
        found.anomaly_threshold,
        found.outlier_sigma,
    ) == limits
    config = fleets.config(profile=profile)
    assert (config.interval_s, config.anomaly_threshold, config.outlier_sigma) == limits[3:]


@pytest.mark.parametrize(
    ("preset", "leading", "uptime", "fault"),
    [
        (
            "energy",
            (0.20, 0.15, 0.15, 0.10, 0.10, 0.10, 0.05, 0.05, 0.03, 0.03, 0.02, 0.01, 0.01),
            0.30,
            0.20,
        ),
        (
            "manufacturing",
            (0.25, 0.20, 0.15, 0.10, 0.10, 0.05, 0.05, 0.05, 0.03, 0.02),
            0.25,
            0.25,
        ),
        ("logistics", (1 / 16,) * 16, 0.25, 0.25),
    ],
)
def test_presets_hold_their_published_weights(
    preset: str, leading: tuple[float, ...], uptime: float, fault: float
) -> None:
    found = PRESETS[preset]
    assert found.weights == leading + (0.0,) * (16 - len(leading))
    assert sum(found.weights) == pytest.approx(1)
    assert (found.uptime_weight, found.fault_weight) == (uptime, fault)
    assert found.kpi_share == pytest.approx(1 - uptime - fault)


def test_a_profile_holds_exactly_as_many_sites_as_it_says() -> None:
    for name, profile in PROFILES.items():
        config = fleets.config(profile=name, region_mappings=mappings(profile.max_sites, 4))
        assert len(config.region_mappings) == profile.max_sites


def test_one_site_in_several_validities_counts_once() -> None:
    moves = [
        {"site_id": "a", "region_id": "r", "valid_from": f"2026-01-{day:02d}T00:00:00Z"}
        for day in range(1, 29)
    ]
    assert len(fleets.config(region_mappings=moves, profile="small").region_mappings) == 28


def test_a_region_may_give_up_a_weight_when_another_site_takes_over() -> None:
    later = {"region_id": "r", "valid_from": "2026-03-01T00:00:00Z"}
    mappings = [
        {"site_id": "a", "region_id": "r"},
        {"site_id": "b", "region_id": "r", "weight": 0},
        {"site_id": "a", **later, "weight": 0},
        {"site_id": "b", **later, "weight": 2},
    ]
    assert len(fleets.config(region_mappings=mappings).region_mappings) == 4


def test_typed_objects_and_dicts_make_the_same_fleet() -> None:
    typed = FleetConfig(
        name="plant",
        profile=fleet_profile_medium(),
        kpis=(Kpi(name="power", unit="kW", lo=0, hi=500),),
        region_mappings=(RegionMapping(site_id="a", region_id="r"),),
        health_weights=default_weights_energy(),
        ai_models=(AIModelSlot(slot_id=0, model_id="m"),),
    )
    plain = FleetConfig.model_validate(
        {
            "name": "plant",
            "profile": "medium",
            "kpis": [{"name": "power", "unit": "kW", "lo": 0, "hi": 500}],
            "region_mappings": [{"site_id": "a", "region_id": "r"}],
            "health_weights": "energy",
            "ai_models": [MODEL],
        }
    )
    assert typed == plain


def test_lists_of_dicts_and_objects_may_be_mixed() -> None:
    config = FleetConfig.model_validate(
        {"name": "plant", "kpis": [Kpi(name="a"), {"name": "b", "direction": "lower"}]}
    )
    assert config.kpi_names == ("a", "b")


def test_a_configuration_survives_json() -> None:
    config = fleets.config(profile=fleet_profile_large(), timezone="Europe/Berlin")
    assert FleetConfig.model_validate_json(config.model_dump_json()) == config


def test_a_spelled_out_profile_gives_its_own_defaults() -> None:
    own = {**PROFILES["medium"].model_dump(), "name": "own", "interval_s": 300}
    config = fleets.config(profile=own)
    assert (config.interval_s, config.outlier_sigma) == (300, 2.5)


def test_a_setting_of_ones_own_beats_the_profiles() -> None:
    config = fleets.config(profile="large", interval_s=60, outlier_sigma=4.5)
    assert (config.interval_s, config.outlier_sigma, config.anomaly_threshold) == (60, 4.5, 0.5)


def test_equal_settings_have_equal_digests_and_others_do_not() -> None:
    assert fleets.config().hot.digest == fleets.config(grace_s=5).hot.digest
    assert fleets.config().hot.digest != fleets.config(min_good_pct=70).hot.digest


def test_what_rows_depend_on_changes_the_structure_digest() -> None:
    base = fleets.config().structure_digest
    assert fleets.config(interval_s=30).structure_digest != base
    assert fleets.config(start_date=dt.date(2026, 1, 2)).structure_digest != base
    assert fleets.config(schedule_minutes=9).structure_digest == base


def test_the_profile_that_would_fit_is_named() -> None:
    assert "'medium'" in larger_profile(51)
    assert "'large'" in larger_profile(10, 17)
    assert "several fleets" in larger_profile(1001)


def test_shares_that_fill_the_whole_health_leave_kpis_out() -> None:
    weights = HealthWeights(weights=(0.0,), uptime_weight=0.6, fault_weight=0.4)
    assert weights.kpi_share == pytest.approx(0)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"interval_s": 300}, "interval_s"),
        ({"staleness_threshold_s": 59}, "staleness_threshold_s"),
        ({"interval_s": 300, "staleness_threshold_s": 299}, "staleness_threshold_s"),
    ],
)
def test_a_site_that_is_silent_before_its_window_ends_is_in_doubt(
    changes: dict[str, Any], place: str
) -> None:
    ((where, words),) = doubts(fleets.config(**changes))
    assert where == (place,)
    assert "never scored" in words


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"profile": "large"},
        {"interval_s": 300, "staleness_threshold_s": 300},
    ],
)
def test_a_threshold_of_a_window_or_more_is_not_in_doubt(changes: dict[str, Any]) -> None:
    assert doubts(fleets.config(**changes)) == []
