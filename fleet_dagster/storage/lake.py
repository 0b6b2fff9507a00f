"""The lake: one Delta table per table definition, partitioned by fleet and day."""

import functools
import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pa_dataset
import pyarrow.fs as pa_fs
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError

from fleet_dagster.core.windows import DAY, SECOND, Span, floor_to
from fleet_dagster.model.errors import StorageError
from fleet_dagster.model.tables import ANOMALY_SCORE, Table
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster.storage.durable import flush

PARTITION = ["fleet", "day"]
ROW_GROUP = 131_072
RETRIES = 20
HOURS_OF_A_DAY = 24
_COARSE = SECOND
"""How far what the log says of a file's instants may be off [us]; Delta's own limit is a thousandth of it."""
INTENT = "fleet_intent"
"""Key under which a commit names the intent it carries out."""


class Lake:
    """Reads and commits Delta tables below one root (a folder or an object-store URL)."""

    def __init__(self, root: str, storage_options: Mapping[str, str] | None = None) -> None:
        self.root = root.rstrip("/")
        self.options = dict(storage_options or {})
        self._opened = threading.local()

    def uri(self, table: Table) -> str:
        """Return where a table lives."""
        return f"{self.root}/{table.name}"

    def missing(self, tables: Sequence[Table]) -> list[Table]:
        """Return the tables that do not exist yet."""
        found = []
        for table in tables:
            with self._errors_told(table):
                if not DeltaTable.is_deltatable(self.uri(table), self.options or None):
                    found.append(table)
        return found

    def create(self, tables: Sequence[Table]) -> None:
        """Create tables; one that somebody else creates at the same time is left as it is."""
        for table in tables:
            try:
                with self._errors_told(table):
                    self._create(table)
            except StorageError as error:
                if not isinstance(error.__cause__, CommitFailedError) or self.missing([table]):
                    raise

    def open(self, table: Table) -> DeltaTable:
        """Open a table at its newest version, to be kept at that."""
        with self._errors_told(table):
            self._refuse_empty_entries(table)
            return DeltaTable(self.uri(table), storage_options=self.options or None)

    def newest(self, table: Table) -> DeltaTable:
        """Return a table at its newest version; each thread follows one that it opened before, which is faster."""
        known: dict[str, DeltaTable] = self._opened.__dict__
        if table.name not in known:
            known[table.name] = self.open(table)
            return known[table.name]
        try:
            known[table.name].update_incremental()
        except DeltaError:  # the log entries since then were tidied away, or there is something wrong with the table
            known[table.name] = self.open(table)
        return known[table.name]

    def holds_rows(self, table: Table) -> bool:
        """Tell whether a table holds any file; a local one that was only ever created need not be opened for that."""
        if self._is_local:
            with self._errors_told(table):
                log = Path(self.uri(table)) / "_delta_log"
                first = log / f"{0:020d}.json"
                created = first.read_bytes() if list(log.iterdir()) == [first] else b""
            if b'"metaData"' in created and b'"add"' not in created:
                return False
        return bool(self.newest(table).file_uris())

    def version(self, table: Table) -> int:
        """Return the newest version of a table."""
        return int(self.newest(table).version())

    def empty(self, table: Table) -> pa.Table:
        """Return no rows of a table."""
        return schema_of(table).empty_table()

    def read(
        self,
        table: Table,
        fleet: str,
        span: Span,
        *,
        columns: Sequence[str] | None = None,
        time_column: str = "window_start",
        where: pc.Expression | None = None,
        at: DeltaTable | None = None,
    ) -> pa.Table:
        """Read the rows of a fleet whose `time_column` lies in the span, in no particular order.

        Rows that `where` rules out are left out while files are read; `at` pins a version.
        """
        if span.is_empty:
            nothing = self.empty(table)
            return nothing if columns is None else nothing.select(list(columns))
        with self._errors_told(table):
            opened = at or self.newest(table)
            dataset = self._dataset(table, fleet, span, opened, time_column)
            wanted = list(columns) if columns else None
            chosen = _during(time_column, span)
            chosen = chosen if where is None else chosen & where
            return _plain_nulls(dataset.to_table(columns=wanted, filter=chosen))

    def count(self, table: Table, fleet: str, spans: Sequence[Span]) -> int:
        """Count the rows of a fleet whose windows start within the spans, which do not overlap; no row is kept in memory."""
        with self._errors_told(table):
            return sum(
                int(
                    self._dataset(table, fleet, span, self.newest(table)).count_rows(
                        filter=_during("window_start", span)
                    )
                )
                for span in spans
                if not span.is_empty
            )

    def days(self, table: Table, fleet: str) -> list[int]:
        """Return the starts of the UTC days for which a fleet has rows, in microseconds."""
        with self._errors_told(table):
            own = [("fleet", "=", fleet)]
            parts = self.newest(table).partitions(file_pruning_predicate=own)
        return sorted(_day_start(str(day)) for day in {p["day"] for p in parts})

    def append(self, table: Table, rows: pa.Table, intent_id: str) -> None:
        """Append rows; never conflicts with other writers."""
        self._write(table, rows, intent_id, predicate=None)

    def replace(
        self, table: Table, fleet: str, spans: Sequence[Span], rows: pa.Table, intent_id: str
    ) -> None:
        """Replace exactly the windows of the spans by `rows`, in one commit."""
        self._write(table, rows, intent_id, predicate=_predicate(fleet, spans))

    def delete(self, table: Table, predicate: str, intent_id: str) -> None:
        """Delete the rows that a predicate names."""
        named = CommitProperties(custom_metadata={INTENT: intent_id})

        def commit() -> DeltaTable:
            opened = self.newest(table)
            opened.delete(predicate, commit_properties=named)
            return opened

        self._commit(table, intent_id, commit)

    def compact(self, table: Table) -> None:
        """Merge a table's small files and write a checkpoint; does without where writers win every race."""
        intent_id = uuid.uuid4().hex
        named = CommitProperties(custom_metadata={INTENT: intent_id})

        def commit() -> DeltaTable:
            opened = self.newest(table)
            opened.optimize.compact(commit_properties=named)
            return opened

        try:
            self._commit(table, intent_id, commit)
        except StorageError as error:
            if not isinstance(error.__cause__, CommitFailedError):
                raise
        with self._errors_told(table):
            self.newest(table).create_checkpoint()

    def compacted_at(self, table: Table, n_commits: int) -> int | None:
        """Return when a table was last compacted, as far as its newest commits tell [us]."""
        with self._errors_told(table):
            for entry in self.newest(table).history(n_commits):
                if entry.get("operation") == "OPTIMIZE":
                    return int(entry["timestamp"]) * 1000
        return None

    def vacuum(self, table: Table, hours: int) -> int:
        """Remove the files that no version of the last `hours` needs, and old log entries; returns how many files.

        From a day on, files of no version at all go too: what killed writers left.
        """
        opened = self.newest(table)
        with self._errors_told(table):
            tidy = functools.partial(
                opened.vacuum,
                retention_hours=hours,
                enforce_retention_duration=False,
                full=hours >= HOURS_OF_A_DAY,
            )
            # The log names removed files for a week; a vacuum that finds none left would only add commits to it.
            n_left = sum(self._is_there(table, path) for path in tidy(dry_run=True))
            if n_left:
                tidy(dry_run=False)
            opened.cleanup_metadata()
        return n_left

    def has_commit(self, table: Table, intent_id: str, *, after: int) -> bool:
        """Tell whether a commit newer than version `after` carries the intent."""
        opened = self.newest(table)
        n_newer = opened.version() - after
        if n_newer <= 0:
            return False
        with self._errors_told(table):
            return any(entry.get(INTENT) == intent_id for entry in opened.history(n_newer))

    @property
    def _is_local(self) -> bool:
        return "://" not in self.root

    def _create(self, table: Table) -> None:
        if self._is_local:
            Path(self.root).mkdir(parents=True, exist_ok=True)
        DeltaTable.create(
            self.uri(table),
            schema_of(table),
            mode="ignore",
            partition_by=PARTITION,
            name=table.name,
            description=table.description,
            configuration={
                "delta.checkpointInterval": "25",
                "delta.logRetentionDuration": "interval 2 days",
            },
            storage_options=self.options or None,
        )

    def _refuse_empty_entries(self, table: Table) -> None:
        """Refuse a log with an entry cut down to nothing: it would be read as a commit that changed nothing."""
        if self._is_local:
            with os.scandir(f"{self.uri(table)}/_delta_log") as entries:
                empty = [
                    e.name for e in entries if e.name.endswith(".json") and not e.stat().st_size
                ]
            if empty:
                raise DeltaError(f"log entry {min(empty)} is empty")

    def _is_there(self, table: Table, path: str) -> bool:
        return not self._is_local or (Path(self.uri(table)) / unquote(path)).exists()

    def _dataset(
        self,
        table: Table,
        fleet: str,
        span: Span,
        opened: DeltaTable,
        time_column: str = "window_start",
    ) -> pa_dataset.Dataset:
        return opened.to_pyarrow_dataset(
            file_pruning_predicate=_files_of(fleet, span, time_column),
            filesystem=self._filesystem(table),
            schema=schema_of(table),
            parquet_read_options=pa_dataset.ParquetReadOptions(
                dictionary_columns=set(_text_columns(table))
            ),
        )

    def _filesystem(self, table: Table) -> pa_fs.FileSystem | None:
        """Return Arrow's own access to a local folder, which is faster than delta-rs's; None for an object store."""
        if not self._is_local:
            return None
        return pa_fs.SubTreeFileSystem(self.uri(table), pa_fs.LocalFileSystem())

    def _write(
        self, table: Table, rows: pa.Table, intent_id: str, *, predicate: str | None
    ) -> None:
        named = CommitProperties(custom_metadata={INTENT: intent_id}, max_commit_retries=RETRIES)

        def commit() -> DeltaTable:
            opened = self.newest(table)
            if predicate is None:
                write_deltalake(
                    opened,
                    rows,
                    mode="append",
                    commit_properties=named,
                    writer_properties=_layout(table),
                )
            else:
                write_deltalake(
                    opened,
                    rows,
                    mode="overwrite",
                    predicate=predicate,
                    commit_properties=named,
                    writer_properties=_layout(table),
                )
            return opened

        self._commit(table, intent_id, commit)

    def _commit(self, table: Table, intent_id: str, commit: Callable[[], DeltaTable]) -> None:
        """Carry a commit out and make it durable; repeat it where it lost a race to a compaction or another day's writer."""
        newest = before = self.version(table)
        for attempt in range(RETRIES):
            try:
                with self._errors_told(table):
                    newest = commit().version()
            except StorageError as error:
                if self.has_commit(table, intent_id, after=before):
                    newest = self.version(table)
                    break
                if attempt == RETRIES - 1 or not isinstance(error.__cause__, CommitFailedError):
                    raise
            else:
                break
        self._make_durable(table, range(before + 1, newest + 1))

    def _make_durable(self, table: Table, versions: range) -> None:
        """Flush local commits' files and then their log entries to the disk: what is acknowledged survives a power cut."""
        if not self._is_local:
            return
        folder = Path(self.uri(table))
        for version in versions:
            entry = folder / "_delta_log" / f"{version:020d}.json"
            lines = entry.read_bytes().split(b"\n")  # texts within may hold any other line break
            actions = [json.loads(line) for line in lines if line]
            added = [folder / unquote(a["add"]["path"]) for a in actions if "add" in a]
            for path in [*added, *{p.parent for p in added}, entry, entry.parent]:
                flush(path)

    @contextmanager
    def _errors_told(self, table: Table) -> Iterator[None]:
        """Say which table failed and what to do about it; nothing that was committed before is touched by a failure."""
        try:
            yield
        except StorageError:
            raise
        except (DeltaError, pa.ArrowException, OSError) as error:
            raise StorageError(
                f"lake table {table.name!r} at {self.uri(table)} failed: {_first_line(error)}. "
                f"What was committed before stands. {_advice(error)}"
            ) from error


