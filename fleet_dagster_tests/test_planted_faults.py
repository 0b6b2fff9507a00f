"""Planted faults of the simulator, found and traced by the product; floors lie a little below what `make quality` measures."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from benchmarks.root_cause.findings import Judged, incidents_of, judge
from benchmarks.root_cause.planted import (
    SEEDS,
    findings_of,
    judged_kind,
    judged_seeds,
    recall,
    root_accuracy,
)
from benchmarks.root_cause.planted_days import MONDAY, PlantedFleet
from benchmarks.root_cause.quiet import QuietMonth
from fleet_dagster.anomaly_history import AnomalyHistory
from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.frames.columns import stamps
from fleet_dagster.ingest.simulator import Event
from fleet_dagster.pipeline import evaluate_landed


@dataclass(frozen=True, slots=True)
class Floors:
    """Least shares of a kind, and the longest median delay [windows]."""

    recall: float
    precision: float
    root: float
    delay: float


FLOORS = {
    "site": Floors(0.88, 0.82, 0.92, 8),
    "cascade": Floors(0.88, 0.78, 0.9, 8),
    "region": Floors(0.88, 0.72, 0.0, 4),
    "storm": Floors(0.65, 0.72, 0.0, 8),
    "drift": Floors(0.78, 0.8, 0.85, 4000),
}
"""A little below what `python -m benchmarks.quality planted` measures; what has no root has no floor for it."""
SITES = ("A", "B", "C", "D")
EVENT = Event(
    "day-cascade-1",
    "cascade",
    "step",
    sites=(0, 1, 2),
    onsets_us=(MONDAY, MONDAY + MINUTE, MONDAY + 2 * MINUTE),
    start_us=MONDAY,
    end_us=MONDAY + HOUR,
    kpis=(0,),
    signs=(1,),
    magnitude_sigma=9.0,
    root=0,
)


def incident(
    window: int, name: str, sites: str, phase: str = "opened", **cells: object
) -> dict[str, object]:
    """Return a row of `fleet_correlation` as far as it is judged."""
    row = {"at": MONDAY + window * MINUTE, "incident_id": name, "phase": phase, "sites": [*sites]}
    return {**row, "continues": None, "root_cause_site": sites[0], "pattern": "cascade", **cells}


def told(*rows: dict[str, object]) -> pd.DataFrame:
    """Return rows as the table holds them."""
    table = pd.DataFrame(list(rows), columns=list(rows[0]))
    return table.assign(window_start=stamps(table.pop("at").to_numpy()))


def verdict(*rows: dict[str, object]) -> Judged:
    """Judge rows by the one planted cascade."""
    return judge([EVENT], SITES, told(*rows), interval=MINUTE, margin=10 * MINUTE)


def test_an_incident_counts_as_last_told_since_it_opened() -> None:
    found = verdict(incident(4, "x", "B"), incident(6, "x", "ABD", "changed"))
    assert (found.n_incidents, found.n_true) == (1, 1)
    assert found.findings[0].delay == 4
    assert found.findings[0].is_root_right
    assert found.findings[0].is_before_end


def test_less_than_half_of_the_sites_or_too_late_is_not_found() -> None:
    lone = verdict(incident(4, "x", "A"))
    assert lone.findings[0].incident is None
    assert lone.n_true == 1
    late = verdict(incident(71, "x", "ABC"))
    assert late.findings[0].incident is None
    assert (late.n_incidents, late.n_true) == (1, 0)


def test_an_incident_that_merged_tells_nothing_itself() -> None:
    found = verdict(
        incident(3, "x", "BC"),
        incident(4, "y", "A"),
        incident(5, "x", "BC", "merged"),
        incident(5, "y", "ABC", "changed"),
    )
    assert found.findings[0].delay == 4
    assert (found.n_incidents, found.n_true) == (2, 2)


def test_a_name_that_midnight_changed_is_the_same_incident() -> None:
    rows = told(incident(3, "x", "A"), incident(9, "y", "AB", "changed", continues="x"))
    (only,) = incidents_of(rows)
    assert only.opened_us == MONDAY + 3 * MINUTE
    assert only.sites == {"A", "B"}


@pytest.fixture(scope="module")
def small() -> PlantedFleet:
    return PlantedFleet(101, history_days=16, n_sites=12, n_regions=2)


@pytest.mark.parametrize("kind", ["site", "cascade"])
def test_faults_of_a_day_are_found_and_traced(small: PlantedFleet, kind: str) -> None:
    found = judged_kind(small, kind)
    assert recall(found.findings) >= 0.5
    assert root_accuracy(found.findings) >= 0.8
    assert found.n_true >= 0.6 * found.n_incidents


@pytest.mark.slow
def test_twenty_seeds_of_every_kind_keep_the_floors() -> None:
    days = judged_seeds(SEEDS)
    for kind, floors in FLOORS.items():
        own = [day[kind] for day in days]
        found = findings_of(own)
        assert recall(found) >= floors.recall, kind
        assert sum(j.n_true for j in own) >= floors.precision * sum(j.n_incidents for j in own), (
            kind
        )
        assert root_accuracy(found) >= floors.root, kind
        delays = [f.delay for f in found if f.incident is not None]
        assert np.median(delays) <= floors.delay, kind
    silent = [day["dropout"] for day in days]
    assert sum(j.n_incidents for j in silent) <= len(days)


def test_days_that_share_a_history_tell_what_the_whole_span_tells(small: PlantedFleet) -> None:
    events = small.events("cascade")
    whole = small.evaluate(events).fleet_correlation
    assert len(whole)
    fleet, trained = small.fleet, small.trained
    read = small.telemetry(events).read
    history = AnomalyHistory(fleet, read, trained)
    hours = Span(MONDAY, MONDAY + DAY).steps(6 * HOUR)
    parts = [evaluate_landed(fleet, read, part, trained, history=history) for part in hours]
    pieces = pd.concat([part.fleet_correlation for part in parts], ignore_index=True)
    own = whole[(whole["window_start"] < pieces["window_start"].max())]
    pd.testing.assert_frame_equal(pieces.iloc[: len(own)], own.reset_index(drop=True))


def test_days_without_faults_raise_hardly_anything() -> None:
    days = list(QuietMonth(5, 1, 60, seed=301).days(1))
    assert not any(day.has_several for day in days)
    assert sum(day.n_isolated for day in days) <= 2
    assert all(day.n_scored == 5 * 1440 for day in days)
