"""What the console shows of a fleet, gathered at one instant."""

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from fleet_dagster.core.windows import HOUR, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.storage.site_status import last_published
from fleet_dagster.storage.status import (
    FleetStatus,
    fleet_status,
    instant,
    newest_telemetry,
    newest_whole_end,
)
from fleet_dagster.storage.store import Store

HISTORY = 6 * HOUR
"""How far back the course of health reaches."""
WORST = 100
"""Worst sites that are gathered; more fit no screen."""
Condition = Literal["live", "old", "silent", "empty"]


@dataclass(frozen=True, slots=True)
class HealthPoint:
    """A fleet's health in one window."""

    window_start: dt.datetime
    health: float | None
    """None where no site reported: that 0 is no measurement."""


@dataclass(frozen=True, slots=True)
class WorstSite:
    """One of the sites with the lowest health, as of the newest window in which it was published."""

    site_id: str
    region_id: str
    health: float
    rank_in_fleet: int
    modified_z_region: float | None
    modified_z_fleet: float | None
    is_persistent_outlier: bool
    as_of: dt.datetime


@dataclass(frozen=True, slots=True)
class Picture:
    """A fleet as storage had it. Instants are UTC."""

    fleet: str
    gathered_at: dt.datetime
    patience_s: int
    """Age of the newest window from which on the picture is old."""
    status: FleetStatus | None
    """None where no window has been computed."""
    newest_telemetry: dt.datetime | None
    history: tuple[HealthPoint, ...] = ()
    worst: tuple[WorstSite, ...] = ()
    n_ranked: int = 0
    """Sites that have a rank, of which `worst` are the last."""

    def condition(self, now: dt.datetime) -> Condition:
        """Tell whether the picture speaks for the fleet as it is now."""
        if self.status is None:
            return "empty"
        if now - self.status.window_end > dt.timedelta(seconds=self.patience_s):
            return "old"
        return "silent" if self.status.coverage == 0 else "live"


def gather(store: Store, config: FleetConfig, now: dt.datetime) -> Picture:
    """Read how a fleet stands in its newest window."""
    fleet, patience_s = config.name, config.interval_s + 2 * 60 * config.schedule_minutes
    end = newest_whole_end(store, fleet, patience_s=patience_s)
    status = None if end is None else fleet_status(store, fleet, at=end - 1)
    if status is None:
        telemetry = newest_telemetry(store, fleet)
        arrived = None if telemetry is None else instant(telemetry)
        return Picture(fleet, now, patience_s, None, arrived)
    window = Span(_us(status.window_start), _us(status.window_end))
    worst, n_ranked = _worst(store, fleet, window)
    return Picture(
        fleet,
        now,
        patience_s,
        status,
        status.newest_telemetry,
        _history(store, fleet, Span(max(0, window.end - HISTORY), window.end)),
        worst,
        n_ranked,
    )


def _history(store: Store, fleet: str, span: Span) -> tuple[HealthPoint, ...]:
    columns = ["window_start", "fleet_health", "coverage"]
    rows = store.frame(FLEET_KPI, fleet, span, columns=columns)
    return tuple(
        HealthPoint(start.to_pydatetime(), float(health) if coverage > 0 else None)
        for start, health, coverage in rows[columns].itertuples(index=False)
    )


def _worst(store: Store, fleet: str, window: Span) -> tuple[tuple[WorstSite, ...], int]:
    storms = store.storms.recorded(fleet, window)
    rows = last_published(store, fleet, window, storms[0].episode if storms else None)
    lowest = rows.sort_values(["composite_score", "site_id"]).head(WORST)
    found = tuple(
        WorstSite(
            site_id=str(r["site_id"]),
            region_id=str(r["region_id"]),
            health=float(r["composite_score"]),
            rank_in_fleet=int(r["rank_in_fleet"]),
            modified_z_region=_number(r["modified_z_region"]),
            modified_z_fleet=_number(r["modified_z_fleet"]),
            is_persistent_outlier=bool(r["is_persistent_outlier"]),
            as_of=r["window_start"].to_pydatetime(),
        )
        for r in lowest.to_dict("records")
    )
    return found, len(rows)


def _number(value: Any) -> float | None:  # Any: a cell of a frame
    return None if pd.isna(value) else float(value)


def _us(stamp: dt.datetime) -> int:
    return (stamp - instant(0)) // dt.timedelta(microseconds=1)
