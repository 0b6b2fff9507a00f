"""What each window shows of a storm, counted by hand."""

from typing import Any

import numpy as np
import pandas as pd

from fleet_dagster.core.storm_detection import Activity
from fleet_dagster.core.windows import DAY, MINUTE, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.ingest.simulator import Scenario, simulate
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.tables import BASELINE
from fleet_dagster.nodes.storm_monitor import storm_monitor
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import NOON, SITES

SPAN = Span(NOON, NOON + 4 * MINUTE)


def snapshot(site: str, window: int, *, second: int = 30, **values: Any) -> dict[str, Any]:
    stamp = fleets.utc(NOON + window * MINUTE + second * 1_000_000)
    return {"site_id": site, "timestamp": stamp, "status": 0, "fault_count": 0, **values}


def seen(
    rows: list[dict[str, Any]],
    *,
    span: Span = SPAN,
    baseline: pd.DataFrame = fleets.UNTRAINED,
    **changes: Any,
) -> Activity:
    config = fleets.config(**{"n_sites": 2, "n_regions": 1, "staleness_threshold_s": 60, **changes})
    frame = pd.DataFrame(rows).assign(output_kw=1.0)
    return storm_monitor(Fleet.of(config), fleets.landed(config, frame), baseline, span)


def steady(site: str, **at_window: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a snapshot a window from the one before the span on, some of them other than online and without faults."""
    return [snapshot(site, w, **at_window.get(f"w{w}", {})) for w in range(-1, 4)]


def test_a_status_that_changes_and_changes_back_counts_twice() -> None:
    found = seen([*steady("S-01", w1={"status": 2}), *steady("S-02")])
    assert found.n_moved.tolist() == [0, 1, 1, 0]


def test_a_change_against_the_window_before_the_span_counts() -> None:
    found = seen([*steady("S-01", **{"w-1": {"status": 1}}), *steady("S-02")])
    assert found.n_moved.tolist() == [1, 0, 0, 0]


def test_a_raised_fault_counts_and_a_cleared_one_does_not() -> None:
    found = seen([*steady("S-01", w1={"fault_count": 2}, w2={"fault_count": 3}), *steady("S-02")])
    assert found.n_moved.tolist() == [0, 1, 1, 0]


def test_a_site_that_changes_status_and_raises_a_fault_counts_once() -> None:
    found = seen([*steady("S-01", w3={"fault_count": 2, "status": 2}), *steady("S-02")])
    assert found.n_moved.tolist() == [0, 0, 0, 1]


def test_silence_and_return_are_no_change_of_status() -> None:
    rows = [snapshot("S-01", w) for w in (-1, 0, 3)] + steady("S-02")
    found = seen(rows, staleness_threshold_s=31)
    assert found.n_moved.tolist() == [0, 0, 0, 0]


def test_a_site_that_is_silent_but_fresh_compares_with_what_it_carries() -> None:
    rows = [snapshot("S-01", 0), snapshot("S-01", 2, status=1), *steady("S-02")]
    found = seen(rows, staleness_threshold_s=120)
    assert found.n_moved.tolist() == [0, 0, 1, 0]


def test_messages_are_snapshots_and_their_duplicates() -> None:
    rows = [*steady("S-01"), *steady("S-02"), snapshot("S-01", 1), snapshot("S-01", 1, second=40)]
    assert seen(rows).n_messages.tolist() == [2, 4, 2, 2]


def test_unusable_snapshots_are_no_messages() -> None:
    rows = [*steady("S-01"), snapshot("S-01", 1, second=40, status=9)]
    assert seen(rows).n_messages.tolist() == [1, 1, 1, 1]


def test_a_site_counts_from_the_window_in_which_it_is_registered() -> None:
    mappings = [
        {"site_id": "S-01", "region_id": "R"},
        {
            "site_id": "S-02",
            "region_id": "R",
            "valid_from": fleets.utc(NOON + 2 * MINUTE).isoformat(),
        },
    ]
    found = seen([*steady("S-01"), *steady("S-02")], region_mappings=mappings)
    assert found.n_sites.tolist() == [1, 1, 2, 2]


def message_rates(*days: tuple[int, float]) -> pd.DataFrame:
    """Return the fleet's rows of trained baselines."""
    stamps = np.array([day for day, _ in days])
    columns = {name: np.nan for name in BASELINE.column_names if name.startswith(("cent", "scale"))}
    return frames.frame_of(
        BASELINE,
        {
            **{name: np.full(len(days), np.nan, dtype=np.float32) for name in columns},
            "window_start": frames.stamps(stamps),
            "window_end": frames.stamps(stamps + DAY),
            "scope": np.array(["fleet"] * len(days), dtype=object),
            "scope_id": np.array(["plant"] * len(days), dtype=object),
            "n_windows": np.full(len(days), 900, dtype=np.int32),
            "state": np.array(["trained"] * len(days), dtype=object),
            "mad": np.full(len(days), np.nan),
            "message_rate": np.array([rate for _, rate in days]),
            "n_hours": np.full(len(days), 96, dtype=np.int32),
        },
    )


def test_the_usual_number_of_messages_is_that_of_the_baseline_in_force() -> None:
    midnight = fleets.MIDNIGHT
    night = Span(midnight - 2 * MINUTE, midnight + 2 * MINUTE)
    rates = message_rates((midnight - DAY, 20.0), (midnight, 30.0))
    found = seen([*steady("S-01")], span=night, baseline=rates)
    assert found.usual_messages.tolist() == [20.0, 20.0, 30.0, 30.0]


def test_without_a_baseline_the_usual_number_of_messages_is_not_known() -> None:
    assert np.isnan(seen(steady("S-01")).usual_messages).all()
    unknown = message_rates((fleets.MIDNIGHT, np.nan))
    assert np.isnan(seen(steady("S-01"), baseline=unknown).usual_messages).all()


def test_window_by_window_counts_what_the_whole_span_does() -> None:
    config = fleets.config(10, 2)
    span = Span(NOON, NOON + 12 * MINUTE)
    rows = fleets.telemetry(SITES, NOON - 10 * MINUTE, span.end, seed=5)
    landed, fleet = fleets.landed(config, rows), Fleet.of(config)
    whole = storm_monitor(fleet, landed, fleets.UNTRAINED, span)
    parts = [storm_monitor(fleet, landed, fleets.UNTRAINED, w) for w in span.steps(MINUTE)]
    for name in ("starts", "n_sites", "n_moved", "n_messages"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert joined.tolist() == getattr(whole, name).tolist()


def test_readings_are_not_needed() -> None:
    config = fleets.config(10, 2)
    rows = fleets.telemetry(SITES, NOON - 10 * MINUTE, SPAN.end, seed=6)
    landed, fleet = fleets.landed(config, rows), Fleet.of(config)
    without = landed[[name for name in landed.columns if not name.startswith("reading_")]]
    assert without.shape[1] < landed.shape[1]
    a, b = (storm_monitor(fleet, t, fleets.UNTRAINED, SPAN) for t in (landed, without))
    assert a.n_moved.tolist() == b.n_moved.tolist()
    assert a.n_messages.tolist() == b.n_messages.tolist()


def test_a_simulated_storm_stands_out_in_moves_and_in_messages() -> None:
    config = fleets.config(10, 2)
    scenario = Scenario(seed=3, n_sites=10, n_regions=2, faults={"storm": 6.0})
    day = Span(fleets.MIDNIGHT, fleets.MIDNIGHT + DAY)
    made = simulate(config, scenario, day.start, day.end)
    storm = next(e for e in made.truth.events if e["kind"] == "storm")
    begins = int(pd.Timestamp(storm["start"]).timestamp()) * 1_000_000
    landed = fleets.landed(config, made.telemetry.to_pandas())
    found = storm_monitor(Fleet.of(config), landed, fleets.UNTRAINED, day)
    first = (begins - day.start) // MINUTE
    assert found.n_moved[first : first + 5].max() >= 4
    assert found.n_messages[first + 1] > 3 * np.median(found.n_messages)
