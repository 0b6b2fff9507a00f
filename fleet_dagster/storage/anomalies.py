"""Anomalies as stored: scores over all KPIs, and the incidents that are open at an instant."""

import datetime as dt
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fleet_dagster.core.windows import DAY, Span, floor_to
from fleet_dagster.model.lookbacks import INCIDENT_HISTORY_DAYS
from fleet_dagster.model.tables import (
    ALL_DOMAINS,
    ANOMALY_SCORE,
    FLEET_CORRELATION,
    SEVERITIES,
)
from fleet_dagster.storage.store import Store

OPEN_REACH = (INCIDENT_HISTORY_DAYS + 1) * DAY
"""How far before a day the newest row of an open incident can lie: one that began earlier goes on under a new id, and so has a row."""
_OPEN = ("opened", "changed")
_COLUMNS = tuple(
    c for c in FLEET_CORRELATION.column_names if c not in ("fleet", "day", "window_end")
)


@dataclass(frozen=True, slots=True)
class Incident:
    """An open incident, as of its newest change. Instants are UTC."""

    incident_id: str
    since: dt.datetime
    """Where the first site's deviation began."""
    changed: dt.datetime
    """Window of its newest change."""
    pattern: str
    severity: str
    sites: tuple[str, ...]
    regions: tuple[str, ...]
    root_cause_site: str | None
    root_cause_kpi: str | None
    candidates: tuple[str, ...]
    confidence: float


def open_incidents(store: Store, fleet: str, at: int) -> tuple[Incident, ...]:
    """Return the incidents that are open at an instant [us], the worst and largest first.

    One that goes on under another id, or turned out to belong to another, is not listed twice.
    """
    rows = store.frame(FLEET_CORRELATION, fleet, reach_of_incidents(at), columns=_COLUMNS)
    newest = newest_changes(rows)
    found = [_incident(row) for row in newest[newest["is_open"]].to_dict("records")]
    return tuple(sorted(found, key=_by_weight))


def reach_of_incidents(at: int) -> Span:
    """Return the windows in which an incident that is open at an instant has its newest row [us]."""
    return Span(max(0, floor_to(at - 1, DAY) - OPEN_REACH), at)


def newest_changes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the newest row of each incident, with `is_open`; those that went on under another id are left out."""
    newest = rows.drop_duplicates("incident_id", keep="last")
    left = set(rows["continues"].dropna().astype(str))
    stays = newest[~newest["incident_id"].astype(str).isin(left)]
    return stays.assign(is_open=stays["phase"].isin(_OPEN))


def score_rows(
    store: Store,
    fleet: str,
    span: Span,
    columns: Sequence[str],
    *,
    sites: Sequence[str] | None = None,
) -> pa.Table:
    """Read scores over all KPIs, of all sites or of some; single domains are left out while reading."""
    where = pc.field("domain") == ALL_DOMAINS
    if sites is not None:
        where &= pc.field("site_id").isin(pa.array(sites, pa.string()))
    return store.lake.read(ANOMALY_SCORE, fleet, span, columns=columns, where=where)


def _by_weight(incident: Incident) -> tuple[int, int, dt.datetime, str]:
    badness = SEVERITIES.index(incident.severity)
    return -badness, -len(incident.sites), incident.since, incident.incident_id


def _incident(row: Mapping[Hashable, Any]) -> Incident:  # Any: cells of several types
    return Incident(
        incident_id=str(row["incident_id"]),
        since=row["onset"].to_pydatetime(),
        changed=row["window_start"].to_pydatetime(),
        pattern=str(row["pattern"]),
        severity=str(row["severity"]),
        sites=tuple(str(s) for s in row["sites"]),
        regions=tuple(str(r) for r in row["regions"]),
        root_cause_site=_text(row["root_cause_site"]),
        root_cause_kpi=_text(row["root_cause_kpi"]),
        candidates=tuple(str(s) for s in row["candidates"]),
        confidence=float(row["confidence"]),
    )


def _text(value: Any) -> str | None:  # Any: a cell of a frame
    return None if pd.isna(value) else str(value)
