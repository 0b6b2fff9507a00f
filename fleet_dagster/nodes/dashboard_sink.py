"""`dashboard_sink`: joins the newest of all tables to the one document that dashboards draw."""

import datetime as dt
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd

from fleet_dagster.core.health import band_of
from fleet_dagster.frames.columns import microseconds
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.partition_keys import partition_key
from fleet_dagster.model.snapshot import (
    AcknowledgementShown,
    Band,
    HealthShown,
    IncidentShown,
    Instant,
    PipelineShown,
    RegionShown,
    SitesShown,
    Snapshot,
    StormShown,
    WindowShown,
)
from fleet_dagster.model.tables import SEVERITIES

DECIMALS = 6
"""To which figures of sites are rounded: a thousand of them travel at every change."""
_SECOND = 1_000_000
Row = Mapping[Hashable, Any]  # Any: cells of several types


@dataclass(frozen=True, slots=True)
class WindowRows:
    """Rows of the newest window that has its regions and ranks too; only of `last_ranked` some are older."""

    fleet_kpi: pd.DataFrame
    """One row, with `state` and `revision`."""
    regional_health: pd.DataFrame
    site_kpi: pd.DataFrame
    last_ranked: pd.DataFrame
    """The newest ranking of each site that reports."""
    anomaly_score: pd.DataFrame
    """Scores over all KPIs."""


@dataclass(frozen=True, slots=True)
class Asked:
    """When a snapshot was taken, and what was known besides tables."""

    taken_at: int
    """Wall clock. [us]"""
    seq: int
    n_registered: int
    storm: StormShown | None
    acknowledged: Mapping[str, AcknowledgementShown]
    """What people said, by incident id."""
    pipeline: PipelineShown


def dashboard_sink(
    config: FleetConfig, window: WindowRows | None, incidents: pd.DataFrame, asked: Asked
) -> Snapshot:
    """Join the rows of a window, incidents (with `is_open`) and what else is known to one document."""
    found = _ordered([_incident(config, row, asked) for row in incidents.to_dict("records")])
    if window is None:
        return _without_window(config, found, asked)
    row = window.fleet_kpi.iloc[0].to_dict()
    return Snapshot(
        fleet=config.name,
        seq=asked.seq,
        taken_at=instant_text(asked.taken_at),
        patience_s=patience_s(config),
        window=_window(config, row),
        health=_health(row, "fleet_health", highest=row["health_max"]),
        total_sites=int(row["total_sites"]),
        online=int(row["sites_online"]),
        degraded=int(row["sites_degraded"]),
        faulted=int(row["sites_faulted"]),
        offline=int(row["sites_offline"]),
        unmapped=int(row["unmapped_count"]),
        coverage=float(row["coverage"]),
        anomalies=_count(row["anomaly_count"]),
        ingestion_mode=str(row["ingestion_mode"]),
        sampled_fraction=float(row["sampled_fraction"]),
        published_fraction=_published_fraction(window.site_kpi),
        storm=asked.storm,
        regions=tuple(
            _region(r) for r in window.regional_health.sort_values("region_id").to_dict("records")
        ),
        sites=_sites(config, window),
        incidents=tuple(found),
        pipeline=asked.pipeline,
        trouble=None,
    )


def patience_s(config: FleetConfig) -> int:
    """Return the age of a window's end from which on it no longer speaks for the fleet as it is now [s]."""
    return config.interval_s + 2 * 60 * config.schedule_minutes


def instant_text(us: int) -> Instant:
    """Return an instant as it is written in the document."""
    stamp = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=us)
    return f"{stamp:%Y-%m-%dT%H:%M:%S.%f}Z"


def _without_window(
    config: FleetConfig, incidents: Sequence[IncidentShown], asked: Asked
) -> Snapshot:
    nothing: dict[str, Any] = dict.fromkeys(SitesShown.__dataclass_fields__, ())  # Any: lists
    return Snapshot(
        fleet=config.name,
        seq=asked.seq,
        taken_at=instant_text(asked.taken_at),
        patience_s=patience_s(config),
        window=None,
        health=None,
        total_sites=asked.n_registered,
        online=0,
        degraded=0,
        faulted=0,
        offline=0,
        unmapped=0,
        coverage=0.0,
        anomalies=None,
        ingestion_mode=None,
        sampled_fraction=0.0,
        published_fraction=None,
        storm=asked.storm,
        regions=(),
        sites=SitesShown(**nothing),
        incidents=tuple(incidents),
        pipeline=asked.pipeline,
        trouble=None,
    )


def _window(config: FleetConfig, row: Row) -> WindowShown:
    start = _us(row["window_start"])
    return WindowShown(
        start=instant_text(start),
        end=instant_text(_us(row["window_end"])),
        interval_s=config.interval_s,
        state=row["state"],
        revision=int(row["revision"]),
        partition=partition_key(config, start),
    )


def _health(row: Row, score: str, *, highest: object = None) -> HealthShown:
    value = float(row[score])
    return HealthShown(
        score=value,
        kpi=float(row["kpi_part"]),
        uptime=float(row["uptime_part"]),
        fault=float(row["fault_part"]),
        band=_band(value),
        stderr=_number(row["health_stderr"]) or None,
        lowest=_number(row["health_min"]),
        highest=_number(highest),
    )


