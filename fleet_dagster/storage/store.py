"""`Store`: the lake, the control database and the door of one installation, opened together."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import pandas as pd
import pyarrow.compute as pc

from fleet_dagster.core.windows import Span
from fleet_dagster.frames.columns import nodes_frame, telemetry_frame
from fleet_dagster.model.errors import StorageError
from fleet_dagster.model.tables import SITE_TELEMETRY, TABLES, Table, derived_tables, superseded
from fleet_dagster.storage.control.engine import Control
from fleet_dagster.storage.cursors import Cursors
from fleet_dagster.storage.door import Checkpoint, Door
from fleet_dagster.storage.history import History
from fleet_dagster.storage.lake import Lake
from fleet_dagster.storage.landing import Landing
from fleet_dagster.storage.node_reports import NodeReports
from fleet_dagster.storage.registry import Registry
from fleet_dagster.storage.storms import Storms
from fleet_dagster.storage.trials import Trials


@dataclass(frozen=True)
class Store:
    """One installation's storage. Open it with `Store.at` or `Store.of`; it is safe to open it many times."""

    lake: Lake
    control: Control
    door: Door
    history: History
    models: Path = Path("models")
    """Folder of the files of AI models."""
    keys: Path = Path("keys")
    """Folder of the ledgers' private keys."""
    snapshots: Path = Path("snapshots")
    """Folder of the fleets' newest snapshots."""

    @classmethod
    def at(cls, home: Path, *, checkpoint: Checkpoint | None = None) -> "Store":
        """Open the storage below a folder: Delta tables in `lake/`, SQLite in `control.db`, models in `models/`, keys in `keys/`, snapshots in `snapshots/`."""
        home.mkdir(parents=True, exist_ok=True)
        return cls.of(
            str(home / "lake"),
            f"sqlite:///{home / 'control.db'}",
            models=home / "models",
            keys=home / "keys",
            snapshots=home / "snapshots",
            checkpoint=checkpoint,
        )

    @classmethod
    def of(
        cls,
        lake_root: str,
        control_url: str,
        *,
        models: Path = Path("models"),
        keys: Path = Path("keys"),
        snapshots: Path = Path("snapshots"),
        checkpoint: Checkpoint | None = None,
    ) -> "Store":
        """Open the storage at a lake root and a control database, create what is missing, and mend what a crash left open."""
        control, lake = Control(control_url), Lake(lake_root)
        history = History(control)
        try:
            control.migrate()
            _create_tables(lake, history)
            door = Door(control, lake, history, checkpoint=checkpoint or (lambda _step: None))
            door.recover()
            door.leases.bury()
        except BaseException:
            control.dispose()
            raise
        return cls(lake, control, door, history, models, keys, snapshots)

    def close(self) -> None:
        """Close the connections to the control database."""
        self.control.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @cached_property
    def landing(self) -> Landing:
        """Where snapshots are landed."""
        return Landing(self.control, self.door)

    @cached_property
    def registry(self) -> Registry:
        """Sites and settings."""
        return Registry(self.control)

    @cached_property
    def trials(self) -> Trials:
        """Rows computed under an override."""
        return Trials(self.lake)

    @property
    def cursors(self) -> Cursors:
        """How far consumers of streams have come."""
        return self.history.cursors

    @cached_property
    def node_reports(self) -> NodeReports:
        """What nodes reported of their work."""
        return NodeReports(self.control)

    @cached_property
    def storms(self) -> Storms:
        """Storm episodes."""
        return Storms(self.control)

    def telemetry_reader(
        self, fleet: str, *, without: Collection[str] = ()
    ) -> Callable[[Span], pd.DataFrame]:
        """Return a reader of the landed snapshots as they stand now: what lands later is not seen by it.

        Columns in `without` are not read.
        """
        snapshot = self.lake.open(SITE_TELEMETRY)
        left_out = {"fleet", "day", *without}
        wanted = [name for name in SITE_TELEMETRY.column_names if name not in left_out]

        def read(span: Span) -> pd.DataFrame:
            rows = self.lake.read(
                SITE_TELEMETRY, fleet, span, columns=wanted, time_column="timestamp", at=snapshot
            )
            return telemetry_frame(rows)

        return read

    def frame(
        self,
        table: Table,
        fleet: str,
        span: Span,
        *,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
    ) -> pd.DataFrame:
        """Return a table's stored rows of a span as a frame, ordered by window; all columns, or those that are named.

        Of these only the rows that `where` holds for.
        """
        wanted = columns or [c for c in table.column_names if c not in ("fleet", "day")]
        rows = self.lake.read(table, fleet, span, columns=wanted, where=where)
        return nodes_frame(rows.sort_by("window_start"))


def _create_tables(lake: Lake, history: History) -> None:
    """Create the tables that are missing, unless the lake and the control database do not belong together."""
    tables = [*TABLES.values(), *(superseded(t) for t in derived_tables())]
    missing = lake.missing(tables)
    lost = lake.missing([t for t in missing if history.is_logged(t.name)])
    if lost:
        raise StorageError(
            f"lake at {lake.root} has no table {', '.join(t.name for t in lost)}, but the control database logs writes "
            "to it. Mount or restore the lake that belongs to this control database; nothing was created"
        )
    lake.create(missing)
    if not history.knows_writes():
        filled = [t.name for t in tables if lake.holds_rows(t)]
        if filled and not history.knows_writes():
            raise StorageError(
                f"lake at {lake.root} holds rows ({', '.join(filled)}), but the control database is new. Restore the "
                "control database that belongs to this lake, or name an empty folder for the lake"
            )
