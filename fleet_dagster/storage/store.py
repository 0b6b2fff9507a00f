"""`Store`: the lake, the control database and the door of one installation, opened together."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from fleet_dagster.core.windows import Span
from fleet_dagster.frames.columns import telemetry_frame
from fleet_dagster.model.tables import SITE_TELEMETRY, TABLES, Table, derived_tables, superseded
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.door import Checkpoint, Door
from fleet_dagster.storage.history import History
from fleet_dagster.storage.lake import Lake
from fleet_dagster.storage.landing import Landing
from fleet_dagster.storage.registry import Registry


@dataclass(frozen=True)
class Store:
    """One installation's storage. Open it with `Store.at` or `Store.of`; it is safe to open it many times."""

    lake: Lake
    control: Control
    door: Door
    history: History

    @classmethod
    def at(cls, home: Path, *, checkpoint: Checkpoint | None = None) -> "Store":
        """Open the storage below a folder: Delta tables in `lake/`, SQLite in `control.db`."""
        home.mkdir(parents=True, exist_ok=True)
        return cls.of(str(home / "lake"), f"sqlite:///{home / 'control.db'}", checkpoint=checkpoint)

    @classmethod
    def of(
        cls, lake_root: str, control_url: str, *, checkpoint: Checkpoint | None = None
    ) -> "Store":
        """Open the storage at a lake root and a control database, create what is missing, and mend what a crash left open."""
        control, lake = Control(control_url), Lake(lake_root)
        control.migrate()
        lake.create([*TABLES.values(), *(superseded(t) for t in derived_tables())])
        history = History(control)
        door = Door(control, lake, history, checkpoint=checkpoint or (lambda _step: None))
        door.recover()
        return cls(lake, control, door, history)

    @cached_property
    def landing(self) -> Landing:
        """Where snapshots are landed."""
        return Landing(self.control, self.door)

    @cached_property
    def registry(self) -> Registry:
        """Sites and settings."""
        return Registry(self.control)

    def telemetry_reader(self, fleet: str) -> Callable[[Span], pd.DataFrame]:
        """Return a reader of the landed snapshots as they stand now: what lands later is not seen by it."""
        snapshot = self.lake.open(SITE_TELEMETRY)

        def read(span: Span) -> pd.DataFrame:
            return telemetry_frame(
                self.lake.read(SITE_TELEMETRY, fleet, span, time_column="timestamp", at=snapshot)
            )

        return read

    def frame(self, table: Table, fleet: str, span: Span) -> pd.DataFrame:
        """Return a table's stored rows of a span as a frame, ordered by window."""
        rows = self.lake.read(table, fleet, span).sort_by("window_start")
        return rows.drop_columns(["fleet", "day"]).to_pandas(split_blocks=True)