def _first_line(error: Exception) -> str:
    """Return what an error says without the backtrace that delta-rs appends."""
    return str(error).partition("\n")[0].rstrip(".")


def _advice(error: Exception) -> str:
    is_damaged = isinstance(error, FileNotFoundError | pa.ArrowInvalid) or "Json error" in str(
        error
    )
    if is_damaged or "is empty" in str(error):
        return (
            "A file of it is missing or damaged: restore the table's folder from a copy that is as new as the "
            "control database"
        )
    return "Check that the folder exists, may be written and has room, then run the same again"


@functools.cache
def _layout(table: Table) -> WriterProperties:
    """Return how a table's files are laid out; a dictionary of computed scores would be as long as the column."""
    plain = ColumnProperties(dictionary_enabled=False)
    computed = ("float64", "float32") if table.name == ANOMALY_SCORE.name else ("float64",)
    return WriterProperties(
        compression="SNAPPY",
        max_row_group_size=ROW_GROUP,
        column_properties={c.name: plain for c in table.columns if c.type in computed},
    )


def _during(time_column: str, span: Span) -> pc.Expression:
    low, high = (pa.scalar(t, pa.timestamp("us", tz="UTC")) for t in (span.start, span.end))
    return (pc.field(time_column) >= low) & (pc.field(time_column) < high)


