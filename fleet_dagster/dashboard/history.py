"""The course of a fleet, a region or a site over a range that somebody chose."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from starlette.datastructures import QueryParams

from fleet_dagster.core.windows import DAY, HOUR, SECOND, Span
from fleet_dagster.dashboard.access import Refused
from fleet_dagster.dashboard.courses import Grid, Series
from fleet_dagster.frames.columns import microseconds
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import (
    ALL_DOMAINS,
    ANOMALY_SCORE,
    FLEET_KPI,
    REGIONAL_HEALTH,
    SITE_KPI,
    SITE_RANKING,
    STATUS_NAMES,
    Table,
)
from fleet_dagster.storage.status import newest_end
from fleet_dagster.storage.store import Store

LONGEST = {"fleet": 92 * DAY, "region": 31 * DAY, "site": 2 * DAY}
"""Longest range that is read at once: a site's rows lie among those of a thousand others [us]."""
BY_DEFAULT = 6 * HOUR
_LATEST_S = 253_402_300_799.0
_PARTS = {
    "kpi": ("kpi_part", "Health from KPIs"),
    "uptime": ("uptime_part", "Health from uptime"),
    "fault": ("fault_part", "Health from absence of faults"),
}


def course_of(store: Store, config: FleetConfig, query: QueryParams) -> dict[str, Any]:  # Any: JSON
    """Return the course that a query asks for.

    Raises
    ------
    Refused
        The range or the subject cannot be read, or the range is too long.
    """
    of = query.get("of", "fleet")
    kind, _, name = of.partition(":")
    if kind not in LONGEST or (kind == "fleet") != (name == ""):
        raise Refused(400, f"of is {of[:80]!r}, expected fleet, region:ID or site:ID")
    grid = Grid(span_of(store, config, query, longest=LONGEST[kind]), config.interval_s * SECOND)
    if kind == "fleet":
        return grid.course(of, _fleet(store, config, grid))
    if kind == "region":
        return grid.course(of, _region(store, config, grid, name))
    return grid.course(of, site_series(store, config, grid, name))


def span_of(store: Store, config: FleetConfig, query: QueryParams, *, longest: int) -> Span:
    """Return the range that a query names in seconds; by default the last hours that were computed.

    Raises
    ------
    Refused
        It is no range, or too long.
    """
    newest = newest_end(store, FLEET_KPI, config.name) or 0
    end = _instant(query, "to", newest)
    start = _instant(query, "from", max(0, end - BY_DEFAULT))
    if not start < end:
        raise Refused(400, "from must lie before to. Give both in seconds since 1970")
    if end - start > longest:
        raise Refused(
            400,
            f"the range is {(end - start) / DAY:.1f} days long, at most {longest / DAY:.0f} are read at once. "
            "Choose a shorter one, or export the table: `fleet export`",
        )
    return Span(start, end)


def site_series(store: Store, config: FleetConfig, grid: Grid, site: str) -> list[Series]:
    """Return the course of a site: its health where it was ranked, its anomaly score, and what it reported."""
    own = pc.field("site_id") == site
    ranks = _read(store, SITE_RANKING, config, grid, ["composite_score"], where=own)
    whole = own & (pc.field("domain") == ALL_DOMAINS)
    scores = _read(store, ANOMALY_SCORE, config, grid, ["score"], where=whole)
    seen = _read(store, SITE_KPI, config, grid, ["uptime_pct", "fault_count"], where=own)
    return [
        _series(grid, ranks, "composite_score", ("health", "Health", "1")),
        _series(grid, scores, "score", ("anomaly", "Anomaly score", "1")),
        _series(grid, seen, "uptime_pct", ("uptime", "Uptime", "%")),
        _series(grid, seen, "fault_count", ("faults", "Active faults", "1")),
    ]


def _fleet(store: Store, config: FleetConfig, grid: Grid) -> list[Series]:
    columns = [
        "fleet_health",
        *(column for column, _ in _PARTS.values()),
        "coverage",
        "anomaly_count",
        *(f"sites_{name}" for name in STATUS_NAMES),
    ]
    rows = _read(store, FLEET_KPI, config, grid, columns)
    return _healths(grid, rows, "fleet_health")


def _region(store: Store, config: FleetConfig, grid: Grid, region: str) -> list[Series]:
    columns = [
        "health_score",
        *(column for column, _ in _PARTS.values()),
        "coverage",
        "anomaly_count",
        *(f"sites_{name}" for name in STATUS_NAMES),
    ]
    own = pc.field("region_id") == region
    return _healths(
        grid, _read(store, REGIONAL_HEALTH, config, grid, columns, where=own), "health_score"
    )


def _healths(grid: Grid, rows: pd.DataFrame, score: str) -> list[Series]:
    """Return the series of a fleet or region; where nobody reports, health is not 0 but unknown."""
    reporting = rows[rows["coverage"] > 0]
    parts = [
        _series(grid, reporting, column, (name, label, "1"))
        for name, (column, label) in _PARTS.items()
    ]
    counts = [
        _series(grid, rows, f"sites_{name}", (name, f"Sites {name}", "1")) for name in STATUS_NAMES
    ]
    return [
        _series(grid, reporting, score, ("health", "Health", "1")),
        *parts,
        _series(grid, rows, "coverage", ("coverage", "Coverage", "1")),
        _series(grid, rows, "anomaly_count", ("anomalies", "Anomalous sites", "1")),
        *counts,
    ]


def _read(
    store: Store,
    table: Table,
    config: FleetConfig,
    grid: Grid,
    columns: list[str],
    *,
    where: pc.Expression | None = None,
) -> pd.DataFrame:
    wanted = ["window_start", *columns]
    return store.frame(table, config.name, grid.span, columns=wanted, where=where)


def _series(grid: Grid, rows: pd.DataFrame, column: str, called: tuple[str, str, str]) -> Series:
    """Return a column as a series with a name, a label and a unit."""
    values = rows[column].to_numpy(np.float64, na_value=np.nan)
    return Series(*called, grid.placed(microseconds(rows["window_start"]), values))


def _instant(query: Mapping[str, str], name: str, otherwise: int) -> int:
    text = query.get(name)
    if text is None or text == "":
        return otherwise
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= _LATEST_S:
        raise Refused(400, f"{name} is {text[:40]!r}, expected seconds since 1970")
    return round(seconds * SECOND)
