"""Rows of `fleet_correlation`, written by hand."""

import datetime as dt
from typing import Any

import pyarrow as pa

from fleet_dagster.core.windows import MINUTE
from fleet_dagster.model.tables import FLEET_CORRELATION
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster.storage.store import Store


def change(incident_id: str, window: int, phase: str = "opened", **cells: Any) -> dict[str, Any]:
    """Return a row: what happened to an incident in a window [us]; cells may be changed."""
    start = stamp(window)
    return {
        "fleet": "plant",
        "day": start.date(),
        "window_start": start,
        "window_end": stamp(window + MINUTE),
        "incident_id": incident_id,
        "phase": phase,
        "continues": None,
        "merged_into": None,
        "pattern": "isolated",
        "domain": "all",
        "sites": ["S1"],
        "n_sites": len(cells.get("sites", ["S1"])),
        "regions": ["north"],
        "onset": stamp(window - 5 * MINUTE),
        "root_cause_site": "S1",
        "root_cause_kpi": "temp",
        "candidates": ["S1"],
        "severity": "warning",
        "confidence": 0.8,
        "p_value": None,
        "peak_ratio": 2.0,
        **cells,
    }


def record(store: Store, *changes: dict[str, Any]) -> None:
    """Append rows to the lake."""
    rows = pa.Table.from_pylist(list(changes), schema=schema_of(FLEET_CORRELATION))
    store.lake.append(FLEET_CORRELATION, rows, f"test-{changes[0]['incident_id']}")


def stamp(instant: int) -> dt.datetime:
    """Return an instant [us] as a time stamp."""
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=instant)
