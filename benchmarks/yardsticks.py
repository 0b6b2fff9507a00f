"""DuckDB as the yardstick: a plain scan of the same files, and the same reduction in SQL."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import READING_NAMES, SITE_TELEMETRY, Column

THREADS = 2


def connect() -> duckdb.DuckDBPyConnection:
    """Open an empty database in memory, with as many threads as everybody else has."""
    connection = duckdb.connect(":memory:")
    connection.execute(f"SET threads = {THREADS}")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def scan(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    """Sum every column of the files; text is counted, which is cheaper."""
    stored = [c for c in SITE_TELEMETRY.columns if c.name not in ("fleet", "day")]
    sums = ", ".join(_sum(c) for c in stored)
    connection.execute(f"SELECT {sums} FROM {_source(files)}").fetchall()  # noqa: S608 - own names


def reduce_in_sql(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path], config: FleetConfig
) -> pa.Table:
    """Drop duplicates and average each window, as `site_ingest` does but for carrying, staleness and the books."""
    means = ", ".join(
        f"avg(greatest(least((CASE WHEN quality = 0 THEN {name}::DOUBLE END - {kpi.lo}) / {kpi.hi - kpi.lo}, 4096), -4096))"
        f" AS kpi_{k:02d}"
        for k, (name, kpi) in enumerate(zip(READING_NAMES, config.kpis, strict=False))
    )
    window = f"time_bucket(INTERVAL '{config.interval_s} seconds', timestamp)"
    query = f"""
        WITH used AS (
            SELECT * FROM {_source(files)} WHERE problem IS NULL
            QUALIFY row_number() OVER (
                PARTITION BY site_id, timestamp
                ORDER BY coalesce(sequence, -1) DESC, received_at DESC, batch_id DESC, row_no DESC
            ) = 1
        )
        SELECT {window} AS window_start, site_id, {means}, arg_max(status, timestamp) AS status,
            avg(uptime_pct::DOUBLE) AS uptime_pct, max(fault_count) AS fault_count,
            count(*) AS n_snapshots, 100 * avg((quality = 0)::INT) AS good_pct, max(timestamp) AS last_seen
        FROM used GROUP BY window_start, site_id
    """  # noqa: S608 - own names
    return connection.sql(query).to_arrow_table()


def _sum(column: Column) -> str:
    if column.type == "string":
        return f"count({column.name})"
    if column.type == "timestamp":
        return f"sum(epoch_us({column.name}))"
    return f"sum({column.name}{'::INT' if column.type == 'bool' else ''})"


def _source(files: Sequence[Path]) -> str:
    names = ", ".join(f"'{file}'" for file in files)
    return f"read_parquet([{names}], hive_partitioning = false)"
