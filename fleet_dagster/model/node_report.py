"""What a node reports of its work, and what was judged of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fleet_dagster.model.tables import (
    AI_INFERENCE,
    ANOMALY_SCORE,
    BASELINE,
    FLEET_CORRELATION,
    FLEET_KPI,
    REGIONAL_HEALTH,
    SITE_ASSIGNMENT,
    SITE_KPI,
    SITE_RANKING,
    Table,
)

Source = Literal["run", "live", "cli"]
_SECOND = 1_000_000
NODES: Mapping[str, Table] = {
    "region_mapper": SITE_ASSIGNMENT,
    "baseline": BASELINE,
    "site_ingest": SITE_KPI,
    "anomaly_scorer": ANOMALY_SCORE,
    "anomaly_correlator": FLEET_CORRELATION,
    "fleet_aggregator": FLEET_KPI,
    "regional_scorer": REGIONAL_HEALTH,
    "performance_comparator": SITE_RANKING,
    "ai_inference": AI_INFERENCE,
}
"""The nodes that report, in the order of the pipeline, each with the first of its tables."""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What one node did in one refresh, over all the windows that it computed."""

    fleet: str
    node: str
    source: Source
    """Who asked for it: a run, the live engine, or a command."""
    run_id: str
    start: int
    """Start of the first window that was asked for. [us]"""
    end: int
    """End of the last. [us]"""
    windows: int
    """Windows computed; of baselines, training days."""
    rows_in: int
    """Rows read: of site_ingest, the snapshots landed in its windows; of the others, rows of telemetry and tables."""
    rows_out: int
    """Rows written: what stood already as it was computed is not written."""
    shed: int
    """Left out to save work: site-windows not published, scored or asked about."""
    quarantined: int
    """Snapshots that could not be used."""
    started_at: int
    """Instant. [us]"""
    duration_us: int
    """Waiting for other writers included. [us]"""
    lag_us: int | None
    """Age of the newest window that stands, of all and not just of this refresh; None where none stands, and of baselines. [us]"""
    watermark: int | None
    """Until when windows are settled. [us]"""

    @property
    def duration_s(self) -> float:
        """How long it took, in seconds."""
        return self.duration_us / _SECOND

    @property
    def window_s(self) -> float:
        """How long it took for each window, in seconds."""
        return self.duration_s / max(1, self.windows)

    @property
    def lag_s(self) -> float | None:
        """Age of the newest window that stands, in seconds."""
        return None if self.lag_us is None else self.lag_us / _SECOND


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the node's thresholds say of a report."""

    anomaly_score: float | None
    """How unusually long it took for each window; None where too little is known. [scaled MADs]"""
    breaches: tuple[str, ...]
    """What is beyond a threshold, in words; empty where nothing is."""


@dataclass(frozen=True, slots=True)
class JudgedReport:
    """A report with its judgement."""

    report: NodeReport
    judgement: Judgement
