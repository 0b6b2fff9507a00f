"""What a node reads and makes in one refresh, counted while it is at work, and the report of it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from fleet_dagster.core.windows import SECOND, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.node_report import NodeReport, Source
from fleet_dagster.model.tables import (
    AI_INFERENCE,
    ALL_DOMAINS,
    ANOMALY_SCORE,
    BASELINE,
    INGEST_STATS,
    SITE_KPI,
    Table,
)
from fleet_dagster.storage.history import History
from fleet_dagster.training import ReadTelemetry

Observe = Callable[[NodeReport], None]
"""Takes what each node reports."""
UNPUBLISHED = ("quiet", "sampled_out")
"""Dispositions of site rows that are kept back to save work; a stale site has nothing to publish."""


def unobserved(_report: NodeReport) -> None:
    """Take no notice of a report."""


@dataclass(slots=True)
class Tally:
    """Rows counted on the way; one for each refresh of a node."""

    read: int = 0
    landed: int | None = None
    shed: int = 0
    quarantined: int = 0

    def counting(self, read: ReadTelemetry) -> ReadTelemetry:
        """Return a reader of telemetry whose rows are counted."""

        def counted(span: Span) -> pd.DataFrame:
            return self.taken(read(span))

        return counted

    def taken(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Count rows that were read, and hand them on."""
        self.read += len(rows)
        return rows

    def made(self, table: Table, rows: pd.DataFrame) -> None:
        """Count what was left out or could not be used, by the rows that a node made of a table."""
        if table is INGEST_STATS:
            self.landed = (self.landed or 0) + int(rows["landed"].sum())
            self.quarantined += int(rows["quarantined"].sum())
        elif table in _SHED:
            self.shed += int(np.count_nonzero(_SHED[table](rows)))


@dataclass(frozen=True, slots=True)
class NodeWork:
    """One node's refresh, from its beginning on."""

    config: FleetConfig
    node: str
    tables: Sequence[Table]
    source: Source
    run_id: str
    started_at: int
    began: float = field(default_factory=time.perf_counter)
    tally: Tally = field(default_factory=Tally)

    def report(
        self, history: History, span: Span, computed: Sequence[Span], *, rows_out: int, now: int
    ) -> NodeReport:
        """Report what was done, now that it is."""
        table, fleet, coverage = self.tables[0].name, self.config.name, history.coverage
        newest = None if BASELINE in self.tables else coverage.newest_end(table, fleet)
        tally = self.tally
        return NodeReport(
            fleet=fleet,
            node=self.node,
            source=self.source,
            run_id=self.run_id,
            start=span.start,
            end=span.end,
            windows=self._windows(computed),
            rows_in=tally.read if tally.landed is None else tally.landed,
            rows_out=rows_out,
            shed=tally.shed,
            quarantined=tally.quarantined,
            started_at=self.started_at,
            duration_us=round((time.perf_counter() - self.began) * SECOND),
            lag_us=None if newest is None else max(0, now - newest),
            watermark=coverage.settled_through(fleet, table),
        )

    def _windows(self, computed: Sequence[Span]) -> int:
        if BASELINE in self.tables:
            return len(computed)
        return sum(len(s.starts(self.config.interval_s * SECOND)) for s in computed)


def _unpublished(rows: pd.DataFrame) -> "pd.Series[bool]":
    return rows["disposition"].isin(UNPUBLISHED)


def _unscored(rows: pd.DataFrame) -> "pd.Series[bool]":
    return (rows["domain"] == ALL_DOMAINS) & (rows["state"] == "not_scored")


def _unasked(rows: pd.DataFrame) -> "pd.Series[bool]":
    return rows["outcome"] == "rate_limited"


_SHED: Mapping[Table, Callable[[pd.DataFrame], "pd.Series[bool]"]] = {
    SITE_KPI: _unpublished,
    ANOMALY_SCORE: _unscored,
    AI_INFERENCE: _unasked,
}
"""Which rows of a table stand for work that was left out."""
