"""The folder of a training set: `days/` with one Parquet file for each UTC day, and `manifest.json`. Files appear whole or not at all."""

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet as pq

from fleet_dagster.model.errors import StorageError
from fleet_dagster.storage.durable import PARTIAL, replacing

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class TrainingFolder:
    """Reads and writes one folder."""

    path: Path

    @property
    def days(self) -> Path:
        """Folder that pandas, Arrow and others read as one data set."""
        return self.path / "days"

    def file_of(self, day: dt.date) -> Path:
        """Return where a day's rows are."""
        return self.days / f"{day}.parquet"

    def is_taken(self) -> bool:
        """Tell whether there is anything in the folder."""
        return self.path.exists() and any(self.path.iterdir())

    def manifest(self) -> dict[str, Any] | None:  # Any: JSON
        """Return what the folder says of itself; None where it is no training set yet.

        Raises
        ------
        StorageError
            The manifest cannot be read, or is of a later format.
        """
        place = self.path / MANIFEST
        if not place.exists():
            return None
        try:
            found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StorageError(
                f"{place} is no JSON ({error}). Write the training set to a new folder"
            ) from error
        if found.get("format") != FORMAT:
            raise StorageError(
                f"{place} has format {found.get('format')!r}, expected {FORMAT}. Write the training set to a new folder"
            )
        return found

    def write_manifest(self, content: Mapping[str, Any]) -> None:  # Any: JSON
        """Replace the manifest."""
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        with replacing(self.path / MANIFEST) as partial:
            partial.write_text(text, encoding="utf-8")

    def rows_of(self, day: dt.date) -> pa.Table:
        """Read a day's file."""
        return pq.ParquetFile(self.file_of(day)).read()

    @contextmanager
    def day_writer(self, day: dt.date, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
        """Yield a function that adds rows to a day's file, which replaces the one before when all are there."""
        with replacing(self.file_of(day)) as partial, pq.ParquetWriter(partial, schema) as writer:
            yield writer.write_table

    def tidy(self) -> None:
        """Remove what a killed process left half written."""
        for folder in (self.path, self.days):
            for left in folder.glob(f".*{PARTIAL}"):
                left.unlink(missing_ok=True)
