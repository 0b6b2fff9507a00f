"""Reports of nodes, for tests."""

from typing import Any

from fleet_dagster.core.windows import HOUR, MINUTE, SECOND
from fleet_dagster.model.node_report import NodeReport
from fleet_dagster_tests.fleets import NOON


def node_report(window_s: float = 0.5, windows: int = 60, **changes: Any) -> NodeReport:
    """Return a report of an hour that took so long for each window; anything of it may be changed."""
    values: dict[str, Any] = {
        "fleet": "plant",
        "node": "fleet_aggregator",
        "source": "run",
        "run_id": "run-1",
        "start": NOON,
        "end": NOON + HOUR,
        "windows": windows,
        "rows_in": 360,
        "rows_out": 180,
        "shed": 4,
        "quarantined": 2,
        "started_at": NOON + HOUR + MINUTE,
        "duration_us": round(window_s * windows * SECOND),
        "lag_us": 2 * MINUTE,
        "watermark": NOON + HOUR,
    }
    return NodeReport(**{**values, **changes})
