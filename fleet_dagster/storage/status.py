"""How a fleet stands: its newest rollup joined with the commit log, for the command line and dashboards."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from fleet_dagster.core.windows import DAY, SECOND, Span, floor_to
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.model.tables import (
    FLEET_KPI,
    QUARANTINE,
    REGIONAL_HEALTH,
    SITE_KPI,
    SITE_RANKING,
    SITE_TELEMETRY,
    STATUS_NAMES,
    Table,
)
from fleet_dagster.storage.anomalies import Incident, open_incidents
from fleet_dagster.storage.history import Entry
from fleet_dagster.storage.leases import live_key
from fleet_dagster.storage.site_status import last_published, published_fraction
from fleet_dagster.storage.store import Store

State = Literal["provisional", "final", "restated"]


@dataclass(frozen=True, slots=True)
class RegionStatus:
    """One region in one window."""

    region_id: str
    health: float
    band: str
    n_sites: int
    sites: Mapping[str, int]
    coverage: float
    worst_site_id: str | None
    anomalies: int | None
    """Sites that are anomalous; None where none is scored."""


@dataclass(frozen=True, slots=True)
class OutlierStatus:
    """One persistent outlier, as of the newest window in which its site was published."""

    site_id: str
    as_of: dt.datetime
    region_id: str
    score: float
    rank_in_fleet: int
    modified_z_region: float | None
    modified_z_fleet: float | None


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """One fleet in one window. Instants are UTC."""

    fleet: str
    window_start: dt.datetime
    window_end: dt.datetime
    health: float
    parts: Mapping[str, float]
    health_min: float | None
    health_max: float | None
    coverage: float
    total_sites: int
    sites: Mapping[str, int]
    unmapped: int
    anomalies: int | None
    """Sites that are anomalous; None where none is scored."""
    open_incidents: tuple[Incident, ...]
    ingestion_mode: str
    storm: str | None
    """Episode that the window lies in."""
    health_stderr: float | None
    sampled_fraction: float
    published_fraction: float | None
    """Share of the reporting sites that are published in the window; None where site rows have expired."""
    state: State
    revision: int
    regions: tuple[RegionStatus, ...]
    persistent_outliers: tuple[OutlierStatus, ...]
    quarantined_last_day: Mapping[str, int]
    newest_window_end: dt.datetime
    newest_telemetry: dt.datetime | None
    settled_through: dt.datetime | None
    live_engine: str | None
    """The live engine that keeps the fleet current; None where none is at work."""

    def windows_behind(self, now: int) -> int:
        """Count the windows that have ended by an instant and were never computed [us]."""
        interval = self.window_end - self.window_start
        return max(0, int((instant(now) - self.newest_window_end) / interval))


def fleet_status(
    store: Store, fleet: str, *, at: int | None = None, settled: bool = False
) -> FleetStatus | None:
    """Return how a fleet stood in its newest window, or in the one that holds the instant `at`; None where there is none.

    With `settled`, only windows that no scheduled run will touch again without late telemetry are looked at.
    """
    newest = newest_end(store, FLEET_KPI, fleet)
    watermark = store.history.coverage.settled_through(fleet, FLEET_KPI.name)
    end = newest if not settled else min(newest or 0, watermark or 0)
    row = _newest_row(store, fleet, end if at is None else min(end or 0, at + 1))
    if newest is None or row is None:
        return None
    start, stop = _us(row["window_start"]), _us(row["window_end"])
    window = Span(start, stop)
    storm = _storm_of(store, fleet, window)
    return FleetStatus(
        fleet=fleet,
        window_start=instant(start),
        window_end=instant(stop),
        health=float(row["fleet_health"]),
        parts={name: float(row[f"{name}_part"]) for name in ("kpi", "uptime", "fault")},
        health_min=_number(row["health_min"]),
        health_max=_number(row["health_max"]),
        coverage=float(row["coverage"]),
        total_sites=int(row["total_sites"]),
        sites=_status_counts(row),
        unmapped=int(row["unmapped_count"]),
        anomalies=_count(row["anomaly_count"]),
        open_incidents=open_incidents(store, fleet, stop),
        ingestion_mode=str(row["ingestion_mode"]),
        storm=None if storm is None else storm.episode_id,
        health_stderr=_number(row["health_stderr"]),
        sampled_fraction=float(row["sampled_fraction"]),
        published_fraction=published_fraction(store, fleet, window),
        state=str(row["state"]),  # type: ignore[arg-type] # written by with_history
        revision=int(row["revision"]),
        regions=_regions(store, fleet, window),
        persistent_outliers=_outliers(store, fleet, window, storm),
        quarantined_last_day=_quarantined(store, fleet, Span(max(0, stop - DAY), stop)),
        newest_window_end=instant(newest),
        newest_telemetry=_optional(newest_telemetry(store, fleet)),
        settled_through=_optional(watermark),
        live_engine=store.door.leases.holder_of(live_key(fleet)),
    )


def with_history(store: Store, table: Table, fleet: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Join `state` and `revision` from the commit log onto a table's rows: history, and not values of the function.

    A window is provisional until the settled watermark has passed it, then final, or restated where an entry replaced its
    rows; its revision is the number of those entries.
    """
    starts, ends = _all_us(rows["window_start"]), _all_us(rows["window_end"])
    span = Span(int(starts.min()), int(ends.max())) if len(rows) else Span(0, 0)
    restated = store.history.entries(table.name, fleet, span, kind="restate")
    revision = _revisions(starts, ends, restated)
    watermark = store.history.coverage.settled_through(fleet, table.name) or 0
    final = np.where(revision > 0, "restated", "final")
    state = np.where(ends <= watermark, final, "provisional")
    return rows.assign(state=state, revision=revision)


