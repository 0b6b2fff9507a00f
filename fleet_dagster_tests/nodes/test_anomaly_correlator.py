"""The node is a pure function of its windows: whatever span is asked for, whatever else is given."""

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import incident_lookback
from fleet_dagster.model.tables import BASELINE_MODEL, FLEET_CORRELATION
from fleet_dagster.nodes.anomaly_correlator import anomaly_correlator
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster_tests import fleets
from fleet_dagster_tests.anomalies import OUTPUT, VIBRATION, alarm, scores
from fleet_dagster_tests.fleets import MIDNIGHT, NOON

UNKNOWN = frames.empty_frame(BASELINE_MODEL)
"""No history of alarms."""
CHAIN = {"S-02": ["S-01"], "S-03": ["S-02"]}


def plant(**changes: Any) -> Fleet:
    mappings = [
        {"site_id": site, "region_id": f"R-{i % 2}", "depends_on": CHAIN.get(site, [])}
        for i, site in enumerate(fleets.SITES)
    ]
    return fleets.fleet(**{"region_mappings": mappings, "interval_s": 60, **changes})


def unending(site_id: str, start: int, end: int) -> pd.DataFrame:
    """Return a long alarm whose beginning is soon out of sight: the scorer looks back an hour."""
    rows = alarm(site_id, start, end)
    seen = rows["window_start"] - pd.Timedelta(minutes=59)
    return rows.assign(onset=np.maximum(rows["onset"], seen))


def busy(seed: int = 3, *, days: int = 5, n: int = 120) -> pd.DataFrame:
    """Return alarms of many lengths over some days, the last of them Monday the fifth."""
    rng = np.random.default_rng(seed)
    first = -(days - 1) * 24 * 60 - 12 * 60
    rows = []
    for _ in range(n):
        start = int(rng.integers(first, 12 * 60))
        length = int(rng.choice([2, 4, 12, 30, 90]))
        for site in rng.choice(10, size=int(rng.integers(1, 4)), replace=False):
            delay = int(rng.integers(0, 6))
            onset = start + delay - int(rng.integers(0, 5))
            rows.append(
                alarm(
                    f"S-{site + 1:02d}",
                    start + delay,
                    start + delay + length,
                    onset=onset,
                    ratio=float(rng.uniform(1.3, 6)),
                    blamed=OUTPUT if rng.random() < 0.5 else VIBRATION,
                )
            )
    rows += [unending(site, first + 60 * i, 12 * 60) for i, site in enumerate(("S-02", "S-09"))]
    table = pd.concat(rows, ignore_index=True)
    return table.drop_duplicates(["site_id", "window_start", "domain"]).reset_index(drop=True)


def test_window_by_window_gives_what_a_range_gives() -> None:
    fleet, table = plant(), busy()
    span = Span(MIDNIGHT - HOUR, MIDNIGHT + 4 * HOUR)
    whole = anomaly_correlator(fleet, table, UNKNOWN, span)
    assert {"opened", "changed", "closed"} <= set(whole["phase"])
    assert whole["continues"].notna().any()
    for step in (41 * MINUTE, HOUR):
        parts = [
            anomaly_correlator(fleet, _until(table, part.end), UNKNOWN, part)
            for part in span.steps(step)
        ]
        pieces = frames.concat(FLEET_CORRELATION, parts)
        fleets.assert_same_rows(whole, pieces)


def test_what_is_older_than_the_lookback_changes_nothing() -> None:
    fleet, table = plant(), busy(8, days=7, n=220)
    span = Span(MIDNIGHT, MIDNIGHT + 4 * HOUR)
    back = span.start - incident_lookback(fleet, span.start, span.end)
    older = table[frames.microseconds(table["window_start"]) >= back]
    assert len(older) < len(table)
    fleets.assert_same_rows(
        anomaly_correlator(fleet, table, UNKNOWN, span),
        anomaly_correlator(fleet, older, UNKNOWN, span),
    )


def test_an_incident_keeps_its_name_for_a_day_and_says_at_midnight_what_it_was_called() -> None:
    began = -50 * 60  # two days and fourteen hours before midnight
    lasting = scores(*(unending(s, began + d, 18 * 60) for d, s in enumerate(("S-01", "S-02"))))
    fleet = plant()
    rows = anomaly_correlator(fleet, lasting, UNKNOWN, Span(MIDNIGHT - 2 * DAY, MIDNIGHT + 2 * DAY))
    named = rows[rows["continues"].notna()]
    first = rows["incident_id"].iloc[0]
    assert frames.microseconds(named["window_start"]).tolist() == [MIDNIGHT + DAY]
    assert named["continues"].tolist() == [first]
    assert named["sites"].tolist() == [["S-01", "S-02"]]
    assert rows["phase"].tolist() == ["opened", "changed", "changed", "closed"]
    assert len(set(rows["incident_id"])) == 2


def test_a_site_that_moves_to_another_region_stays_in_its_incident() -> None:
    noon = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
    mappings = [
        {"site_id": "S-01", "region_id": "R-0"},
        {"site_id": "S-02", "region_id": "R-0"},
        {"site_id": "S-03", "region_id": "R-1"},
        {"site_id": "S-01", "region_id": "R-1", "valid_from": noon + dt.timedelta(minutes=10)},
    ]
    both = scores(alarm("S-01", 0, 30), alarm("S-02", 2, 30, onset=2))
    worse = alarm("S-01", 30, 34, ratio=20.0)
    fleet = plant(region_mappings=mappings)
    rows = anomaly_correlator(fleet, scores(both, worse), UNKNOWN, Span(NOON, NOON + HOUR))
    assert len(set(rows["incident_id"])) == 1
    assert rows["regions"].tolist() == [["R-0"], ["R-0"], ["R-0", "R-1"], ["R-0", "R-1"]]
    assert rows["n_sites"].tolist() == [1, 2, 2, 2]


def test_history_says_how_surprising_alarms_at_once_are() -> None:
    pair = scores(alarm("S-01", 0, 9), alarm("S-05", 3, 9, onset=3))
    fleet, span = plant(), Span(NOON, NOON + HOUR)
    often = models(n_onsets=400)
    assert anomaly_correlator(fleet, pair, UNKNOWN, span)["n_sites"].max() == 2
    assert anomaly_correlator(fleet, pair, often, span)["n_sites"].max() == 1
    unripe = often.assign(state="warming_up")
    assert anomaly_correlator(fleet, pair, unripe, span)["n_sites"].max() == 2


def models(*, n_onsets: int) -> pd.DataFrame:
    rows = [
        {"window_start": fleets.utc(MIDNIGHT), "scope": "site", "scope_id": site, "domain": "all"}
        for site in fleets.SITES
    ]
    table = pd.DataFrame(rows)
    return table.assign(state="trained", n_onsets=n_onsets, exposure_h=96.0)


@pytest.mark.parametrize("table", [busy(n=20), busy(n=20).iloc[:0]])
def test_rows_are_stored_as_the_table_says(table: pd.DataFrame) -> None:
    rows = anomaly_correlator(plant(), table, UNKNOWN, Span(MIDNIGHT, NOON))
    stored = frames.arrow_of(FLEET_CORRELATION, schema_of(FLEET_CORRELATION), "plant", rows)
    assert stored.num_rows == len(rows)
    assert not rows.duplicated(["window_start", "incident_id"]).any()


def _until(table: pd.DataFrame, end: int) -> pd.DataFrame:
    """Return what a live run would know: no window that ends later."""
    return table[frames.microseconds(table["window_start"]) < end]
