"""What a pass reads: rows and records of one fleet, as they stand."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from fleet_dagster.alerting.conditions import (
    OUTLIER_COLUMNS,
    REGION_COLUMNS,
    SLOT_COLUMNS,
    sites_to_read,
)
from fleet_dagster.alerting.incidents import Life, lives_in
from fleet_dagster.core.windows import DAY, Span, floor_to
from fleet_dagster.frames.columns import nodes_frame
from fleet_dagster.model.tables import (
    AI_INFERENCE,
    FLEET_CORRELATION,
    REGIONAL_HEALTH,
    SITE_RANKING,
    UNMAPPED,
    Table,
)
from fleet_dagster.storage.alerts import Alert
from fleet_dagster.storage.anomalies import OPEN_REACH
from fleet_dagster.storage.control.schema import landing_batches
from fleet_dagster.storage.store import Store


@dataclass(frozen=True, slots=True)
class Rows:
    """One fleet's rows."""

    store: Store
    fleet: str

    def newest(self, table: Table) -> int | None:
        """Return the end of a table's newest window [us]."""
        return self.store.history.coverage.newest_end(table.name, self.fleet)

    def landed_at(self) -> int | None:
        """Return when telemetry that can be used was last landed [us]."""
        batch = landing_batches.c
        query = sa.select(sa.func.max(batch.landed_at)).where(
            batch.fleet == self.fleet, batch.n_rows > batch.n_unusable
        )
        with self.store.control.reading() as tx:
            found = tx.execute(query).scalar()
        return None if found is None else int(found)

    def incidents(self, touched: Span) -> list[Life]:
        """Return the incidents that can have a row in a span, whole, and all that began later."""
        start = floor_to(touched.start, DAY) - OPEN_REACH
        end = self.newest(FLEET_CORRELATION)
        if not end:
            return []
        rows = self.store.frame(FLEET_CORRELATION, self.fleet, Span(max(0, min(start, end)), end))
        ordered = rows.sort_values(["window_start", "incident_id"], kind="stable")
        return lives_in(ordered.to_dict("records"))

    def regions(self, span: Span) -> pd.DataFrame:
        """Return the health of regions, without the one of sites that no mapping names: nobody answers for it."""
        mapped = pc.field("region_id") != UNMAPPED
        return nodes_frame(self._read(REGIONAL_HEALTH, span, REGION_COLUMNS, mapped))

    def outliers(self, span: Span, alerts: Iterable[Alert]) -> pd.DataFrame:
        """Return the rankings of sites that are persistent outliers somewhere in a span, or have an alert."""
        flagged = self._read(SITE_RANKING, span, ["site_id"], pc.field("is_persistent_outlier"))
        names = set(flagged.column("site_id").to_pylist())
        sites = pa.array(sites_to_read(names, alerts), pa.string())
        rows = self._read(SITE_RANKING, span, OUTLIER_COLUMNS, pc.field("site_id").isin(sites))
        return nodes_frame(rows)

    def answers(self, span: Span) -> pd.DataFrame:
        """Return the outcomes of AI slots."""
        return nodes_frame(self._read(AI_INFERENCE, span, SLOT_COLUMNS))

    def _read(
        self, table: Table, span: Span, columns: Iterable[str], where: pc.Expression | None = None
    ) -> pa.Table:
        return self.store.lake.read(table, self.fleet, span, columns=list(columns), where=where)
