"""How one site stands, also between the windows in which it is published."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from fleet_dagster.core.publication import HEARTBEAT_EVERY
from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.model.tables import (
    ALL_DOMAINS,
    ANOMALY_SCORE,
    SITE_KPI,
    SITE_RANKING,
    STATUS_NAMES,
)
from fleet_dagster.storage.anomalies import Incident, open_incidents
from fleet_dagster.storage.store import Store


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """One site in one window, and its newest ranking, which may be older. Instants are UTC."""

    fleet: str
    site_id: str
    region_id: str
    window_start: dt.datetime
    status: str
    disposition: str
    uptime_pct: float | None
    fault_count: int | None
    kpi_count: int
    last_seen: dt.datetime | None
    ranked_at: dt.datetime | None
    """Window of the newest ranking; the window itself only if it is published there."""
    composite_score: float | None
    rank_in_region: int | None
    rank_in_fleet: int | None
    is_persistent_outlier: bool | None
    anomaly_state: str | None
    """scored, warming_up or not_scored; None where no score has been computed."""
    anomaly_score: float | None
    """Of all KPIs together."""
    anomalous_in: tuple[str, ...]
    """Domains in which it is anomalous, the highest score first; `all` stands for all KPIs."""
    top_kpis: Mapping[str, float]
    """KPIs that make it anomalous in the first of these, with their shares; empty unless it is."""
    incident: Incident | None
    """The open incident that it belongs to, the worst first."""


def site_status(store: Store, fleet: str, site_id: str, window: Span) -> SiteStatus | None:
    """Return how a site stood in a window; None where the window has no row of it."""
    own = store.frame(SITE_KPI, fleet, window, where=pc.field("site_id") == site_id)
    if own.empty:
        return None
    row, rank = own.iloc[0], _last_rank(store, fleet, site_id, window)
    scores = _scores(store, fleet, site_id, window)
    whole = next((s for s in scores if s["domain"] == ALL_DOMAINS), None)
    anomalous = [s for s in scores if s["is_anomalous"]]
    return SiteStatus(
        fleet=fleet,
        site_id=site_id,
        region_id=str(row["region_id"]),
        window_start=row["window_start"].to_pydatetime(),
        status=STATUS_NAMES[int(row["status"])],
        disposition=str(row["disposition"]),
        uptime_pct=None if pd.isna(row["uptime_pct"]) else float(row["uptime_pct"]),
        fault_count=None if pd.isna(row["fault_count"]) else int(row["fault_count"]),
        kpi_count=int(row["kpi_count"]),
        last_seen=None if pd.isna(row["last_seen"]) else row["last_seen"].to_pydatetime(),
        ranked_at=None if rank is None else rank["window_start"].to_pydatetime(),
        composite_score=None if rank is None else float(rank["composite_score"]),
        rank_in_region=None if rank is None else int(rank["rank_in_region"]),
        rank_in_fleet=None if rank is None else int(rank["rank_in_fleet"]),
        is_persistent_outlier=None if rank is None else bool(rank["is_persistent_outlier"]),
        anomaly_state=None if whole is None else str(whole["state"]),
        anomaly_score=None if whole is None else whole["score"],
        anomalous_in=tuple(s["domain"] for s in anomalous),
        top_kpis=_shares(anomalous[0]) if anomalous else {},
        incident=next(
            (i for i in open_incidents(store, fleet, window.end) if site_id in i.sites), None
        ),
    )


def last_published(
    store: Store, fleet: str, window: Span, storm: StormEpisode | None
) -> pd.DataFrame:
    """Return the newest ranking of each site that reports in a window; quiet and unread sites keep their last one."""
    present = store.frame(SITE_KPI, fleet, window)
    reporting = set(present.loc[present["last_seen"].notna(), "site_id"].astype(str))
    since = min(window.start, storm.start) if storm else window.start
    before = (HEARTBEAT_EVERY - 1) * (window.end - window.start)
    rows = store.frame(SITE_RANKING, fleet, Span(max(0, since - before), window.end))
    newest = rows.drop_duplicates("site_id", keep="last")
    return newest[newest["site_id"].astype(str).isin(reporting)] if len(present) else newest


def published_fraction(store: Store, fleet: str, window: Span) -> float | None:
    """Return the share of the reporting sites that are published in a window; None where none reports or rows are gone."""
    rows = store.frame(SITE_KPI, fleet, window)
    reporting = rows[rows["last_seen"].notna()]
    return None if reporting.empty else float(reporting["published"].mean())


def _scores(
    store: Store, fleet: str, site_id: str, window: Span
) -> list[dict[str, Any]]:  # Any: cells of several types
    """Return a site's scores in a window, the highest first, and that of all KPIs before an equal one of a domain."""
    columns = ["domain", "state", "score", "is_anomalous", "top_kpis", "top_shares"]
    own = pc.field("site_id") == site_id
    rows = store.lake.read(ANOMALY_SCORE, fleet, window, columns=columns, where=own).to_pylist()
    return sorted(rows, key=lambda r: (-(r["score"] or 0.0), r["domain"] != ALL_DOMAINS))


def _shares(score: Mapping[str, Any]) -> dict[str, float]:  # Any: cells of several types
    return dict(zip(score["top_kpis"] or (), score["top_shares"] or (), strict=True))


def _last_rank(
    store: Store, fleet: str, site_id: str, window: Span
) -> "pd.Series[Any] | None":  # Any: cells of several types
    """Return a site's newest ranking, at most a day old."""
    reach = Span(max(0, window.end - DAY), window.end)
    own = store.frame(SITE_RANKING, fleet, reach, where=pc.field("site_id") == site_id)
    return None if own.empty else own.iloc[-1]