def _band(score: float) -> Band:
    bands: tuple[Band, ...] = get_args(Band)
    return bands[int(band_of(np.array([score]))[0])]


def _region(row: Row) -> RegionShown:
    return RegionShown(
        region_id=str(row["region_id"]),
        health=_health(row, "health_score"),
        n_sites=int(row["n_sites"]),
        online=int(row["sites_online"]),
        degraded=int(row["sites_degraded"]),
        faulted=int(row["sites_faulted"]),
        offline=int(row["sites_offline"]),
        coverage=float(row["coverage"]),
        anomalies=_count(row["anomaly_count"]),
        worst_site_id=_text(row["worst_site_id"]),
    )


def _sites(config: FleetConfig, window: WindowRows) -> SitesShown:
    """Put the sites of a window side by side with their newest rankings and their scores."""
    sites = _by_site(window.site_kpi)
    ranks = _by_site(window.last_ranked).reindex(sites.index)
    scores = _by_site(window.anomaly_score).reindex(sites.index)
    was_ranked, is_scored = ranks["window_start"].notna(), scores["score"].notna()
    start = microseconds(sites["window_start"])
    ago = (start - microseconds(ranks["window_start"].fillna(sites["window_start"]))) // (
        config.interval_s * _SECOND
    )
    return SitesShown(
        site_id=sites.index.tolist(),
        region_id=sites["region_id"].astype(str).tolist(),
        status=sites["status"].astype(int).tolist(),
        health=_numbers(ranks["composite_score"]),
        rank_in_fleet=_counts(ranks["rank_in_fleet"]),
        rank_in_region=_counts(ranks["rank_in_region"]),
        modified_z_fleet=_numbers(ranks["modified_z_fleet"]),
        modified_z_region=_numbers(ranks["modified_z_region"]),
        is_outlier=_flags(ranks["is_outlier"], was_ranked),
        is_persistent_outlier=_flags(ranks["is_persistent_outlier"], was_ranked),
        ranked_windows_ago=_counts(pd.Series(ago, sites.index).where(was_ranked)),
        anomaly_score=_numbers(scores["score"]),
        is_anomalous=[
            bool(flag) if known else None
            for flag, known in zip(scores["is_anomalous"], is_scored, strict=True)
        ],
        disposition=sites["disposition"].astype(str).tolist(),
        fault_count=_counts(sites["fault_count"]),
        uptime_pct=_numbers(sites["uptime_pct"]),
    )


def _by_site(rows: pd.DataFrame) -> pd.DataFrame:
    named = rows.set_axis(pd.Index(rows["site_id"].astype(str), name="site"), axis=0)
    return named.sort_index()


def _published_fraction(site_kpi: pd.DataFrame) -> float | None:
    reporting = site_kpi[site_kpi["last_seen"].notna()]
    return None if reporting.empty else float(reporting["published"].mean())


def _ordered(incidents: Sequence[IncidentShown]) -> list[IncidentShown]:
    """Return those that are open, the worst and largest first, and then the others, the latest first."""

    def weight(one: IncidentShown) -> tuple[int, int, str, str]:
        return -SEVERITIES.index(one.severity), -len(one.sites), one.since, one.incident_id

    still = sorted((i for i in incidents if i.is_open), key=weight)
    over = [i for i in incidents if not i.is_open]
    return still + sorted(over, key=lambda i: (i.changed, i.incident_id), reverse=True)


def _incident(config: FleetConfig, row: Row, asked: Asked) -> IncidentShown:
    window = _us(row["window_start"])
    own = str(row["incident_id"])
    return IncidentShown(
        incident_id=own,
        is_open=bool(row["is_open"]),
        severity=row["severity"],
        pattern=str(row["pattern"]),
        domain=str(row["domain"]),
        since=instant_text(_us(row["onset"])),
        changed=instant_text(window),
        partition=partition_key(config, window),
        sites=tuple(str(s) for s in row["sites"]),
        regions=tuple(str(r) for r in row["regions"]),
        root_cause_site=_text(row["root_cause_site"]),
        root_cause_kpi=_text(row["root_cause_kpi"]),
        candidates=tuple(str(s) for s in row["candidates"]),
        confidence=float(row["confidence"]),
        acknowledgement=asked.acknowledged.get(own),
    )


def _numbers(column: "pd.Series[Any]") -> list[float | None]:  # Any: numbers of any type
    values = np.round(column.to_numpy(np.float64, na_value=np.nan), DECIMALS)
    return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124 - NaN is not itself


def _counts(column: "pd.Series[Any]") -> list[int | None]:  # Any: numbers of any type
    return [None if value is None else int(value) for value in _numbers(column)]


def _flags(column: "pd.Series[Any]", is_known: "pd.Series[Any]") -> list[bool]:  # Any: flags
    return [bool(flag) and known for flag, known in zip(column, is_known.tolist(), strict=True)]


def _number(value: Any) -> float | None:  # Any: a cell of a frame
    return None if pd.isna(value) else float(value)


def _count(value: Any) -> int | None:  # Any: a cell of a frame
    return None if pd.isna(value) else int(value)


def _text(value: Any) -> str | None:  # Any: a cell of a frame
    return None if pd.isna(value) else str(value)


def _us(stamp: Any) -> int:  # Any: pandas' time stamp
    return int(pd.Timestamp(stamp).value) // 1000
