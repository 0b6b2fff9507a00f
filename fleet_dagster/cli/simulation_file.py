"""Files of simulated telemetry, written piece by piece, and the truth about the whole."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pa_csv
from pyarrow import parquet as pq

from fleet_dagster.ingest.simulator import Truth

FileKind = Literal["parquet", "csv", "jsonl"]


class TruthBook:
    """The truth about a span that was simulated in pieces cut at UTC midnights."""

    def __init__(self) -> None:
        self.events: dict[str, Mapping[str, Any]] = {}  # Any: the content of a JSON file
        self.counts: dict[str, Mapping[str, int]] = {}

    def add(self, truth: Truth) -> None:
        """Add a piece; an event that lasts over midnight is one event."""
        self.events |= {str(event["event_id"]): event for event in truth.events}
        self.counts |= truth.counts

    def write(self, path: Path) -> None:
        """Write the truth as JSON."""
        content = {"events": list(self.events.values()), "counts": self.counts}
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@contextmanager
def table_writer(path: Path, kind: FileKind) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that adds rows to a file; the file appears whole, or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with ExitStack() as stack:
            yield {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}[kind](partial, stack)
        if partial.exists():
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _parquet(path: Path, stack: ExitStack) -> Callable[[pa.Table], None]:
    opened: list[pq.ParquetWriter] = []

    def write(rows: pa.Table) -> None:
        if not opened:
            opened.append(stack.enter_context(pq.ParquetWriter(path, rows.schema)))
        opened[0].write_table(rows)

    return write


def joined_lists(rows: pa.Table) -> pa.Table:
    """Return rows with lists as text, items joined by `;`: a cell of a CSV file holds no list."""
    for i, field in enumerate(rows.schema):
        if pa.types.is_list(field.type):
            texts = rows.column(i).cast(pa.list_(pa.string()))
            rows = rows.set_column(i, field.name, pc.binary_join(texts, ";"))
    return rows


def _csv(path: Path, stack: ExitStack) -> Callable[[pa.Table], None]:
    opened: list[pa_csv.CSVWriter] = []

    def write(rows: pa.Table) -> None:
        rows = joined_lists(rows)
        if not opened:
            options = pa_csv.WriteOptions(quoting_style="needed")
            opened.append(
                stack.enter_context(pa_csv.CSVWriter(path, rows.schema, write_options=options))
            )
        opened[0].write_table(rows)

    return write


def _jsonl(path: Path, stack: ExitStack) -> Callable[[pa.Table], None]:
    file = stack.enter_context(path.open("w", encoding="utf-8"))

    def write(rows: pa.Table) -> None:
        for row in rows.to_pylist():
            filled = {name: value for name, value in row.items() if value is not None}
            file.write(json.dumps(filled, default=str) + "\n")

    return write
