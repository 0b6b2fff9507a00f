"""Every declared lookback, read exactly, one window more and one window less: only less changes a row."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.slots import opened
from fleet_dagster.core.windows import DAY, MINUTE, SECOND, Span
from fleet_dagster.frames.columns import empty_frame
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import LOOKBACKS, ingest_lookback, persistence_lookback
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster.model.tables import ANOMALY_SCORE, BASELINE_MODEL
from fleet_dagster.nodes.ai_inference import ai_inference, route
from fleet_dagster.nodes.anomaly_correlator import anomaly_correlator
from fleet_dagster.nodes.anomaly_scorer import anomaly_scorer
from fleet_dagster.nodes.performance_comparator import performance_comparator
from fleet_dagster.nodes.region_mapper import region_mapper
from fleet_dagster.nodes.site_ingest import site_ingest
from fleet_dagster.pipeline import frame_reader
from fleet_dagster.training import baselines_for
from fleet_dagster_tests import fleets
from fleet_dagster_tests.anomalies import alarm
from fleet_dagster_tests.fleets import MIDNIGHT, NOON

SPAN = Span(NOON, NOON + 5 * MINUTE)
STALENESS_S = 200
Rows = Callable[[Fleet, pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Case:
    """What a statistic reads, and how its rows follow from that."""

    fleet: Fleet
    read: pd.DataFrame
    rows_of: Rows
    span: Span = SPAN
    time_column: str = "timestamp"

    def since(self, instant: int) -> pd.DataFrame:
        """Return the rows where nothing before an instant is read."""
        is_read = self.read[self.time_column] >= fleets.utc(instant)
        return self.rows_of(self.fleet, self.read[is_read])


def landed(settings: FleetConfig, frame: pd.DataFrame, rows_of: Rows) -> Case:
    return Case(Fleet.of(settings), fleets.landed(settings, frame), rows_of)


def config(n_sites: int) -> FleetConfig:
    mappings = [{"site_id": f"S-{i:03d}", "region_id": "R"} for i in range(n_sites)]
    return FleetConfig.model_validate(
        {
            **fleets.content(),
            "region_mappings": mappings,
            "profile": "medium",
            "staleness_threshold_s": STALENESS_S,
        }
    )


def snapshots(sites: dict[str, list[int]], **values: Any) -> pd.DataFrame:
    rows = [(site, t) for site, stamps in sites.items() for t in stamps]
    frame = pd.DataFrame(rows, columns=["site_id", "timestamp"])
    frame["timestamp"] = fleets.utc(frame["timestamp"].to_numpy())
    return frame.assign(status=0, uptime_pct=100.0, fault_count=0, output_kw=256.0, **values)


def ingested(fleet: Fleet, telemetry: pd.DataFrame, span: Span = SPAN) -> pd.DataFrame:
    assignment = region_mapper(fleet, span)
    return site_ingest(fleet, telemetry, assignment, fleets.UNTRAINED, span).site_kpi


def carried() -> Case:
    """Return a site that was last heard of so long ago that it is just still fresh in the first window."""
    oldest = NOON + MINUTE - STALENESS_S * SECOND
    return landed(config(1), snapshots({"S-000": [oldest]}), ingested)


def newly_changed() -> Case:
    """Return sites that say the same as before, which is carried from as far back as may be; some have no turn."""
    oldest = NOON - STALENESS_S * SECOND
    sites = {f"S-{i:03d}": [oldest, NOON + SECOND] for i in range(60)}
    return landed(config(60), snapshots(sites), ingested)


def persistent() -> Case:
    """Return a site that is out in the first of five windows and in two later ones: persistent, if all are read."""
    stamps = [NOON + n * MINUTE + SECOND for n in range(-6, 5)]
    frame = snapshots({f"S-{i:03d}": stamps for i in range(9)})
    bad = np.array([NOON + n * MINUTE + SECOND for n in (-4, -1, 0)])
    is_bad = (frame["site_id"] == "S-000") & frame["timestamp"].isin(fleets.utc(bad))
    frame.loc[is_bad, ["output_kw", "uptime_pct", "fault_count"]] = (0.0, 0.0, 20)

    def ranked(fleet: Fleet, telemetry: pd.DataFrame) -> pd.DataFrame:
        block = SPAN.widen(before=persistence_lookback(fleet))
        wide = SPAN.widen(before=10 * MINUTE)
        rows = ingested(fleet, telemetry, wide)
        return performance_comparator(
            fleet, rows, region_mapper(fleet, block), fleets.UNTRAINED, SPAN
        )

    return landed(config(9), frame, ranked)


def scored() -> Case:
    """Return a site that deviates, and whose deviation can be dated back to a window that was judged only just.

    Of the 14 windows that this one looks at, it has 10: the first, two that carry its values, and the last seven.
    """
    settings = config(1)
    fleet = Fleet.of(settings)
    earlier = np.arange(NOON - 3 * DAY, NOON - 2 * DAY, MINUTE)
    noise = np.random.default_rng(1).normal(0.0, 10.0, earlier.size)
    history = snapshots({"S-000": earlier.tolist()}).assign(output_kw=256.0 + noise)
    read = frame_reader(fleets.landed(settings, history))
    models = baselines_for(fleet, read, SPAN).baseline_model
    assert (models["state"] == "trained").any()
    present = [n for n in range(-120, 5) if not -42 <= n <= -37]
    frame = snapshots({"S-000": [NOON + n * MINUTE + SECOND for n in present]})
    frame["output_kw"] = np.where(np.array(present) >= -36, 456.0, 256.0)

    def scores(fleet: Fleet, telemetry: pd.DataFrame) -> pd.DataFrame:
        block = SPAN.widen(before=120 * MINUTE)
        rows = ingested(fleet, telemetry, block)
        return anomaly_scorer(fleet, rows, region_mapper(fleet, SPAN), models, SPAN)

    return landed(settings, frame, scores)


def continued() -> Case:
    """Return an alarm since four days ago: what it was called yesterday depends on the first of its windows that is read.

    A row says no more than an hour ago for when a deviation began that has outlasted what its score looks back at.
    """
    rows = alarm("S-000", -4 * 24 * 60, 60, origin=MIDNIGHT)
    seen = rows["window_start"] - pd.Timedelta(hours=1)
    rows = rows.assign(onset=np.maximum(rows["onset"], seen))

    def told(fleet: Fleet, anomalies: pd.DataFrame) -> pd.DataFrame:
        return anomaly_correlator(fleet, anomalies, empty_frame(BASELINE_MODEL), midnight)

    midnight = Span(MIDNIGHT, MIDNIGHT + 5 * MINUTE)
    return Case(Fleet.of(config(1)), rows, told, midnight, time_column="window_start")


def fed() -> Case:
    """Return a site whose model is fed a mean over six windows, each with a value of its own; its digest tells inputs apart."""
    slot = {"slot_id": 0, "model_id": "m", "features": ["mean(output_kw, 6)"]}
    settings = config(1).model_copy(update={"ai_models": (AIModelSlot.model_validate(slot),)})
    frame = snapshots({"S-000": [NOON + n * MINUTE + SECOND for n in range(-30, 5)]})
    frame["output_kw"] = 256.0 + np.arange(len(frame)) ** 2

    def answers(fleet: Fleet, telemetry: pd.DataFrame) -> pd.DataFrame:
        block = SPAN.widen(before=30 * MINUTE)
        rows = ingested(fleet, telemetry, block)
        work = route(fleet, rows, empty_frame(ANOMALY_SCORE), region_mapper(fleet, block), SPAN)
        with opened(ModelFolder(Path("nowhere"))) as slots:
            return ai_inference(work, slots).drop(columns="latency_us")

    return landed(settings, frame, answers)


CASES = {
    "ai_features": fed,
    "anomaly_score": scored,
    "carried_values": carried,
    "incidents": continued,
    "newly_changed": newly_changed,
    "persistent_outlier": persistent,
}


def test_every_declared_lookback_has_a_case() -> None:
    assert CASES.keys() == LOOKBACKS.keys()


@pytest.mark.parametrize("name", list(LOOKBACKS))
def test_only_reading_less_than_declared_changes_the_rows(name: str) -> None:
    case = CASES[name]()
    first, interval = case.span.start, case.fleet.interval
    back = LOOKBACKS[name].before(case.fleet, first, case.span.end)
    assert back % interval == 0
    exactly = case.since(first - back)
    assert len(exactly)
    fleets.assert_same_rows(exactly, case.since(first - back - interval))
    fleets.assert_same_rows(exactly, case.rows_of(case.fleet, case.read))
    with pytest.raises(AssertionError):
        fleets.assert_same_rows(exactly, case.since(first - back + interval))


def test_ingest_reads_as_far_back_as_the_longest_of_its_lookbacks() -> None:
    fleet = Fleet.of(config(60))
    longest = max(
        lookback.before(fleet, SPAN.start, SPAN.end)
        for lookback in LOOKBACKS.values()
        if lookback.reads == "site_telemetry"
    )
    assert ingest_lookback(fleet, SPAN.start, SPAN.end) == longest
