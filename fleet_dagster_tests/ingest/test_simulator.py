import dataclasses
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import kurtosis

from fleet_dagster.ingest.simulator import (
    KINDS,
    MALFORMED,
    Kind,
    Scenario,
    demo_config,
    demo_scenario,
    plain,
    simulate,
    site_ids,
)
from fleet_dagster.ingest.simulator.noise import HourlyNoise, NoiseKind, slow_weather
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.yaml_file import validate_config
from fleet_dagster_tests.ingest.cases import DAY, fleet, land

START = 20_454 * DAY
"""2026-01-01T00:00:00Z."""
HOUR = DAY // 24


def demo(kind: Kind = "thermoelectric", n_sites: int = 12, n_regions: int = 3) -> FleetConfig:
    return validate_config(
        demo_config("demo", kind, n_sites=n_sites, n_regions=n_regions, start_date="2026-01-01"),
        source="demo",
    )


def only(fault: str, **changes: Any) -> Scenario:
    return Scenario(seed=5, faults={fault: 6.0}, step_s=60, flicker_share=0.0, **changes)


def events(
    scenario: Scenario, kind: str, config: FleetConfig | None = None
) -> list[dict[str, Any]]:
    found = simulate(config or demo(), scenario, START, START + DAY).truth.events
    return [dict(e) for e in found if e["kind"] == kind and e["start"] >= "2026-01-01T00"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_demo_fleet_is_valid_has_sixteen_kpis_and_its_telemetry_lands(kind: Kind) -> None:
    config = demo(kind)
    assert len(config.kpis) == 16
    assert sum(m.critical for m in config.region_mappings) == 3
    assert any(m.depends_on for m in config.region_mappings)
    scenario = Scenario(seed=1, kind=kind)
    found = land(
        simulate(config, scenario, START, START + DAY).telemetry, config, received_at_us=START + DAY
    )
    assert found.num_rows == 12 * 1440
    assert found["problem"].null_count == found.num_rows


@pytest.mark.parametrize("kind", KINDS)
def test_readings_of_healthy_sites_stay_near_their_range(kind: Kind) -> None:
    config = demo(kind)
    readings = plain(config, Scenario(seed=1, kind=kind), START, START + DAY)["readings"]
    for k, kpi in enumerate(config.kpis):
        scaled = (readings[:, k] - kpi.lo) / (kpi.hi - kpi.lo)
        assert scaled.min() > -0.05
        assert scaled.max() < 1.15


@pytest.mark.parametrize("noise", ["gaussian", "t5"])
@pytest.mark.parametrize("step_s", [60, 900])
def test_a_span_is_the_same_however_it_is_cut(noise: NoiseKind, step_s: int) -> None:
    config = demo()
    scenario = dataclasses.replace(
        demo_scenario("thermoelectric", n_sites=12, n_regions=3, step_s=step_s),
        noise=noise,
        malformed_share=0.01,
        late_share=0.02,
        faults={"storm": 3.0, "drift": 2.0, "dropout": 3.0},
    )
    cuts = [
        START,
        START + 7 * HOUR + 123_456_789,
        START + 8 * HOUR,
        START + 23 * HOUR + 1,
        START + 26 * HOUR,
    ]
    whole = simulate(config, scenario, cuts[0], cuts[-1]).telemetry
    parts = [simulate(config, scenario, a, b).telemetry for a, b in itertools.pairwise(cuts)]
    assert pa.concat_tables(parts).combine_chunks().equals(whole.combine_chunks())


def test_the_arrays_are_the_table_without_malformed_rows() -> None:
    config = demo()
    scenario = dataclasses.replace(
        demo_scenario("thermoelectric", n_sites=12, n_regions=3), malformed_share=0.0
    )
    arrays = plain(
        config, dataclasses.replace(scenario, malformed_share=0.05), START, START + 2 * HOUR
    )
    table = simulate(config, scenario, START, START + 2 * HOUR).telemetry
    ids = site_ids(config, scenario)
    assert [ids[i] for i in arrays["site_no"]] == table["site_id"].to_pylist()
    assert arrays["received_us"].tolist() == table["received_at"].cast(pa.int64()).to_pylist()
    assert np.array_equal(
        arrays["readings"][:, 3],
        np.array(table[config.kpi_names[3]].to_pylist(), np.float32),
        equal_nan=True,
    )


def test_another_seed_gives_other_readings() -> None:
    one, two = (plain(demo(), Scenario(seed=s), START, START + HOUR)["readings"] for s in (1, 2))
    assert not np.allclose(one, two)


@pytest.mark.parametrize(("noise", "least_kurtosis"), [("gaussian", -0.1), ("t5", 2.0)])
def test_noise_has_unit_variance_the_wanted_memory_and_the_wanted_tails(
    noise: NoiseKind, least_kurtosis: float
) -> None:
    source = HourlyNoise(seed=3, n_series=(100,), steps=60, phi=0.9, noise=noise)
    series = np.concatenate([source.hour(h) for h in range(60)])
    assert series.std() == pytest.approx(1.0, abs=0.03)
    lag_one = np.mean(series[1:] * series[:-1])
    across_hours = np.mean(series[60::60] * series[59:-1:60])
    assert lag_one == pytest.approx(0.9, abs=0.03)
    assert across_hours == pytest.approx(0.9, abs=0.1)
    innovations = series[1:] - 0.9 * series[:-1]
    assert (
        least_kurtosis
        < float(kurtosis(innovations.ravel()))
        < least_kurtosis + (0.2 if noise == "gaussian" else 50)
    )


def test_weather_is_slow_and_shared_within_a_region() -> None:
    weather = slow_weather(1, "cloud", range(24 * 300), 2)
    assert weather.std() == pytest.approx(1, abs=0.15)
    assert np.mean(weather[1:] * weather[:-1]) / weather.var() == pytest.approx(0.95, abs=0.03)
    assert abs(np.asarray(np.corrcoef(weather.T))[0, 1]) < 0.2


def test_solar_sites_make_no_power_at_night() -> None:
    config = demo("solar")
    arrays = plain(config, Scenario(seed=1, kind="solar"), START, START + DAY)
    power = arrays["readings"][:, config.kpi_names.index("ac_power_kw")]
    hour = arrays["timestamp_us"] % DAY / HOUR
    assert power[(hour < 3) | (hour > 22)].max() == 0
    assert power[(hour > 10) & (hour < 12)].min() > 100


def test_a_site_fault_moves_the_named_kpis_by_its_magnitude_and_raises_status() -> None:
    config, sick = demo(), only("site")
    steps = [
        e
        for e in events(sick, "site")
        if e["shape"] == "step" and e["kpis"] and e["magnitude_sigma"] > 9
    ]
    well = dataclasses.replace(sick, faults={})
    with_faults, without = (plain(config, s, START, START + 2 * DAY) for s in (sick, well))
    assert steps
    for event in steps:
        site = site_ids(config, sick).index(event["root_site"])
        t = with_faults["timestamp_us"].astype("datetime64[us]")
        inside = (
            (with_faults["site_no"] == site)
            & (t >= np.datetime64(event["start"][:-1]))
            & (t < np.datetime64(event["end"][:-1]))
        )
        moved = (
            np.abs(with_faults["readings"][inside] - without["readings"][inside]).mean(axis=0) > 0
        )
        assert all(moved[config.kpi_names.index(name)] for name in event["kpis"])
        assert (with_faults["status"][inside] == 2).all()
        assert (with_faults["fault_count"][inside] >= 3).all()


def test_a_cascade_follows_depends_on_with_growing_delays() -> None:
    config = demo()
    upstream = {m.site_id: m.depends_on for m in config.region_mappings}
    for event in events(only("cascade"), "cascade"):
        assert event["onsets"][event["root_site"]] == event["start"]
        for site in event["sites"][1:]:
            (up,) = upstream[site]
            assert event["onsets"][up] < event["onsets"][site]


def test_a_regional_event_touches_every_site_of_one_region() -> None:
    for event in events(only("region"), "region"):
        assert len(event["regions"]) == 1
        assert len(event["sites"]) == 4


def test_a_storm_changes_many_statuses_within_minutes_and_bursts_messages() -> None:
    config, scenario = demo(), only("storm")
    storm = events(scenario, "storm")[0]
    start = int(np.datetime64(storm["start"][:-1], "us").astype(np.int64))
    arrays = plain(config, scenario, start - HOUR, start + 10 * HOUR // 60)
    before, during = (
        np.sum((arrays["timestamp_us"] >= a) & (arrays["timestamp_us"] < a + 10 * HOUR // 60))
        for a in (start - HOUR // 4, start)
    )
    assert during >= 5 * before or any(
        e["event_id"] != storm["event_id"] for e in events(scenario, "storm")
    )
    unwell = arrays["site_no"][(arrays["timestamp_us"] >= start) & (arrays["status"] > 0)]
    assert len(np.unique(unwell)) >= 5


def test_a_dropout_silences_its_site() -> None:
    config, scenario = demo(), only("dropout")
    arrays = plain(config, scenario, START, START + DAY)
    t = arrays["timestamp_us"].astype("datetime64[us]")
    for event in events(scenario, "dropout"):
        site = site_ids(config, scenario).index(event["root_site"])
        inside = (
            (arrays["site_no"] == site)
            & (t >= np.datetime64(event["start"][:-1]))
            & (t < np.datetime64(event["end"][:-1]))
        )
        assert not inside.any()


def test_the_truth_counts_what_landing_finds(tmp_path: Path) -> None:
    config = demo()
    scenario = Scenario(
        seed=9,
        duplicates_share=0.02,
        late_share=0.02,
        too_late_share=0.3,
        malformed_share=0.02,
        absent_share=0.01,
    )
    made = simulate(config, scenario, START, START + DAY)
    made.write_truth(tmp_path / "truth.json")
    truth = json.loads((tmp_path / "truth.json").read_text())["counts"]["2026-01-01"]
    found = land(
        made.telemetry,
        config,
        received_at_us=START + DAY,
        admit=lambda asked: [s for s, _ in asked if s != "GHOST-01"],
    )
    problems = Counter(found["problem"].to_pylist())
    assert truth["snapshots"] == found.num_rows
    assert truth["malformed"] == sum(truth[k] for k in MALFORMED)
    expected = {
        "too_late": truth["too_late"],
        "bad_time": truth["bad_time"],
        "missing_site": truth["missing_site"],
        "not_numeric": truth["text_reading"],
        "not_finite": truth["infinite_reading"],
        "bad_status": truth["bad_status"],
        "bad_uptime": truth["bad_uptime"],
        "bad_fault_count": truth["bad_fault_count"],
        "site_beyond_profile": truth["unknown_site"],
    }
    assert {p: n for p, n in problems.items() if p is not None} == expected
    good = [
        r
        for r in found.select(["site_id", "timestamp", "problem"]).to_pylist()
        if r["problem"] is None
    ]
    assert truth["duplicates"] > 0
    assert len(good) - len({(r["site_id"], r["timestamp"]) for r in good}) <= truth["duplicates"]


def test_a_fleet_of_ones_own_can_be_simulated_without_mappings() -> None:
    config = fleet()
    arrays = plain(config, Scenario(seed=1, n_sites=3, n_regions=2), START, START + HOUR)
    assert arrays["readings"].shape == (180, 2)
    assert np.abs(arrays["readings"][:, 0] - 75).max() < 25


def test_an_empty_span_has_no_rows() -> None:
    assert simulate(demo(), Scenario(), START, START).telemetry.num_rows == 0


@pytest.mark.parametrize("wrong", [{"step_s": 7}, {"phi": 1.0}, {"faults": {"gremlin": 1.0}}])
def test_a_scenario_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Scenario(**wrong)
