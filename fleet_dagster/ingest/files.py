"""Telemetry files: CSV, JSON Lines and Parquet as streams of tables, checked whole before anything is landed."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet as pq

from fleet_dagster.ingest.columns import (
    BAD_LINE,
    RESERVED,
    plain_columns,
    refuse_names,
    resolve_columns,
)
from fleet_dagster.ingest.csvfile import csv_tables
from fleet_dagster.ingest.jsonlines import json_tables
from fleet_dagster.ingest.stamps import parse_stamps, refuse_mixture
from fleet_dagster.ingest.units import kpi_conversions
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import SourceError

_READERS: dict[str, Callable[[Path, FleetConfig], Iterator[pa.Table]]] = {
    ".csv": csv_tables,
    ".csv.gz": csv_tables,
    ".jsonl": json_tables,
    ".ndjson": json_tables,
    ".json": json_tables,
    ".jsonl.gz": json_tables,
    ".ndjson.gz": json_tables,
    ".json.gz": json_tables,
}
SUFFIXES = (*_READERS, ".parquet")
"""Endings of the files that can be read, in lower case."""
_DIGEST_BLOCK = 2**20
_PARQUET_ROWS = 65_536


def read_parts(
    path: Path, config: FleetConfig, *, rows_per_part: int = 500_000
) -> Iterator[pa.Table]:
    """Yield the rows of a file as tables of the source's own columns, in order, of `rows_per_part` rows but for the last.

    Lines that are no record are rows too: they carry their text in the reserved column `BAD_LINE`.

    Raises
    ------
    SourceError
        The file cannot be read as a whole; call `check_file` first so that this is known before anything is landed.
    """
    reader = _reader(path)
    held: list[pa.Table] = []
    n_held = 0
    for table in reader(path, config):
        while table.num_rows:
            taken = table.slice(0, rows_per_part - n_held)
            held.append(taken)
            n_held += taken.num_rows
            table = table.slice(taken.num_rows)  # noqa: PLW2901 - what is left of it
            if n_held == rows_per_part:
                yield _united(held)
                held, n_held = [], 0
    if n_held:
        yield _united(held)


def check_file(path: Path, config: FleetConfig) -> int:
    """Read a file through once and return its number of rows.

    Raises
    ------
    SourceError
        The file is unreadable, empty, of an unknown kind, not in its encoding or cut short; columns are missing or of a
        wrong type; or its stamps mix local time and offsets.
    ConfigError
        A source unit cannot be converted to its KPI's unit.
    """
    kpi_conversions(config)
    label, n_rows = str(path), 0
    names: dict[str, None] = {}
    has_record = False
    kinds: dict[str, tuple[int | None, int | None]] = {}
    for part in read_parts(path, config, rows_per_part=_PARQUET_ROWS):
        names.update(dict.fromkeys(_filled_names(part)))
        resolve_columns(config, part.column_names, source=label)
        has_record = (
            has_record or BAD_LINE not in part.column_names or part.column(BAD_LINE).null_count > 0
        )
        _check_stamps(part, config, kinds, n_rows, label)
        n_rows += part.num_rows
    if not n_rows:
        raise SourceError(
            label, "holds no snapshots, expected at least one row", "Export the file again"
        )
    if has_record and _is_json(path):
        resolve_columns(config, list(names), source=label)
    return n_rows


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as hex."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_DIGEST_BLOCK):
                digest.update(block)
    except OSError as error:
        raise SourceError(
            str(path),
            f"cannot be read ({error.strerror or error})",
            "Check the path and the permissions",
        ) from error
    return digest.hexdigest()


def _reader(path: Path) -> Callable[[Path, FleetConfig], Iterator[pa.Table]]:
    name = path.name.lower()
    if name.endswith(".parquet"):
        return _parquet_tables
    for suffix, reader in _READERS.items():
        if name.endswith(suffix):
            return reader
    raise SourceError(str(path), "has an unknown ending", f"Use one of {', '.join(SUFFIXES)}")


def _is_json(path: Path) -> bool:
    return _reader(path) is json_tables


def _filled_names(part: pa.Table) -> list[str]:
    """Return the columns that hold anything: a JSON key that no line uses is a missing column."""
    return [
        name
        for name, column in zip(part.column_names, part.columns, strict=True)
        if name not in RESERVED and column.null_count < len(column)
    ]


def _check_stamps(
    part: pa.Table,
    config: FleetConfig,
    kinds: dict[str, tuple[int | None, int | None]],
    first_row: int,
    label: str,
) -> None:
    """Remember the first stamp with and without an offset per column, across parts."""
    columns = resolve_columns(config, part.column_names, source=label)
    arrays = plain_columns(part, columns, source=label)
    for name in (columns.timestamp, columns.received_at):
        if name is None:
            continue
        stamps = parse_stamps(
            arrays[name],
            name=name,
            time_format=config.source.time_format,
            zone=config.source.timezone,
            source=label,
            first_row=first_row,
        )
        naive, aware = kinds.get(name, (None, None))
        naive = (
            first_row + stamps.first_naive
            if naive is None and stamps.first_naive is not None
            else naive
        )
        aware = (
            first_row + stamps.first_aware
            if aware is None and stamps.first_aware is not None
            else aware
        )
        kinds[name] = (naive, aware)
        refuse_mixture(naive, aware, name=name, source=label)


def _united(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables, promote_options="default").combine_chunks()


def _parquet_tables(path: Path, config: FleetConfig) -> Iterator[pa.Table]:  # noqa: ARG001 - same shape as the other readers
    label = str(path)
    try:
        with pq.ParquetFile(path) as file:
            refuse_names(file.schema_arrow.names, source=label)
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                batch.validate(full=True)
                yield pa.Table.from_batches([batch])
    except SourceError:
        raise
    except FileNotFoundError as error:
        raise SourceError(label, "does not exist", "Check the path") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        found = " ".join(str(error).split())[:200]
        raise SourceError(
            label, f"is not whole Parquet data ({found})", "Copy or export the file again"
        ) from error