def _files_of(fleet: str, span: Span, time_column: str) -> str:
    """Return the predicate of the files that may hold rows of a span, by their partition and by what the log says of them.

    The log may give a file's first and last instant less exactly than its rows do.
    """
    low, high = max(0, span.start - _COARSE), span.end + _COARSE
    return (
        f"fleet = '{fleet}' AND day >= '{_day(span.start)}' AND day <= '{_day(span.end - 1)}' "
        f"AND {time_column} >= {instant_text(low)} AND {time_column} <= {instant_text(high)}"
    )


def instant_text(instant: int) -> str:
    """Return an instant as a literal of a predicate."""
    return f"'{pa.scalar(instant, pa.timestamp('us', tz='UTC')).as_py().isoformat()}'"


def whole_day(fleet: str, instant: int) -> str:
    """Return the predicate of all of a fleet's rows of a UTC day: whole files, which go without being read."""
    return f"fleet = '{fleet}' AND day = '{_day(instant)}'"


def _day(instant: int) -> str:
    return str(pa.scalar(floor_to(instant, DAY) // DAY, pa.int32()).cast(pa.date32()).as_py())


def _day_start(day: str) -> int:
    return int(pa.scalar(day).cast(pa.date32()).cast(pa.int32()).as_py()) * DAY


def _predicate(fleet: str, spans: Sequence[Span]) -> str:
    first, last = _day(min(s.start for s in spans)), _day(max(s.end for s in spans) - 1)
    ranges = " OR ".join(
        f"(window_start >= {instant_text(s.start)} AND window_start < {instant_text(s.end)})"
        for s in spans
    )
    return f"fleet = '{fleet}' AND day >= '{first}' AND day <= '{last}' AND ({ranges})"


def _plain_nulls(rows: pa.Table) -> pa.Table:
    """Encode nulls as such: a row group without any value is read with a null among its names, which nothing unifies."""
    for i, field in enumerate(rows.schema):
        column = rows.column(i)
        if pa.types.is_dictionary(field.type) and any(
            c.dictionary.null_count for c in column.chunks
        ):
            plain = [c.cast(field.type.value_type).dictionary_encode() for c in column.chunks]
            rows = rows.set_column(i, field, pa.chunked_array(plain, field.type))
    return rows


@functools.cache
def _text_columns(table: Table) -> list[str]:
    return [
        c.name
        for c in table.columns
        if c.type == "string" and c.name not in PARTITION and c.name not in ("raw", "detail")
    ]
