"""Site rows of a span, one block of telemetry at a time."""

from collections.abc import Iterator
from concurrent.futures import Executor

import pandas as pd

from fleet_dagster.core.blocks import block_length
from fleet_dagster.core.windows import Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import ingest_lookback
from fleet_dagster.model.tables import INGEST_STATS, QUARANTINE, SITE_KPI
from fleet_dagster.nodes.site_ingest import Ingested, site_ingest
from fleet_dagster.training import ReadTelemetry


def ingest(
    fleet: Fleet,
    read: ReadTelemetry,
    assignment: pd.DataFrame,
    trained: pd.DataFrame,
    span: Span,
    *,
    threads: Executor | None = None,
) -> Ingested:
    """Run `site_ingest` over a span, one block at a time."""
    parts = list(ingest_blocks(fleet, read, assignment, trained, span, threads=threads))
    return Ingested(
        frames.concat(SITE_KPI, [p.site_kpi for p in parts]),
        frames.concat(QUARANTINE, [p.quarantine for p in parts]),
        frames.concat(INGEST_STATS, [p.ingest_stats for p in parts]),
    )


def ingest_blocks(
    fleet: Fleet,
    read: ReadTelemetry,
    assignment: pd.DataFrame,
    trained: pd.DataFrame,
    span: Span,
    *,
    threads: Executor | None = None,
) -> Iterator[Ingested]:
    """Yield what `site_ingest` makes of each block of a span, holding one block of telemetry at a time."""
    for block in span.steps(block_length(fleet)):
        telemetry = read(block.widen(before=ingest_lookback(fleet, block.start, block.end)))
        yield site_ingest(fleet, telemetry, assignment, trained, block, threads=threads)
