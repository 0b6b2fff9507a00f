"""Rows computed under an override: kept apart in `<table>_trial`, keyed by run, and never read by anything else."""

import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.model.tables import Table, derived_tables, trial
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster.storage.lake import Lake, instant_text

KEPT_DAYS = 30
"""Age from which a trial's rows are removed."""


class Trials:
    """Appends and reads trial rows; a table is created with its first trial."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def append(self, table: Table, rows: pa.Table, *, run_id: str, now: int) -> int:
        """Keep what a run tried of a table; `now` is the clock [us]. Returns the number of rows."""
        own = trial(table)
        self.lake.create(self.lake.missing([own]))
        stamps = pa.array(np.full(rows.num_rows, now), pa.timestamp("us", tz="UTC"))
        columns = [*rows.columns, pa.repeat(run_id, rows.num_rows), stamps]
        named = pa.table(columns, names=[*rows.column_names, "run_id", "tried_at"])
        self.lake.append(own, named.cast(schema_of(own)), uuid.uuid4().hex)
        return int(rows.num_rows)

    def rows(self, table: Table, fleet: str, span: Span, *, run_id: str) -> pa.Table:
        """Return what a run tried of a table; empty where it tried nothing."""
        own = trial(table)
        if self.lake.missing([own]):
            return self.lake.empty(own)
        rows = self.lake.read(own, fleet, span)
        return rows.filter(pc.equal(rows.column("run_id").cast(pa.string()), run_id))

    def frame(self, table: Table, fleet: str, span: Span, *, run_id: str) -> pd.DataFrame:
        """Return the same as a frame, ordered by window."""
        rows = self.rows(table, fleet, span, run_id=run_id).sort_by("window_start")
        frame: pd.DataFrame = rows.drop_columns(["fleet", "day"]).to_pandas(split_blocks=True)
        return frame

    def expire(self, *, now: int) -> list[str]:
        """Remove the rows of trials that are too old; returns the tables looked at [us]."""
        known = [trial(t) for t in derived_tables()]
        missing = {t.name for t in self.lake.missing(known)}
        there = [t for t in known if t.name not in missing]
        for table in there:
            old = f"tried_at < {instant_text(now - KEPT_DAYS * DAY)}"
            self.lake.delete(table, old, uuid.uuid4().hex)
        return [t.name for t in there]
