"""Small fleets and batches that the ingest tests share."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa

from fleet_dagster.ingest.snapshots import landed_table
from fleet_dagster.model.config import FleetConfig

NOON = 1_767_268_800_000_000
"""2026-01-01T12:00:00Z."""
DAY = 86_400_000_000
STAMP = "2026-01-01T12:00:00Z"


def fleet(**changes: Any) -> FleetConfig:
    content: dict[str, Any] = {
        "name": "plant",
        "kpis": [
            {"name": "temp", "unit": "degC", "lo": 0, "hi": 100},
            {"name": "power", "unit": "kW", "lo": 0, "hi": 500},
        ],
    }
    return FleetConfig.model_validate(content | changes)


def everyone(asked: Sequence[tuple[str, int]]) -> Collection[str]:
    return [site for site, _ in asked]


def land(
    columns: Mapping[str, Any] | pa.Table, config: FleetConfig | None = None, **changes: Any
) -> pa.Table:
    """Land columns; a missing site, stamp or `temp` is filled in with something fine."""
    raw = columns if isinstance(columns, pa.Table) else pa.table(_filled(columns))
    wanted: dict[str, Any] = {
        "batch_id": "b1",
        "received_at_us": NOON,
        "historical": False,
        "admit": everyone,
    }
    return landed_table(config or fleet(), raw, **(wanted | changes))


def row(
    cells: Mapping[str, Any], config: FleetConfig | None = None, **changes: Any
) -> dict[str, Any]:
    """Land one row and return it."""
    found: list[dict[str, Any]] = land(
        {name: [cell] for name, cell in cells.items()}, config, **changes
    ).to_pylist()
    return found[0]


def utc(us: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=us)


def _filled(columns: Mapping[str, Any]) -> dict[str, Any]:
    n = len(next(iter(columns.values())))
    return {"site_id": ["S1"] * n, "timestamp": [STAMP] * n, "temp": ["20"] * n} | dict(columns)
