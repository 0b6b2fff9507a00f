"""Simulated telemetry: the rows of any span, as arrays or as a source file would hold them, with the truth about them.

What a span returns is what it says: [a, c) equals [a, b) followed by [b, c), to the last bit.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleet_dagster.ingest.simulator.faults import Event, Topology, events_between
from fleet_dagster.ingest.simulator.fleet import HOUR_US, SimulatedFleet
from fleet_dagster.ingest.simulator.rows import MALFORMED, TOO_LATE, Rows, hour_rows
from fleet_dagster.ingest.simulator.scenario import Scenario
from fleet_dagster.ingest.zones import DAY_US, utc_text
from fleet_dagster.model.config import FleetConfig

_GHOST = "GHOST-01"


@dataclass(frozen=True, slots=True)
class Truth:
    """What was planted: events, and counts per UTC day."""

    events: tuple[Mapping[str, Any], ...]  # Any: the content of a JSON file
    counts: Mapping[str, Mapping[str, int]]
    """By day: snapshots, duplicates, late, too_late, malformed, and each kind of malformed."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """Telemetry as a source file holds it, and the truth about it."""

    telemetry: pa.Table
    truth: Truth

    def write_truth(self, path: Path) -> None:
        """Write the truth as JSON."""
        content = {"events": list(self.truth.events), "counts": self.truth.counts}
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def simulate(config: FleetConfig, scenario: Scenario, start_us: int, end_us: int) -> Simulated:
    """Simulate the snapshots with timestamps in [start, end), in order of time.

    Returns
    -------
    Simulated
        Telemetry is text when malformed snapshots are planted, else typed.
    """
    fleet = SimulatedFleet(config, scenario)
    events = _events(fleet, start_us, end_us)
    rows = _joined(list(_spans(fleet, events, start_us, end_us, with_malformed=True)), fleet)
    table = (
        _as_text(rows, config, fleet)
        if scenario.malformed_share > 0
        else _as_typed(rows, config, fleet)
    )
    truth = Truth(
        tuple(
            _as_truth(e, fleet.topology, config) for e in events if _touches(e, start_us, end_us)
        ),
        _counts(rows),
    )
    return Simulated(table, truth)


def plain(config: FleetConfig, scenario: Scenario, start_us: int, end_us: int) -> Rows:
    """Return the same snapshots as arrays, without malformed ones: the fast path for benchmarks.

    Returns
    -------
    dict of ndarray
        site_no, timestamp_us, readings (rows x KPIs, float32, NaN = absent), status, uptime_pct, fault_count, sequence, received_us.
    """
    fleet = SimulatedFleet(config, scenario)
    events = _events(fleet, start_us, end_us)
    rows = _joined(list(_spans(fleet, events, start_us, end_us, with_malformed=False)), fleet)
    return {
        name: rows[name]
        for name in (
            "site_no",
            "timestamp_us",
            "readings",
            "status",
            "uptime_pct",
            "fault_count",
            "sequence",
            "received_us",
        )
    }


def site_ids(config: FleetConfig, scenario: Scenario) -> tuple[str, ...]:
    """Return the simulated sites in the order of `site_no`."""
    return SimulatedFleet(config, scenario).topology.sites


def _events(fleet: SimulatedFleet, start_us: int, end_us: int) -> tuple[Event, ...]:
    """Return the faults of all hours that the span touches: each hour is made whole, then cut."""
    first, end = start_us // HOUR_US * HOUR_US, -(-end_us // HOUR_US) * HOUR_US
    return events_between(fleet.scenario, fleet.topology, fleet.models, first, end)


def _touches(event: Event, start_us: int, end_us: int) -> bool:
    return event.start_us < end_us and event.end_us > start_us


def _spans(
    fleet: SimulatedFleet,
    events: tuple[Event, ...],
    start_us: int,
    end_us: int,
    *,
    with_malformed: bool,
) -> Iterator[Rows]:
    for hour in range(start_us // HOUR_US, (end_us - 1) // HOUR_US + 1):
        rows = hour_rows(fleet, fleet.hour(hour, events), hour, with_malformed=with_malformed)
        inside = (rows["timestamp_us"] >= start_us) & (rows["timestamp_us"] < end_us)
        yield rows if inside.all() else {name: column[inside] for name, column in rows.items()}


def _joined(spans: list[Rows], fleet: SimulatedFleet) -> Rows:
    if spans:
        return {name: np.concatenate([s[name] for s in spans]) for name in spans[0]}
    empty = hour_rows(fleet, fleet.hour(0, ()), 0, with_malformed=False)
    return {name: column[:0] for name, column in empty.items()}


def _as_typed(rows: Rows, config: FleetConfig, fleet: SimulatedFleet) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "site_id": pa.array(fleet.topology.sites, pa.string()).take(pa.array(rows["site_no"])),
        "timestamp": pa.array(rows["timestamp_us"], pa.timestamp("us", tz="UTC")),
        "status": pa.array(rows["status"]),
        "uptime_pct": pa.array(rows["uptime_pct"]),
        "fault_count": pa.array(rows["fault_count"]),
        "sequence": pa.array(rows["sequence"]),
        "received_at": pa.array(rows["received_us"], pa.timestamp("us", tz="UTC")),
    }
    columns |= {
        name: pa.array(np.ascontiguousarray(rows["readings"][:, k]), from_pandas=True)
        for k, name in enumerate(config.kpi_names)
    }
    return pa.table(columns)


def _as_text(rows: Rows, config: FleetConfig, fleet: SimulatedFleet) -> pa.Table:
    typed = _as_typed(rows, config, fleet)
    text = {name: _text(typed.column(name)) for name in typed.column_names}
    malformed = rows["malformed"]
    first = config.kpi_names[0]
    spoils = {
        "bad_time": ("timestamp", "31.02.2026 25:61"),
        "missing_site": ("site_id", ""),
        "text_reading": (first, "ERR#12"),
        "infinite_reading": (first, "inf"),
        "bad_status": ("status", "9"),
        "bad_uptime": ("uptime_pct", "187.5"),
        "bad_fault_count": ("fault_count", "-4"),
        "unknown_site": ("site_id", _GHOST),
    }
    for code, kind in enumerate(MALFORMED, start=1):
        column, cell = spoils[kind]
        text[column] = pc.if_else(pa.array(malformed == code), cell, text[column])
    return pa.table(text)


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        return pc.binary_join_element_wise(
            pc.strftime(pc.cast(column, pa.timestamp("us")), format="%Y-%m-%dT%H:%M:%S"), "Z", ""
        )
    return pc.fill_null(pc.cast(column, pa.string()), "")


def _as_truth(
    event: Event, topology: Topology, config: FleetConfig
) -> dict[str, Any]:  # Any: the content of a JSON file
    sites = [topology.sites[i] for i in event.sites]
    return {
        "event_id": event.event_id,
        "kind": event.kind,
        "shape": event.shape,
        "sites": sites,
        "regions": sorted({topology.regions[i] for i in event.sites}),
        "start": utc_text(event.start_us),
        "end": utc_text(event.end_us),
        "onsets": {site: utc_text(us) for site, us in zip(sites, event.onsets_us, strict=True)},
        "kpis": [config.kpi_names[k] for k in event.kpis],
        "magnitude_sigma": event.magnitude_sigma,
        "root_site": None if event.root is None else topology.sites[event.root],
    }


def _counts(rows: Rows) -> dict[str, dict[str, int]]:
    days = rows["timestamp_us"] // DAY_US
    counts: dict[str, dict[str, int]] = {}
    for day in np.unique(days).tolist():
        today = days == day
        malformed = Counter(
            MALFORMED[code - 1]
            for code in rows["malformed"][today & (rows["malformed"] > 0)].tolist()
        )
        counts[str(np.datetime64(day, "D"))] = {
            "snapshots": int(today.sum()),
            "duplicates": int((today & (rows["copy"] > 0)).sum()),
            "late": int((today & (rows["late"] > 0)).sum()),
            "too_late": int((today & (rows["late"] == TOO_LATE)).sum()),
            "malformed": sum(malformed.values()),
            **{kind: malformed.get(kind, 0) for kind in MALFORMED},
        }
    return counts
