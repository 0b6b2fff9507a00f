from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, SECOND, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.fleet import ConfigVersion, Fleet
from fleet_dagster.nodes.baseline import as_of
from fleet_dagster.pipeline import frame_reader
from fleet_dagster.training import Samples, baselines_for, train, training_days_of
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import MIDNIGHT, SITES

START = "2026-01-05"
TRAINING_DAY = MIDNIGHT + 3 * DAY
STEP = 2 * MINUTE


def history(n_sites: int = 4, *, days: int = 2, seed: int = 1) -> pd.DataFrame:
    """Return clean telemetry from the fleet's first day on: KPI k of every site around a known centre."""
    rng = np.random.default_rng(seed)
    stamps = np.arange(MIDNIGHT, MIDNIGHT + days * DAY, STEP)
    n = stamps.size * n_sites
    return pd.DataFrame(
        {
            "site_id": np.repeat(np.array(SITES[:n_sites], dtype=object), stamps.size),
            "timestamp": fleets.utc(np.tile(stamps, n_sites)),
            "status": 0,
            "uptime_pct": 100.0,
            "fault_count": 0,
            "output_kw": rng.normal(256.0, 512 * 0.03, n),
            "vibration": rng.normal(4.0, 10 * 0.02, n),
            "bearing_c": rng.normal(65.0, 1.0, n),
        }
    )


def trained(fleet: Fleet, landed: pd.DataFrame, day: int = TRAINING_DAY) -> pd.DataFrame:
    return train(fleet, frame_reader(landed), day, Samples()).baseline


def of_site(baseline: pd.DataFrame, site: str) -> "pd.Series[Any]":  # Any: a row of several dtypes
    return baseline[(baseline["scope"] == "site") & (baseline["scope_id"] == site)].iloc[0]


CONFIG = fleets.config(4, 2, start_date=START, interval_s=120)


def test_centre_and_scale_of_each_kpi_are_learnt() -> None:
    row = of_site(trained(Fleet.of(CONFIG), fleets.landed(CONFIG, history())), "S-02")
    assert row["centre_00"] == pytest.approx(0.5, abs=0.005)
    assert row["scale_00"] == pytest.approx(0.03, rel=0.1)
    assert row["centre_01"] == pytest.approx(0.4, abs=0.005)
    assert row["scale_01"] == pytest.approx(0.02, rel=0.1)
    assert np.isnan(row["centre_03"])


def test_a_spell_of_faults_does_not_move_the_centre() -> None:
    frame = history()
    frame.loc[frame["timestamp"] < fleets.utc(MIDNIGHT + 4 * HOUR), "output_kw"] = 5000.0
    row = of_site(trained(Fleet.of(CONFIG), fleets.landed(CONFIG, frame)), "S-01")
    assert row["centre_00"] == pytest.approx(0.5, abs=0.01)
    assert row["scale_00"] == pytest.approx(0.03, rel=0.2)


def test_there_is_a_row_for_each_site_region_and_the_fleet() -> None:
    baseline = trained(Fleet.of(CONFIG), fleets.landed(CONFIG, history()))
    scopes = list(zip(baseline["scope"], baseline["scope_id"], strict=True))
    sites = [("site", site) for site in SITES[:4]]
    assert scopes == [*sites, ("region", "R-0"), ("region", "R-1"), ("fleet", "plant")]
    fleet = baseline.iloc[-1]
    assert fleet["message_rate"] == 4.0
    assert fleet["mad"] > 0
    assert (baseline["window_start"] == fleets.utc(TRAINING_DAY)).all()
    assert (baseline["n_hours"] == 48).all()


def test_a_site_with_fewer_than_two_hundred_windows_is_warming_up() -> None:
    frame = history()
    is_rare = (frame["site_id"] == "S-01") & (frame["timestamp"] >= fleets.utc(MIDNIGHT + 6 * HOUR))
    baseline = trained(Fleet.of(CONFIG), fleets.landed(CONFIG, frame[~is_rare]))
    assert of_site(baseline, "S-01")["n_windows"] == 180
    assert of_site(baseline, "S-01")["state"] == "warming_up"
    assert of_site(baseline, "S-02")["state"] == "trained"


def test_what_was_received_too_late_is_not_learnt_from_unless_it_is_history() -> None:
    fleet, landed = Fleet.of(CONFIG), fleets.landed(CONFIG, history())
    in_time = fleets.utc(TRAINING_DAY - 12 * HOUR - 1)
    late = fleets.utc(TRAINING_DAY - 12 * HOUR)
    learnt = trained(fleet, landed)
    assert not learnt.empty
    fleets.assert_same_rows(
        trained(fleet, landed.assign(historical=False, received_at=in_time)), learnt
    )
    assert trained(fleet, landed.assign(historical=False, received_at=late)).empty


def test_telemetry_of_the_last_day_before_training_is_left_alone() -> None:
    fleet = Fleet.of(CONFIG)
    short, long = (fleets.landed(CONFIG, history(days=days)) for days in (2, 3))
    early = long[long["timestamp"] < fleets.utc(MIDNIGHT + 2 * DAY)]
    fleets.assert_same_rows(trained(fleet, long), trained(fleet, early))
    assert len(trained(fleet, short)) == 7


def test_settings_count_as_of_the_training_day() -> None:
    fleet = Fleet.of(CONFIG)
    later = fleets.config(4, 1, start_date=START, interval_s=120).hot
    changed = replace(
        fleet, versions=(*fleet.versions, ConfigVersion(TRAINING_DAY + SECOND, later))
    )
    landed = fleets.landed(CONFIG, history())
    fleets.assert_same_rows(trained(changed, landed), trained(fleet, landed))
    assert as_of(changed, TRAINING_DAY + DAY).versions[0].settings == later


def test_a_site_registered_later_has_no_row_yet() -> None:
    landed = fleets.landed(CONFIG, history())
    known = Fleet.of(CONFIG)
    grown = Fleet.of(CONFIG, {"X": TRAINING_DAY + HOUR})
    fleets.assert_same_rows(trained(grown, landed), trained(known, landed))


def test_several_days_share_hours_without_changing_a_row() -> None:
    frame = history(5, days=4)
    frame = frame[(frame["site_id"] != "S-05") | (frame["timestamp"] >= fleets.utc(MIDNIGHT + DAY))]
    landed = fleets.landed(CONFIG, frame)
    fleet = Fleet.of(CONFIG, {"S-05": MIDNIGHT + DAY})
    span = Span(MIDNIGHT, MIDNIGHT + 6 * DAY)
    days = training_days_of(fleet, span)
    together = baselines_for(fleet, frame_reader(landed), span).baseline
    apart = pd.concat([trained(fleet, landed, day) for day in days], ignore_index=True)
    assert len(days) == 5
    fleets.assert_same_rows(together, apart)


def test_a_training_day_without_telemetry_has_no_rows() -> None:
    landed = fleets.landed(CONFIG, history())
    assert trained(Fleet.of(CONFIG), landed, MIDNIGHT + DAY).empty
    assert frames.microseconds(landed["timestamp"]).min() == MIDNIGHT
