"""What is written of a stream for other programs: JSON Lines, or a folder of Parquet files."""

import datetime as dt
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from fleet_dagster.core.windows import iso
from fleet_dagster.storage.durable import flush, replacing
from fleet_dagster.storage.status import with_history
from fleet_dagster.storage.store import Store
from fleet_dagster.streams.deliveries import Delivery


@dataclass(frozen=True, slots=True)
class JsonLines:
    """Writes a line a row, and a line without a row where windows were restated, removed or missed."""

    store: Store
    fleet: str
    out: TextIO

    def write(self, batch: Sequence[Delivery]) -> None:
        """Write a batch; it has left this process when this returns."""
        for delivery, rows in zip(batch, _with_history(self.store, self.fleet, batch), strict=True):
            if delivery.kind != "append":
                self._line(_head(delivery))
            for row in rows.to_pylist():
                self._line({"seq": delivery.seq, "kind": delivery.kind, **_row(row)})
        self.out.flush()

    def _line(self, content: dict[str, Any]) -> None:  # Any: what JSON can hold
        self.out.write(json.dumps(content, default=_plain, ensure_ascii=False) + "\n")


def end_torn_line(out: TextIO) -> None:
    """Begin a new line where a file ends within one, as a writer that was killed leaves it; what it tore is delivered again."""
    try:
        size = os.fstat(out.fileno()).st_size
        with open(f"/proc/self/fd/{out.fileno()}", "rb") as written:  # noqa: PTH123 - a descriptor, not a place
            written.seek(size - 1)
            is_torn = written.read(1) not in (b"", b"\n")
    except OSError:  # no file, or an empty one
        return
    if is_torn:
        out.write("\n")


@dataclass(frozen=True, slots=True)
class ParquetFolder:
    """Writes a file a delivery, named after its entry and windows: delivered again, it is the same file."""

    store: Store
    fleet: str
    folder: Path

    def write(self, batch: Sequence[Delivery]) -> None:
        """Write a batch; it is on the disk when this returns."""
        for delivery, rows in zip(batch, _with_history(self.store, self.fleet, batch), strict=True):
            head = {f"fleet.{k}": str(v) for k, v in _head(delivery).items()}
            schema = rows.schema.with_metadata(head)
            with replacing(self.folder / file_name(delivery)) as partial:
                pq.write_table(rows.cast(schema), partial)
        flush(self.folder)


def file_name(delivery: Delivery) -> str:
    """Return the name of a delivery's file; names sort in the order of delivery."""
    start = iso(delivery.span.start).replace("-", "").replace(":", "")
    return f"{delivery.seq:012d}-{start}-{delivery.kind}.parquet"


def _head(delivery: Delivery) -> dict[str, str | int]:
    return {
        "seq": delivery.seq,
        "kind": delivery.kind,
        "from": iso(delivery.span.start),
        "to": iso(delivery.span.end),
        "rows": delivery.rows.num_rows,
    }


def _with_history(store: Store, fleet: str, batch: Sequence[Delivery]) -> Iterator[pa.Table]:
    """Yield the rows of each delivery with their windows' state and revision, looked up once for neighbours in time."""
    filled = [d for d in batch if d.rows.num_rows]
    if not filled:
        yield from (d.rows for d in batch)
        return
    whole = pa.concat_tables([d.rows for d in filled])
    stamps = whole.select(["window_start", "window_end"]).to_pandas()
    history = with_history(store, filled[0].stream.table, fleet, stamps)
    for name in ("state", "revision"):
        whole = whole.append_column(name, pa.Array.from_pandas(history[name]))
    at = 0
    for delivery in batch:
        yield whole.slice(at, delivery.rows.num_rows)
        at += delivery.rows.num_rows


def _row(row: dict[str, Any]) -> dict[str, Any]:  # Any: cells of a table
    return {name: value for name, value in row.items() if name not in ("fleet", "day")}


def _plain(value: object) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)
