"""Tables of what was landed, and of what became of it."""

from fleet_dagster.model.tables.columns import WINDOW, Column, Table, kpi_columns

SITE_TELEMETRY = Table(
    name="site_telemetry",
    grain="landed snapshot",
    key=("fleet", "batch_id", "row_no"),
    retention_days=90,
    description="Raw snapshots as they were landed, in physical units; the only input of every derived table.",
    columns=(
        Column("fleet", "string", "Fleet the row belongs to"),
        Column("day", "date", "UTC day of timestamp; the partition folder"),
        Column(
            "site_id", "string", "Site as named by the source; empty where the source gave none"
        ),
        Column(
            "timestamp",
            "timestamp",
            "Instant of the snapshot, UTC; received_at where it is unusable",
        ),
        *kpi_columns("reading", "Reading of KPI {k}, in its physical unit"),
        Column(
            "status",
            "int8",
            "0 online, 1 degraded, 2 faulted, 3 offline",
            nullable=True,
            lo=0,
            hi=3,
        ),
        Column(
            "uptime_pct", "float32", "Share of time in operation", "%", nullable=True, lo=0, hi=100
        ),
        Column("fault_count", "int32", "Active faults, a gauge", "1", nullable=True, lo=0),
        Column("quality", "int8", "OPC UA quality: 0 good, 1 uncertain, 2 bad", lo=0, hi=2),
        Column("sequence", "int64", "Sequence number of the source", nullable=True),
        Column("received_at", "timestamp", "Instant of landing, UTC"),
        Column("batch_id", "string", "Landing batch"),
        Column("row_no", "int64", "Row within the batch, from 0", lo=0),
        Column("historical", "bool", "Imported history: never too late"),
        Column(
            "problem", "string", "Why the snapshot cannot be used; null where it can", nullable=True
        ),
        Column(
            "detail", "string", "The problem in words: what was found and expected", nullable=True
        ),
        Column("raw", "string", "Original text of an unusable snapshot", nullable=True),
    ),
)


QUARANTINE = Table(
    name="quarantine",
    grain="unusable snapshot",
    key=("fleet", "batch_id", "row_no"),
    retention_days=90,
    description="Snapshots that could not be used, each with its reason and original text, in the window they were filed under.",
    columns=(
        *WINDOW,
        Column("site_id", "string", "Site as named by the source; empty where it gave none"),
        Column("problem", "string", "Reason, as a code"),
        Column("detail", "string", "Reason, in words"),
        Column("raw", "string", "Original text", nullable=True),
        Column("received_at", "timestamp", "Instant of landing, UTC"),
        Column("batch_id", "string", "Landing batch"),
        Column("row_no", "int64", "Row within the batch, from 0", lo=0),
    ),
)


INGEST_STATS = Table(
    name="ingest_stats",
    grain="landing batch x window",
    key=("fleet", "window_start", "batch_id"),
    retention_days=90,
    description="Where every landed snapshot went: landed = used + duplicates + quarantined + sampled_out.",
    columns=(
        *WINDOW,
        Column("batch_id", "string", "Landing batch"),
        Column("landed", "int64", "Snapshots landed", "1", lo=0),
        Column("used", "int64", "Snapshots that entered a window's reduction", "1", lo=0),
        Column(
            "duplicates",
            "int64",
            "Snapshots replaced by another of the same site and timestamp",
            "1",
            lo=0,
        ),
        Column("quarantined", "int64", "Snapshots that could not be used", "1", lo=0),
        Column(
            "sampled_out", "int64", "Snapshots whose KPIs were not read during a storm", "1", lo=0
        ),
    ),
)
