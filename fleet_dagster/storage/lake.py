"""The lake: one Delta table per table definition, partitioned by fleet and day."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pa_fs
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from fleet_dagster.core.windows import DAY, Span, floor_to
from fleet_dagster.model.tables import Table
from fleet_dagster.storage.arrow import schema_of

PARTITION = ["fleet", "day"]
ROW_GROUP = 131_072
RETRIES = 20
INTENT = "fleet_intent"
"""Key under which a commit names the intent it carries out."""


class Lake:
    """Reads and commits Delta tables below one root (a folder or an object-store URL)."""

    def __init__(self, root: str, storage_options: Mapping[str, str] | None = None) -> None:
        self.root = root.rstrip("/")
        self.options = dict(storage_options or {})

    def uri(self, table: Table) -> str:
        """Return where a table lives."""
        return f"{self.root}/{table.name}"

    def create(self, tables: Sequence[Table]) -> None:
        """Create the tables that do not exist yet."""
        if "://" not in self.root:
            Path(self.root).mkdir(parents=True, exist_ok=True)
        for table in tables:
            if not DeltaTable.is_deltatable(self.uri(table), self.options or None):
                DeltaTable.create(
                    self.uri(table),
                    schema_of(table),
                    mode="ignore",
                    partition_by=PARTITION,
                    name=table.name,
                    description=table.description,
                    configuration={
                        "delta.checkpointInterval": "100",
                        "delta.logRetentionDuration": "interval 2 days",
                    },
                    storage_options=self.options or None,
                )

    def open(self, table: Table) -> DeltaTable:
        """Open a table at its newest version."""
        return DeltaTable(self.uri(table), storage_options=self.options or None)

    def version(self, table: Table) -> int:
        """Return the newest version of a table."""
        return int(self.open(table).version())

    def read(
        self,
        table: Table,
        fleet: str,
        span: Span,
        *,
        columns: Sequence[str] | None = None,
        time_column: str = "window_start",
        at: DeltaTable | None = None,
    ) -> pa.Table:
        """Read the rows of a fleet whose `time_column` lies in the span, in no particular order; `at` pins a version."""
        if span.is_empty:
            return (
                schema_of(table).empty_table()
                if columns is None
                else schema_of(table).empty_table().select(list(columns))
            )
        dataset = (at or self.open(table)).to_pyarrow_dataset(
            file_pruning_predicate=[
                ("fleet", "=", fleet),
                ("day", ">=", _day(span.start)),
                ("day", "<=", _day(span.end - 1)),
            ],
            filesystem=self._filesystem(table),
            schema=_reading_schema(table),
        )
        low, high = (pa.scalar(t, pa.timestamp("us", tz="UTC")) for t in (span.start, span.end))
        within = (pc.field(time_column) >= low) & (pc.field(time_column) < high)
        return dataset.to_table(columns=list(columns) if columns else None, filter=within)

    def days(self, table: Table, fleet: str) -> list[int]:
        """Return the UTC days for which a fleet has rows. [us]"""
        found = {
            p["day"]
            for p in self.open(table).partitions(file_pruning_predicate=[("fleet", "=", fleet)])
        }
        return sorted(
            int(pc.cast(pa.scalar(str(d)).cast(pa.date32()), pa.int32()).as_py()) * DAY
            for d in found
        )

    def append(self, table: Table, rows: pa.Table, intent_id: str) -> None:
        """Append rows; never conflicts with other writers."""
        self._commit(table, rows, intent_id, mode="append", predicate=None)

    def replace(
        self, table: Table, fleet: str, spans: Sequence[Span], rows: pa.Table, intent_id: str
    ) -> None:
        """Replace exactly the windows of the spans by `rows`, in one commit."""
        self._commit(table, rows, intent_id, mode="overwrite", predicate=_predicate(fleet, spans))

    def delete(self, table: Table, predicate: str, intent_id: str) -> None:
        """Delete the rows that a predicate names."""
        self._retry(
            lambda: self.open(table).delete(
                predicate, commit_properties=CommitProperties(custom_metadata={INTENT: intent_id})
            )
        )

    def has_commit(self, table: Table, intent_id: str, *, after: int) -> bool:
        """Tell whether a commit newer than version `after` carries the intent."""
        try:
            opened = self.open(table)
        except TableNotFoundError:
            return False
        recent = max(1, opened.version() - after)
        return any(entry.get(INTENT) == intent_id for entry in opened.history(recent))

    def _filesystem(self, table: Table) -> pa_fs.FileSystem | None:
        """Return Arrow's own access to a local folder, which is faster than delta-rs's; None for an object store."""
        return (
            None
            if "://" in self.root
            else pa_fs.SubTreeFileSystem(self.uri(table), pa_fs.LocalFileSystem())
        )

    def _commit(
        self, table: Table, rows: pa.Table, intent_id: str, *, mode: str, predicate: str | None
    ) -> None:
        self._retry(
            lambda: write_deltalake(
                self.uri(table),
                rows,
                mode=mode,  # type: ignore[arg-type] # the overloads split on literals
                predicate=predicate,
                commit_properties=CommitProperties(
                    custom_metadata={INTENT: intent_id}, max_commit_retries=RETRIES
                ),
                writer_properties=WriterProperties(
                    compression="SNAPPY", max_row_group_size=ROW_GROUP
                ),
                storage_options=self.options or None,
            )
        )

    @staticmethod
    def _retry(commit: "functools.partial[object] | object") -> None:
        """Repeat a commit that lost a race to a writer of other days; leases keep out writers of the same day."""
        for attempt in range(RETRIES):
            try:
                commit()  # type: ignore[operator]
            except CommitFailedError:
                if attempt == RETRIES - 1:
                    raise
            else:
                return


def _day(instant: int) -> str:
    return str(pa.scalar(floor_to(instant, DAY) // DAY, pa.int32()).cast(pa.date32()).as_py())


def _predicate(fleet: str, spans: Sequence[Span]) -> str:
    days = f"day >= '{_day(min(s.start for s in spans))}' AND day <= '{_day(max(s.end for s in spans) - 1)}'"
    ranges = " OR ".join(
        f"(window_start >= {_instant(s.start)} AND window_start < {_instant(s.end)})" for s in spans
    )
    return f"fleet = '{fleet}' AND {days} AND ({ranges})"


def _instant(instant: int) -> str:
    text = pa.scalar(instant, pa.timestamp("us", tz="UTC")).as_py().isoformat()
    return f"'{text}'"


@functools.cache
def _text_columns(table: Table) -> list[str]:
    return [
        c.name
        for c in table.columns
        if c.type == "string" and c.name not in PARTITION and c.name not in ("raw", "detail")
    ]


@functools.cache
def _reading_schema(table: Table) -> pa.Schema:
    texts = set(_text_columns(table))
    return pa.schema(
        pa.field(
            f.name, pa.dictionary(pa.int32(), f.type) if f.name in texts else f.type, f.nullable
        )
        for f in schema_of(table)
    )
