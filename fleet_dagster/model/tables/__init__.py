"""Every table's columns, types, units, ranges and meanings: the single source.

Delta schemas, Dagster column schemas, blocking asset checks and the reference pages are generated from here.
"""

from collections.abc import Iterator
from dataclasses import replace

from fleet_dagster.model.tables.anomalies import ANOMALY_SCORE, FLEET_CORRELATION
from fleet_dagster.model.tables.baselines import BASELINE, BASELINE_MODEL
from fleet_dagster.model.tables.columns import (
    ALL_DOMAINS,
    CENTRE_NAMES,
    DEGRADED,
    DISPOSITIONS,
    FAULTED,
    INCIDENT_PHASES,
    INGESTION_MODES,
    KPI_NAMES,
    N_KPIS,
    OFFLINE,
    ONLINE,
    PATTERNS,
    READING_NAMES,
    SCALE_NAMES,
    SCORE_STATES,
    SEVERITIES,
    STATUS_NAMES,
    UNMAPPED,
    Column,
    ColumnType,
    Table,
    kpi_columns,
)
from fleet_dagster.model.tables.inference import AI_INFERENCE, OUTCOMES
from fleet_dagster.model.tables.landing import INGEST_STATS, QUARANTINE, SITE_TELEMETRY
from fleet_dagster.model.tables.rollups import FLEET_KPI, REGION_KPI, REGIONAL_HEALTH
from fleet_dagster.model.tables.sites import SITE_ASSIGNMENT, SITE_KPI, SITE_RANKING

__all__ = [
    "AI_INFERENCE",
    "ALL_DOMAINS",
    "ANOMALY_SCORE",
    "BASELINE",
    "BASELINES",
    "BASELINE_MODEL",
    "CENTRE_NAMES",
    "DEGRADED",
    "DISPOSITIONS",
    "FAULTED",
    "FLEET_CORRELATION",
    "FLEET_KPI",
    "INCIDENT_PHASES",
    "INGESTION_MODES",
    "INGEST_STATS",
    "KPI_NAMES",
    "N_KPIS",
    "OFFLINE",
    "ONLINE",
    "OUTCOMES",
    "PATTERNS",
    "QUARANTINE",
    "READING_NAMES",
    "REGIONAL_HEALTH",
    "REGION_KPI",
    "SCALE_NAMES",
    "SCORE_STATES",
    "SEVERITIES",
    "SITE_ASSIGNMENT",
    "SITE_KPI",
    "SITE_RANKING",
    "SITE_TELEMETRY",
    "STATUS_NAMES",
    "TABLES",
    "UNMAPPED",
    "Column",
    "ColumnType",
    "Table",
    "derived_tables",
    "kpi_columns",
    "superseded",
    "trial",
]

BASELINES = (BASELINE, BASELINE_MODEL)
"""The tables of training days."""

TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        SITE_TELEMETRY,
        SITE_ASSIGNMENT,
        SITE_KPI,
        QUARANTINE,
        INGEST_STATS,
        REGION_KPI,
        FLEET_KPI,
        REGIONAL_HEALTH,
        SITE_RANKING,
        BASELINE,
        BASELINE_MODEL,
        ANOMALY_SCORE,
        FLEET_CORRELATION,
        AI_INFERENCE,
    )
}


def superseded(table: Table) -> Table:
    """Return the table that keeps `table`'s earlier values after a restatement."""
    extra = (
        Column("intent_id", "string", "The write that replaced the row"),
        Column("superseded_at", "timestamp", "When it was replaced, UTC"),
    )
    return replace(table, name=f"{table.name}_superseded", columns=(*table.columns, *extra))


def trial(table: Table) -> Table:
    """Return the table that keeps what runs tried out of `table` under an override."""
    extra = (
        Column("run_id", "string", "The run that tried it out"),
        Column("tried_at", "timestamp", "When it was tried out, UTC"),
    )
    return replace(
        table,
        name=f"{table.name}_trial",
        key=(*table.key, "run_id"),
        columns=(*table.columns, *extra),
        stream=None,
    )


def derived_tables() -> Iterator[Table]:
    """Yield every table that is computed from telemetry, in pipeline order."""
    return (t for t in TABLES.values() if t is not SITE_TELEMETRY)