def newest_end(store: Store, table: Table, fleet: str) -> int | None:
    """Return the end of a table's newest stored window, in microseconds."""
    return store.history.coverage.newest_end(table.name, fleet)


def newest_whole_end(store: Store, fleet: str, *, patience_s: int) -> int | None:
    """Return the end of the newest window that has its regions and ranks too, unless these lag behind for good [us]."""
    newest = newest_end(store, FLEET_KPI, fleet)
    others = [newest_end(store, table, fleet) for table in (REGIONAL_HEALTH, SITE_RANKING)]
    if newest is None:
        return None
    whole = min([newest, *(end for end in others if end is not None)])
    return whole if newest - whole <= patience_s * SECOND else newest


def first_unwritten(store: Store, config: FleetConfig, now: int) -> int:
    """Return the start of the first window not yet written, as of an instant of the wall clock [us]."""
    written = store.history.coverage.newest_end(SITE_KPI.name, config.name) or 0
    return max(written, floor_to(now, config.interval_s * SECOND))


def newest_telemetry(store: Store, fleet: str) -> int | None:
    """Return the instant of the newest usable snapshot [us]."""
    for day in reversed(store.lake.days(SITE_TELEMETRY, fleet)):
        rows = store.lake.read(
            SITE_TELEMETRY,
            fleet,
            Span(day, day + DAY),
            columns=["timestamp", "problem"],
            time_column="timestamp",
        )
        usable = rows.column("timestamp").filter(pc.is_null(rows.column("problem")))
        if len(usable):
            return int(pc.max(usable).cast("int64").as_py())
    return None


def instant(us: int) -> dt.datetime:
    """Return microseconds since 1970 as a UTC time."""
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=us)


def _newest_row(store: Store, fleet: str, before: int | None) -> "pd.Series[Any] | None":
    """Return the newest window that starts before an instant, with its history."""
    if not before:
        return None
    covered = [
        c.span for c in store.history.coverage.covered(FLEET_KPI.name, fleet, Span(0, before))
    ]
    if not covered:
        return None
    last = max(s.end for s in covered)
    rows = store.frame(FLEET_KPI, fleet, Span(max(0, last - DAY), last))
    return None if rows.empty else with_history(store, FLEET_KPI, fleet, rows.tail(1)).iloc[0]


def _regions(store: Store, fleet: str, window: Span) -> tuple[RegionStatus, ...]:
    rows = store.frame(REGIONAL_HEALTH, fleet, window).sort_values("region_id")
    return tuple(
        RegionStatus(
            region_id=str(r["region_id"]),
            health=float(r["health_score"]),
            band=str(r["band"]),
            n_sites=int(r["n_sites"]),
            sites=_status_counts(r),
            coverage=float(r["coverage"]),
            worst_site_id=None if pd.isna(r["worst_site_id"]) else str(r["worst_site_id"]),
            anomalies=_count(r["anomaly_count"]),
        )
        for _, r in rows.iterrows()
    )


def _storm_of(store: Store, fleet: str, window: Span) -> StormEpisode | None:
    found = store.storms.recorded(fleet, window)
    return found[0].episode if found else None


def _outliers(
    store: Store, fleet: str, window: Span, storm: StormEpisode | None
) -> tuple[OutlierStatus, ...]:
    rows = last_published(store, fleet, window, storm)
    found = rows[rows["is_persistent_outlier"]].sort_values(["rank_in_fleet", "site_id"])
    return tuple(
        OutlierStatus(
            site_id=str(r["site_id"]),
            as_of=instant(_us(r["window_start"])),
            region_id=str(r["region_id"]),
            score=float(r["composite_score"]),
            rank_in_fleet=int(r["rank_in_fleet"]),
            modified_z_region=_number(r["modified_z_region"]),
            modified_z_fleet=_number(r["modified_z_fleet"]),
        )
        for _, r in found.iloc[::-1].iterrows()
    )


def _quarantined(store: Store, fleet: str, span: Span) -> dict[str, int]:
    rows = store.lake.read(QUARANTINE, fleet, span, columns=["problem"])
    counts = pd.Series(rows.column("problem").to_pylist(), dtype="str").value_counts()
    return {str(problem): int(n) for problem, n in counts.items()}


def _revisions(
    starts: "np.ndarray[Any, np.dtype[np.int64]]",
    ends: "np.ndarray[Any, np.dtype[np.int64]]",
    restated: Sequence[Entry],
) -> "np.ndarray[Any, np.dtype[np.int64]]":
    counts = np.zeros(len(starts), np.int64)
    for entry in restated:
        counts += (starts < entry.span.end) & (ends > entry.span.start)
    return counts


def _status_counts(row: "pd.Series[Any]") -> dict[str, int]:
    return {name: int(row[f"sites_{name}"]) for name in STATUS_NAMES}


def _number(value: Any) -> float | None:  # Any: a cell of a frame
    return None if pd.isna(value) else float(value)


def _count(value: Any) -> int | None:  # Any: a cell of a frame
    return None if pd.isna(value) else int(value)


def _optional(us: int | None) -> dt.datetime | None:
    return None if us is None else instant(us)


def _us(stamp: Any) -> int:  # Any: pandas' time stamp
    return int(pd.Timestamp(stamp).value) // 1000


def _all_us(column: "pd.Series[Any]") -> "np.ndarray[Any, np.dtype[np.int64]]":
    stamps = column.dt.tz_convert(None).to_numpy(dtype="M8[us]")
    return np.asarray(stamps.astype(np.int64), np.int64)
