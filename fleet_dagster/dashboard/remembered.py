"""Rows as they were read last, read again only where the commit log says that they have changed."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow.compute as pc

from fleet_dagster.core.publication import HEARTBEAT_EVERY
from fleet_dagster.core.windows import Span
from fleet_dagster.frames.columns import empty_frame, microseconds
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.model.tables import SITE_KPI, SITE_RANKING, Table
from fleet_dagster.storage.store import Store


@dataclass(slots=True)
class _Known:
    span: Span
    number: int
    rows: pd.DataFrame


class RememberedRows:
    """One fleet's rows of one span of each table."""

    def __init__(self, store: Store, fleet: str) -> None:
        self.store, self.fleet = store, fleet
        self._known: dict[str, _Known] = {}

    def rows(
        self,
        table: Table,
        span: Span,
        columns: Sequence[str],
        *,
        where: pc.Expression | None = None,
    ) -> pd.DataFrame:
        """Return the rows of a span; always ask for the same columns of a table, and where."""
        known = self._known.get(table.name)
        number = self.store.history.newest_numbers(self.fleet, [table.name])[table.name]
        if known is None or known.span != span or self._has_changed(table, known, number):
            rows = self.store.frame(table, self.fleet, span, columns=columns, where=where)
            known = _Known(span, number, rows)
            self._known[table.name] = known
        known.number = number
        return known.rows

    def _has_changed(self, table: Table, known: _Known, number: int) -> bool:
        if number == known.number:
            return False
        entries = self.store.history.entries
        return bool(entries(table.name, self.fleet, known.span, after=known.number, limit=1))


class RememberedRanks:
    """The newest ranking of each site: what new windows rank replaces what was known, and a day is not read again."""

    COLUMNS = (
        "window_start",
        "site_id",
        "composite_score",
        "rank_in_region",
        "rank_in_fleet",
        "modified_z_region",
        "modified_z_fleet",
        "is_outlier",
        "is_persistent_outlier",
    )

    def __init__(self, store: Store, fleet: str) -> None:
        self.store, self.fleet = store, fleet
        self._reach = Span(0, 0)
        self._number = 0
        self._newest = empty_frame(SITE_RANKING)

    def of(self, window: Span, storm: StormEpisode | None, site_kpi: pd.DataFrame) -> pd.DataFrame:
        """Return the same as `site_status.last_published`: a ranking for each site that reports in the window."""
        since = min(window.start, storm.start) if storm else window.start
        before = (HEARTBEAT_EVERY - 1) * (window.end - window.start)
        self._renew(Span(max(0, since - before), window.end))
        newest = self._newest
        recent = newest[microseconds(newest["window_start"]) >= self._reach.start]
        reporting = set(site_kpi.loc[site_kpi["last_seen"].notna(), "site_id"].astype(str))
        return recent[recent["site_id"].isin(reporting)] if len(site_kpi) else recent

    def _renew(self, reach: Span) -> None:
        number = self.store.history.newest_numbers(self.fleet, [SITE_RANKING.name])
        goes_on = self._reach.start <= reach.start <= self._reach.end <= reach.end
        start = self._reach.end if goes_on and not self._is_restated() else reach.start
        if start == self._reach.end and reach.end == start:
            fresh = self._newest
        else:
            rows = self.store.frame(
                SITE_RANKING, self.fleet, Span(start, reach.end), columns=self.COLUMNS
            )
            read = rows.assign(site_id=rows["site_id"].astype("str"))
            kept = [self._newest] if start == self._reach.end else []
            fresh = pd.concat([*(k for k in kept if len(k)), read], ignore_index=True)
        self._newest = fresh.drop_duplicates("site_id", keep="last")
        self._reach, self._number = reach, number[SITE_RANKING.name]

    def _is_restated(self) -> bool:
        """Tell whether windows were written again that are remembered, or before these."""
        entries = self.store.history.entries
        found = entries(
            SITE_RANKING.name, self.fleet, Span(0, self._reach.end), after=self._number, limit=1
        )
        return bool(found)


SITE_COLUMNS = tuple(
    name
    for name in SITE_KPI.column_names
    if name
    in {
        "window_start",
        "site_id",
        "region_id",
        "status",
        "uptime_pct",
        "fault_count",
        "last_seen",
        "disposition",
        "published",
    }
)
"""What is shown of a site-window: its readings are not."""
